//! The registry on real etcd (Debian's `etcd-server`), as on many machines: pushed, deleted, collected.

#[path = "support/platform.rs"]
mod platform;

use oci::Digest;
use platform::Platform;
use registry::Graces;
use std::net::TcpListener;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use store::{ClientCredentials, EtcdClient};
use tokio::process::Command;

/// Free when it was looked for; etcd cannot be handed a bound socket.
fn free_url() -> String {
    format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap())
}

#[tokio::test]
async fn images_are_pushed_and_collected_on_etcd() {
    let data = tempfile::tempdir().unwrap();
    let (client, peer) = (free_url(), free_url());
    let mut etcd = Command::new("etcd")
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--name", "one", "--initial-cluster", &format!("one={peer}"), "--log-level", "error", "--data-dir"])
        .arg(data.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("etcd is installed (Debian: etcd-server)");
    let store = Arc::new(EtcdClient::connect(&[client], ClientCredentials::None, None).unwrap());
    let graces = Graces { unreferenced: Duration::ZERO, upload: Duration::from_secs(3600), orphan: Duration::ZERO };
    let platform = Platform::start_on(store, Arc::new(tempfile::tempdir().unwrap()), graces).await;
    platform.eventually("etcd answers", async || platform.get("/v2/_catalog").await.status == 200).await;

    let (manifest, _) = platform.push_image("kept", "1", b"shared").await;
    let (_, digest) = platform.push_image("gone", "1", b"own").await;
    let delete = platform.call("DELETE", &format!("/v2/gone/manifests/{digest}"), &[], "").await;
    assert_eq!(delete.status, 202);
    platform.eventually("three objects are left", async || platform.objects().await.len() == 3).await;
    assert_eq!(platform.get("/v2/kept/manifests/1").await.body, manifest);
    let layer = Digest::sha256(b"shared");
    assert_eq!(platform.get(&format!("/v2/kept/blobs/{layer}")).await.body, "shared");
    platform.end().await;
    etcd.kill().await.unwrap();
}
