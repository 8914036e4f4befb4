//! The certificates and the faces over TLS, met by tools that others made: openssl, curl, etcd.

#[path = "tls/cluster.rs"]
#[allow(dead_code)] // other tests use the rest of it
mod cluster;

use cluster::{Cluster, DEADLINE, Face, client, good_today};
use http_body_util::BodyExt;
use identity::{CertificateFiles, ClientCertificates, Role, Subject};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Instant;
use tokio::process::Command;
use tonic::transport::Endpoint;
use tower::ServiceExt;

/// Runs a tool to its end; its words when it fails.
async fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(DEADLINE, command.output()).await.expect("the tool ends in time");
    let Output { status, stdout, stderr } = output.unwrap_or_else(|error| panic!("{program} is needed: {error}"));
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout).into_owned(), String::from_utf8_lossy(&stderr));
    if status.success() { Ok(stdout) } else { Err(format!("{status} {stdout} {stderr}")) }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn openssl_finds_the_chain_and_its_names_in_order() {
    let cluster = Cluster::new("The Cluster of the Tests");
    let files = cluster.certify(Role::Controller, "node-1", good_today());
    let (ca, certificate) = (text(&files.ca), text(&files.certificate));
    for purpose in ["sslserver", "sslclient"] {
        let verify = ["verify", "-x509_strict", "-purpose", purpose, "-CAfile", ca, certificate];
        run("openssl", &verify).await.unwrap();
    }
    for name in [["-verify_ip", "127.0.0.1"], ["-verify_ip", "::1"], ["-verify_hostname", "node-1"]] {
        run("openssl", &["verify", "-CAfile", ca, name[0], name[1], certificate]).await.unwrap();
    }
    run("openssl", &["verify", "-CAfile", ca, "-verify_ip", "127.0.0.2", certificate]).await.unwrap_err();
    let printed = run("openssl", &["x509", "-noout", "-text", "-in", certificate]).await.unwrap();
    assert!(printed.contains("URI:roadstead://node-1/controller"), "{printed}");
    assert!(printed.contains("Subject: CN = controller"), "{printed}");
    assert!(printed.contains("Issuer: CN = The Cluster of the Tests"), "{printed}");
}

#[tokio::test]
async fn curl_and_openssl_speak_to_a_face_over_tls() {
    let cluster = Cluster::new("one");
    let face = Face::start(&cluster.tls(Role::Controller, "a"), ClientCertificates::Required).await;
    let files = cluster.certify(Role::Admin, "b", good_today());
    let [ca, certificate, key] = [&files.ca, &files.certificate, &files.key].map(|path| text(path));

    for version in ["--http1.1", "--http2"] {
        let with_certificate =
            ["-sS", "--fail", version, "--cacert", ca, "--cert", certificate, "--key", key, &face.url()];
        assert_eq!(run("curl", &with_certificate).await.unwrap(), "b/admin", "{version}");
    }
    let refused = run("curl", &["-sS", "--cacert", ca, &face.url()]).await.unwrap_err();
    assert!(refused.contains("certificate required"), "{refused}");

    let address = face.address.to_string();
    let hello =
        ["s_client", "-connect", &address, "-CAfile", ca, "-cert", certificate, "-key", key, "-verify_return_error"];
    let shaken = run("openssl", &[&hello[..], &["-verify_ip", "127.0.0.1", "-alpn", "h2"]].concat()).await.unwrap();
    assert!(shaken.contains("TLSv1.3"), "{shaken}");
    assert!(shaken.contains("ALPN protocol: h2"), "{shaken}");
    assert!(shaken.contains("Verify return code: 0 (ok)"), "{shaken}");
    run("openssl", &[&hello[..], &["-tls1_2"]].concat()).await.unwrap_err();
}

/// etcd under our certificates, ended with the test.
struct Etcd {
    client: SocketAddr,
    files: CertificateFiles,
    _process: tokio::process::Child,
    _data: tempfile::TempDir,
}

