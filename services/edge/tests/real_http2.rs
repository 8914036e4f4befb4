//! The edge's HTTP/2 as curl, nghttp and h2load see it (Debian's curl and nghttp2-client).

#[path = "edge/harness.rs"]
#[allow(dead_code, reason = "its other half is for the other tests")]
mod harness;
#[path = "edge/memory_store.rs"]
#[allow(dead_code, reason = "its other half is for the other tests")]
mod memory_store;

use harness::{Edge, Server};
use std::process::Stdio;
use tokio::process::Command;

async fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap_or_else(|error| panic!("{program} is needed (apt-get install curl nghttp2-client): {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

async fn served() -> (Edge, Server) {
    let edge = Edge::start().await;
    let server = Server::named("one").await;
    edge.route("a", "127.0.0.1", &[&server]).await;
    (edge, server)
}

#[tokio::test]
async fn curl_and_nghttp_are_served() {
    let (edge, _server) = served().await;
    let url = format!("http://{}/p?q", edge.address);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), vec![7; 1 << 20]).unwrap();
    let data = format!("@{}", file.path().display());
    let common = ["-s", "--http2-prior-knowledge", "-w", "\n%{http_version} %{http_code}"];
    let got = output("curl", &[&common[..], &[&url]].concat()).await;
    assert!(got.contains(r#""target":"/p?q""#) && got.ends_with("\n2 200"), "{got}");
    for expect in ["Expect: 100-continue", "Expect:", "Transfer-Encoding: chunked"] {
        let got = output("curl", &[&common[..], &["-H", expect, "--data-binary", &data, &url]].concat()).await;
        assert!(got.contains(r#""body_bytes":1048576"#) && got.ends_with("\n2 200"), "{expect}: {got}");
    }
    let got = output("nghttp", &["-v", "-d", file.path().to_str().unwrap(), "--trailer=x-end: 1", &url]).await;
    assert!(got.contains(":status: 200") && got.contains(r#""body_bytes":1048576"#), "{got}");
}

#[tokio::test]
async fn a_burst_of_h2load_loses_no_request() {
    let (edge, _server) = served().await;
    let url = format!("http://{}/", edge.address);
    let got = output("h2load", &["-n", "20000", "-c", "8", "-m", "100", &url]).await;
    assert!(got.contains("20000 succeeded, 0 failed, 0 errored"), "{got}");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), vec![7; 50_000]).unwrap();
    let got = output("h2load", &["-n", "2000", "-c", "4", "-m", "50", "-d", file.path().to_str().unwrap(), &url]).await;
    assert!(got.contains("2000 succeeded, 0 failed, 0 errored"), "{got}");
}
