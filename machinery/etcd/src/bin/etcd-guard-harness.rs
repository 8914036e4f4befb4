//! For tests: a process that guards one member and does nothing else, as `main` of a real binary would. Its one argument
//! is a file with the member's settings; it says `ready` and stops when its standard input ends.

use serde::Deserialize;
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::io::AsyncReadExt;

#[derive(Deserialize)]
struct Settings {
    name: String,
    data: PathBuf,
    client: SocketAddr,
    peer: SocketAddr,
    initial_cluster: Vec<(String, String)>,
    existing: bool,
    identity: PathBuf,
}

#[tokio::main]
async fn main() -> Result<(), lifecycle::BoxError> {
    let path = std::env::args_os().nth(1).ok_or("the file of settings is missing")?;
    let settings: Settings = serde_json::from_slice(&std::fs::read(path)?)?;
    let config = etcd::Config {
        binary: "etcd".into(),
        name: settings.name,
        data: settings.data,
        client_listen: vec![settings.client],
        client_advertise: settings.client,
        peer_listen: settings.peer,
        peer_advertise: settings.peer,
        initial_cluster: settings.initial_cluster,
        existing: settings.existing,
        authority: settings.identity.join("ca.pem"),
        certificate: settings.identity.join("store.pem"),
        key: settings.identity.join("store.key"),
        revoked: settings.identity.join("revoked.crl"),
        token: "harness".into(),
    };
    let stop = lifecycle::Stop::new();
    let started = etcd::start(config, stop.clone()).await?;
    println!("ready");
    let closed = async {
        let _ended = tokio::io::stdin().read_to_end(&mut Vec::new()).await;
        stop.request();
        std::future::pending::<()>().await;
    };
    let finished = tokio::select! {
        finished = started.finished() => finished,
        () = closed => Ok(()),
    };
    if let Err(error) = &finished {
        eprintln!("{}", lifecycle::ErrorChain(error.as_ref()));
    }
    // Not by returning: a thread still reads standard input.
    std::process::exit(i32::from(finished.is_err()))
}
