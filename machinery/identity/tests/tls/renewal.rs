//! Certificates are replaced under way: the next connection uses the new one, those in being go on.

use crate::cluster::{Cluster, Face, ask, good_today};
use axum::Router;
use axum::routing::get;
use http::Version;
use identity::{CertificateFiles, ClientCertificates, Role, Subject, Tls};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, HandshakeKind};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use web::Client;

/// One connection, kept open.
struct Connection(TlsStream<TcpStream>);

impl Connection {
    async fn open(config: &Arc<ClientConfig>, address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let mut config = ClientConfig::clone(config);
        config.alpn_protocols = vec![web::ALPN_HTTP1.to_vec()];
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        Self(connector.connect(ServerName::from(address.ip()), stream).await.unwrap())
    }

    fn server_certificate(&self) -> CertificateDer<'static> {
        self.0.get_ref().1.peer_certificates().unwrap()[0].clone()
    }

    /// What the face answers on this connection.
    async fn ask(&mut self) -> String {
        self.0.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\n.") {
            assert_ne!(self.0.read_buf(&mut answer).await.unwrap(), 0, "the connection goes on");
        }
        let answer = String::from_utf8(answer).unwrap();
        let (_head, body) = answer.split_once("\r\n\r\n").unwrap();
        body.to_owned()
    }
}

/// A face that answers with the certificate it was shown (as its digest), a line end and a full stop.
async fn mirror(tls: &Tls) -> Face {
    let handler = |request: axum::extract::Request| async move {
        assert_eq!(request.version(), Version::HTTP_11);
        let shown = request.extensions().get::<web::PeerCertificate>().unwrap();
        format!("{:?}\n.", shown.0)
    };
    Face::serving(tls, ClientCertificates::Required, Router::new().route("/", get(handler)), "127.0.0.1:0").await
}

fn on_disk(files: &CertificateFiles) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(&files.certificate).unwrap()
}

/// A new certificate for the key there is.
fn renew(cluster: &Cluster, files: &CertificateFiles, role: Role, node: &str) {
    files.renew_by(&cluster.ca, &Subject { role, node: node.to_owned(), addresses: Vec::new() }).unwrap();
}

#[tokio::test]
async fn a_servers_renewed_certificate_is_shown_to_the_next_connection_and_old_ones_go_on() {
    let cluster = Cluster::new("one");
    let files = cluster.certify(Role::Controller, "a", good_today());
    let face = mirror(&Tls::open(&cluster.identity_dir("a"), Role::Controller).unwrap()).await;
    let config = cluster.tls(Role::Edge, "b").client(Some(Role::Controller));

    let before = on_disk(&files);
    let mut old = Connection::open(&config, face.address).await;
    assert_eq!(old.server_certificate(), before);
    renew(&cluster, &files, Role::Controller, "a");
    let mut new = Connection::open(&config, face.address).await;
    assert_eq!(new.server_certificate(), on_disk(&files));
    assert_ne!(new.server_certificate(), before);
    assert_eq!(old.ask().await, new.ask().await, "both are served");
}

#[tokio::test]
async fn a_clients_renewed_certificate_is_shown_by_its_next_connection_and_old_ones_go_on() {
    let cluster = Cluster::new("one");
    let face = mirror(&cluster.tls(Role::Controller, "a")).await;
    let files = cluster.certify(Role::Edge, "b", good_today());
    let config = Tls::open(&cluster.identity_dir("b"), Role::Edge).unwrap().client(Some(Role::Controller));

    let mut old = Connection::open(&config, face.address).await;
    let before = old.ask().await;
    renew(&cluster, &files, Role::Edge, "b");
    let mut new = Connection::open(&config, face.address).await;
    let after = new.ask().await;
    assert_ne!(before, after);
    assert!(after.contains(&format!("{:?}", on_disk(&files))));
    assert_eq!(old.ask().await, before);
}

#[tokio::test]
async fn every_connection_verifies_anew() {
    let cluster = Cluster::new("one");
    let face = mirror(&cluster.tls(Role::Controller, "a")).await;
    let config = cluster.tls(Role::Edge, "b").client(Some(Role::Controller));
    for _ in 0..3 {
        let mut connection = Connection::open(&config, face.address).await;
        connection.ask().await;
        assert_eq!(connection.0.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
    }
}

#[tokio::test]
async fn files_that_cannot_be_used_change_nothing_until_they_can() {
    let cluster = Cluster::new("one");
    let files = cluster.certify(Role::Controller, "a", good_today());
    let face = mirror(&Tls::open(&cluster.identity_dir("a"), Role::Controller).unwrap()).await;
    let config = cluster.tls(Role::Edge, "b").client(Some(Role::Controller));
    let shown = async || Connection::open(&config, face.address).await.server_certificate();

    let before = on_disk(&files);
    let [certificate, key] = [&files.certificate, &files.key].map(|path| std::fs::read_to_string(path).unwrap());
    for bad in
        ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &certificate[..certificate.len() / 2]]
    {
        std::fs::write(&files.certificate, bad).unwrap();
        assert_eq!(shown().await, before);
    }
    std::fs::remove_file(&files.certificate).unwrap();
    assert_eq!(shown().await, before);
    std::fs::write(&files.certificate, &certificate).unwrap();

    // Another key and its certificate, one file after the other.
    let other = cluster.certify(Role::Controller, "c", good_today());
    std::fs::copy(&other.key, &files.key).unwrap();
    assert_eq!(shown().await, before, "the certificate is not of this key");
    std::fs::copy(&other.certificate, &files.certificate).unwrap();
    assert_eq!(shown().await, on_disk(&other));

    files.renew(&certificate).unwrap_err();
    assert_eq!(shown().await, on_disk(&other), "a certificate of another key is not installed");
    std::fs::write(&files.key, key).unwrap();
    files.renew(&certificate).unwrap();
    assert_eq!(shown().await, before);
}

#[tokio::test]
async fn a_new_authority_is_trusted_without_a_restart() {
    let [cluster, next] = ["one", "two"].map(Cluster::new);
    let server = cluster.tls(Role::Controller, "a");
    let face = Face::start(&server, ClientCertificates::Required).await;
    let edge = cluster.tls(Role::Edge, "b");
    let ask = async || ask(&Client::default().with_tls(edge.client(Some(Role::Controller))), &face.url()).await;
    assert_eq!(ask().await.unwrap(), "b/edge");
    for (files, role, node) in [(server.files(), Role::Controller, "a"), (edge.files(), Role::Edge, "b")] {
        let new = next.certify(role, node, good_today());
        for (from, to) in [(new.ca, &files.ca), (new.key, &files.key), (new.certificate, &files.certificate)] {
            std::fs::copy(from, to).unwrap();
        }
        // One side alone is not enough.
        assert_eq!(ask().await.is_ok(), role == Role::Edge);
    }
}
