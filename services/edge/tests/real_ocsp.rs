//! OCSP stapling with OpenSSL on both sides: `openssl ocsp` is the responder, and `openssl s_client` the client that asks for
//! what it says.

#[path = "edge/harness.rs"]
#[allow(dead_code, reason = "its other half is for the other tests")]
mod harness;
#[path = "edge/memory_store.rs"]
#[allow(dead_code, reason = "its other half is for the other tests")]
mod memory_store;
#[path = "edge/tls/client.rs"]
#[allow(dead_code, reason = "its other half is for the other tests")]
mod tls;

use harness::{eventually, free_address};
use serde_json::json;
use std::path::Path;
use std::process::Stdio;
use tls::{Authority, edge, https, seal_key};
use tokio::process::{Child, Command};

/// Knows certificates 0x1001, which is good, and 0x1002, which is revoked.
fn responder(directory: &Path, authority: &Authority) -> (Child, String) {
    std::fs::write(directory.join("ca.pem"), authority.pem()).unwrap();
    std::fs::write(directory.join("ca.key"), authority.key().serialize_pem()).unwrap();
    let index = "V\t400101000000Z\t\t1001\tunknown\t/CN=a\nR\t400101000000Z\t240101000000Z\t1002\tunknown\t/CN=b\n";
    std::fs::write(directory.join("index.txt"), index).unwrap();
    let port = free_address().port();
    let port_text = port.to_string();
    let responder = Command::new("openssl")
        .args(["ocsp", "-index", "index.txt", "-port", &port_text, "-nmin", "5"])
        .args(["-rsigner", "ca.pem", "-rkey", "ca.key", "-CA", "ca.pem"])
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let responder = responder.unwrap_or_else(|error| panic!("openssl is needed (apt-get install openssl): {error}"));
    (responder, format!("http://127.0.0.1:{port}/"))
}

#[tokio::test]
async fn openssl_is_asked_and_openssl_sees_the_answer() {
    let (edge, authority) = (edge().await, Authority::new());
    let directory = tempfile::tempdir().unwrap();
    let (_responder, url) = responder(directory.path(), &authority);
    for (name, serial, standing) in [("a.example", 0x1001, "good"), ("b.example", 0x1002, "revoked")] {
        let pair = authority.issue_with(&[name], serial, Vec::new());
        let ocsp = json!({ "Enabled": true, "Responders": [url] });
        let settings = json!({ "KeyPair": seal_key().seal_key_pair(&pair).unwrap(), "OCSP": ocsp });
        let host = json!({ "Name": name, "Settings": settings }).to_string();
        edge.store.change(&[(&format!("/vulcand/hosts/{name}/host"), Some(&host))]).await;
        eventually("the responder was heard", || async {
            let status = edge.status().await;
            let certificates = status["certificates"].as_array()?;
            let one = certificates.iter().find(|one| one["names"][0] == name)?;
            one["ocsp"].as_str()?.starts_with(standing).then_some(())
        })
        .await;
        for version in ["-tls1_3", "-tls1_2"] {
            let address = https(&edge).to_string();
            let seen = Command::new("openssl")
                .args(["s_client", "-connect", &address, "-servername", name, "-status", version])
                .stdin(Stdio::null())
                .output()
                .await
                .unwrap();
            let seen = String::from_utf8_lossy(&seen.stdout).into_owned();
            assert!(seen.contains("OCSP Response Status: successful"), "{seen}");
            assert!(seen.contains(&format!("Cert Status: {standing}")), "{seen}");
        }
    }
}
