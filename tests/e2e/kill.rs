//! Roles alone, killed by SIGKILL while they are written to: what was acknowledged is there after a restart. (That nothing
//! is lost at a power cut is shown by the simulations of `durable`, `store` and `objectlog`, each with its mutant.)

mod support;

use bytes::Bytes;
use nix::sys::signal::Signal;
use std::net::SocketAddr;
use std::path::Path;
use store::{ClientCredentials, EtcdClient, Store};
use support::Role;

/// Kills in one test.
const KILLS: usize = 10;
/// Acknowledged writes between two kills.
const WRITES: usize = 40;

fn store_client(address: SocketAddr) -> EtcdClient {
    EtcdClient::connect(&[format!("http://{address}")], ClientCredentials::None, None).expect("a valid address")
}

fn store_role(data: &Path, listen: &str) -> Role {
    Role::start("store", &["--listen", listen, "--data", &data.display().to_string(), "--open"])
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_puts_survive_kill_9_of_the_store() {
    let data = tempfile::tempdir().unwrap();
    let mut written = 0;
    for round in 0..KILLS {
        let role = store_role(data.path(), "127.0.0.1:0");
        let client = store_client(role.address("store"));
        let found = client.get_prefix("/ledger/").await.unwrap();
        assert_eq!(found.kvs.len(), written, "before round {round}");
        for number in written..written + WRITES {
            client.put(&format!("/ledger/{number:06}"), Bytes::from(number.to_string())).await.unwrap();
        }
        written += WRITES;
        role.end(Signal::SIGKILL);
    }
}

fn s3_client(address: SocketAddr) -> s3client::Client {
    let config = s3client::Config {
        endpoint: format!("http://{address}"),
        access_key: "key".into(),
        secret_key: "secret".into(),
        region: "us-east-1".into(),
    };
    s3client::Client::new(config).expect("a valid endpoint")
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_objects_survive_kill_9_of_objects() {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().display().to_string();
    let flags = ["--listen", "127.0.0.1:0", "--data", &path, "--access-key", "key", "--secret-key", "secret"];
    let mut written = 0;
    for round in 0..KILLS {
        let role = Role::start("objects", &flags);
        let client = s3_client(role.address("objects"));
        client.create_bucket("ledger").await.unwrap();
        assert_eq!(client.list("ledger", "", None, None).await.unwrap().objects.len(), written, "before round {round}");
        for number in written..written + WRITES {
            // Small ones lie in the log, large ones in extents.
            let bytes = vec![number as u8; if number % 8 == 0 { 400_000 } else { 100 }];
            client.put("ledger", &format!("{number:06}"), "application/octet-stream", bytes).await.unwrap();
        }
        written += WRITES;
        role.end(Signal::SIGKILL);
    }
    let role = Role::start("objects", &flags);
    let client = s3_client(role.address("objects"));
    for number in 0..written {
        let bytes = client.get_bytes("ledger", &format!("{number:06}")).await.unwrap();
        assert!(bytes.iter().all(|byte| *byte == number as u8), "object {number}");
    }
}

#[test]
fn a_second_store_on_the_same_data_is_refused_by_name() {
    let data = tempfile::tempdir().unwrap();
    let _first = store_role(data.path(), "127.0.0.1:0");
    let path = data.path().display().to_string();
    let error = support::failure(&["store", "--listen", "127.0.0.1:0", "--data", &path, "--open"]);
    assert!(error.contains(&path), "{error}");
}

#[test]
fn open_is_refused_beyond_loopback() {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().display().to_string();
    let error = support::failure(&["store", "--listen", "0.0.0.0:0", "--data", &path, "--open"]);
    assert!(error.contains("--open does not go with 0.0.0.0:0"), "{error}");
}

#[test]
fn an_unknown_key_of_the_configuration_is_refused_with_the_nearest_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("roadstead.toml");
    std::fs::write(&path, "[edge]\nlissen = \"127.0.0.1:0\"\n").unwrap();
    let error = support::failure(&["up", "--config", &path.display().to_string()]);
    assert!(error.contains("did you mean `listen`?"), "{error}");
}
