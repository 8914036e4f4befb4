//! An authority, and clients that trust it.

use crate::harness::{DEADLINE, Edge, config};
use crate::memory_store::MemoryStore;
use identity::{KeyPair, SealKey};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, IsCa, SerialNumber};
use routing::certificate::{CertificateDocument, CertificateIssuer};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, ProtocolVersion, RootCertStore, SupportedProtocolVersion};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// What has to move within the deadline.
const LOT_BYTES: usize = 1 << 20;

pub fn seal_key() -> SealKey {
    SealKey::from_bytes([7; 32])
}

/// An edge that listens over TLS, too.
pub async fn edge() -> Edge {
    edge_with(edge::ClientTimes::default()).await
}

pub async fn edge_with(client_times: edge::ClientTimes) -> Edge {
    let store = Arc::new(MemoryStore::default());
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let config =
        edge::Config { listen_tls: vec![any], seal_key: Some(seal_key()), client_times, ..config(store.clone()) };
    Edge::of(config, store).await
}

pub fn https(edge: &Edge) -> SocketAddr {
    edge.started.address("https").unwrap()
}

/// Signs certificates.
pub struct Authority(CertifiedIssuer<'static, rcgen::KeyPair>);

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, rcgen::KeyPair::generate().unwrap()).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    pub fn issue(&self, names: &[&str]) -> KeyPair {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.0).unwrap();
        KeyPair { key: key.serialize_pem().into_bytes(), cert: certificate.pem().into_bytes() }
    }

    /// One with the authority's own behind it, and with these extensions.
    pub fn issue_with(&self, names: &[&str], serial: u64, extensions: Vec<CustomExtension>) -> KeyPair {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let (key, mut params) = (rcgen::KeyPair::generate().unwrap(), CertificateParams::new(names).unwrap());
        (params.serial_number, params.custom_extensions) = (Some(SerialNumber::from(serial)), extensions);
        let chain = format!("{}{}", params.signed_by(&key, &self.0).unwrap().pem(), self.pem());
        KeyPair { key: key.serialize_pem().into_bytes(), cert: chain.into_bytes() }
    }

    pub fn key(&self) -> &rcgen::KeyPair {
        self.0.key()
    }

    /// As a store keeps it.
    pub fn document(&self, names: &[&str], default: bool) -> String {
        certificate(&self.issue(names), default)
    }

    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        roots
    }

    pub fn client(&self) -> Client {
        self.client_of(&[&rustls::version::TLS13, &rustls::version::TLS12])
    }

    pub fn client_of(&self, versions: &[&'static SupportedProtocolVersion]) -> Client {
        let builder = ClientConfig::builder_with_provider(identity::provider()).with_protocol_versions(versions);
        Client(Arc::new(builder.unwrap().with_root_certificates(self.roots()).with_no_client_auth()))
    }

    /// One that shows a certificate.
    pub fn client_with(&self, pair: &KeyPair) -> Client {
        let builder = ClientConfig::builder_with_provider(identity::provider()).with_safe_default_protocol_versions();
        let (chain, key) = parts(pair);
        let config = builder.unwrap().with_root_certificates(self.roots()).with_client_auth_cert(chain, key);
        Client(Arc::new(config.unwrap()))
    }
}

pub fn parts(pair: &KeyPair) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = CertificateDer::pem_slice_iter(&pair.cert).collect::<Result<_, _>>().unwrap();
    (chain, PrivateKeyDer::from_pem_slice(&pair.key).unwrap())
}

pub fn certificate(pair: &KeyPair, default: bool) -> String {
    let sealed = seal_key().seal_key_pair(pair).unwrap();
    let document = CertificateDocument {
        v: 0,
        names: Vec::new(),
        sealed,
        not_before_s: 0,
        not_after_s: 0,
        issuer: CertificateIssuer::Given,
        default,
        ocsp: None,
    };
    serde_json::to_string(&document).unwrap()
}

/// A client; its sessions can be resumed.
#[derive(Clone)]
pub struct Client(pub Arc<ClientConfig>);

/// A connection whose handshake succeeded.
pub struct Connection(pub TlsStream<TcpStream>);

impl Client {
    pub async fn connect(&self, address: SocketAddr, name: &str) -> std::io::Result<Connection> {
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        Ok(Connection(TlsConnector::from(self.0.clone()).connect(name, stream).await?))
    }
}

impl Connection {
    /// Head and body.
    pub async fn get(&mut self, host: &str, path: &str) -> (String, Vec<u8>) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        self.0.write_all(request.as_bytes()).await.unwrap();
        self.response().await
    }

    /// Bytes that have to move within the deadline, one lot after the other: how long a large body takes is the machine's.
    pub async fn send(&mut self, bytes: &[u8]) {
        for lot in bytes.chunks(LOT_BYTES) {
            timeout(DEADLINE, self.0.write_all(lot)).await.expect("nothing is taken").unwrap();
        }
    }

    pub async fn response(&mut self) -> (String, Vec<u8>) {
        let read = async {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(self.0.read_u8().await.unwrap());
            }
            String::from_utf8(head).unwrap()
        };
        let head = timeout(DEADLINE, read).await.expect("no response");
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().unwrap())
        });
        let mut body = vec![0; length.unwrap_or(0)];
        for lot in body.chunks_mut(LOT_BYTES) {
            timeout(DEADLINE, self.0.read_exact(lot)).await.expect("the body stops").unwrap();
        }
        (head, body)
    }

    pub fn version(&self) -> ProtocolVersion {
        self.0.get_ref().1.protocol_version().unwrap()
    }

    pub fn is_resumed(&self) -> bool {
        self.0.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    pub fn certificate(&self) -> CertificateDer<'static> {
        self.0.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
    }
}

/// Which certificate a new connection is shown.
pub async fn shown(client: &Client, address: SocketAddr, name: &str) -> Option<CertificateDer<'static>> {
    client.connect(address, name).await.ok().map(|connection| connection.certificate())
}