impl Etcd {
    async fn start(cluster: &Cluster) -> Self {
        let files = cluster.certify(Role::Store, "a", good_today());
        let data = tempfile::tempdir().unwrap();
        let [client, peer] = [free_port(), free_port()];
        let [ca, certificate, key] = [&files.ca, &files.certificate, &files.key].map(|path| text(path));
        let (client_url, peer_url) = (format!("https://{client}"), format!("https://{peer}"));
        let process = Command::new("etcd")
            .args(["--name", "a", "--data-dir", text(data.path()), "--logger", "zap"])
            .args(["--listen-client-urls", &client_url, "--advertise-client-urls", &client_url])
            .args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url])
            .args(["--initial-cluster", &format!("a={peer_url}")])
            .args(["--client-cert-auth", "--trusted-ca-file", ca, "--cert-file", certificate, "--key-file", key])
            .args(["--peer-client-cert-auth", "--peer-trusted-ca-file", ca])
            .args(["--peer-cert-file", certificate, "--peer-key-file", key])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("etcd is needed: {error}"));
        Self { client, files, _process: process, _data: data }
    }

    fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.client)
    }
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// `Maintenance/Status` of etcd with an empty message, as gRPC frames it.
async fn grpc_status(
    etcd: &Etcd,
    tls: std::sync::Arc<rustls::ClientConfig>,
) -> Result<String, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(etcd.url("")).unwrap();
    let channel = web::grpc_connect(&endpoint, Some(tls)).await?;
    let body = tonic::body::Body::new(http_body_util::Full::from(vec![0_u8; 5]));
    let call = http::Request::post(etcd.url("/etcdserverpb.Maintenance/Status"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    let answer = channel.oneshot(call.body(body).unwrap()).await?;
    let collected = answer.into_body().collect().await.expect("a whole answer");
    Ok(format!("{:?}", collected.trailers().expect("gRPC ends with trailers")["grpc-status"]))
}

#[tokio::test]
async fn etcd_serves_and_calls_under_our_certificates_and_takes_renewed_ones() {
    let cluster = Cluster::new("one");
    let etcd = Etcd::start(&cluster).await;
    let tls = cluster.tls(Role::Controller, "b");
    let health = client(&tls, Role::Store);
    let begun = Instant::now();
    while cluster::ask(&health, &etcd.url("/health")).await.is_err() {
        assert!(begun.elapsed() < DEADLINE, "etcd answers in time");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let expects_store = tls.client(Some(Role::Store));
    assert_eq!(grpc_status(&etcd, expects_store).await.unwrap(), "\"0\"");
    grpc_status(&etcd, tls.client(Some(Role::Controller))).await.unwrap_err();
    let stranger = client(&Cluster::new("one").tls(Role::Controller, "b"), Role::Store);
    cluster::ask(&stranger, &etcd.url("/health")).await.unwrap_err();

    let files = tls.files();
    let [ca, certificate, key] = [&files.ca, &files.certificate, &files.key].map(|path| text(path));
    let endpoints = etcd.url("");
    let etcdctl = ["--endpoints", &endpoints, "--cacert", ca, "--cert", certificate, "--key", key, "put", "a", "b"];
    assert_eq!(run("etcdctl", &etcdctl).await.unwrap().trim(), "OK");

    // etcd reads its files at every handshake.
    let subject = Subject { role: Role::Store, node: "a".into(), addresses: Vec::new() };
    etcd.files.renew_by(&cluster.ca, &subject).unwrap();
    let shown = ["s_client", "-connect", &etcd.client.to_string(), "-cert", certificate, "-key", key];
    let shown = run("openssl", &shown).await.unwrap();
    let renewed = std::fs::read_to_string(&etcd.files.certificate).unwrap();
    assert!(shown.contains(&renewed.replace("\r\n", "\n")), "{shown}\n{renewed}");
}
