//! Whether the member answers: it is asked for its status, as any client would, with its own certificate.

use crate::Config;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use store::{ClientCredentials, EtcdClient, Members};

/// A member that does not answer yet is asked again after this pause.
const PAUSE: Duration = Duration::from_millis(50);

pub struct Probe {
    client: EtcdClient,
    endpoint: String,
}

#[derive(Debug, thiserror::Error)]
pub enum CertificatesError {
    #[error("read {}", path.display())]
    File { path: PathBuf, source: PemError },
    #[error("use them for TLS")]
    Tls { source: rustls::Error },
    #[error("make a client of them")]
    Client { source: store::ConnectError },
}

impl Probe {
    pub fn new(config: &Config) -> Result<Self, CertificatesError> {
        let listen = config.client_listen.first().copied().unwrap_or(config.client_advertise);
        let endpoint = format!("https://{}", reachable(listen));
        let tls = Arc::new(client_tls(config)?);
        let client = EtcdClient::connect(std::slice::from_ref(&endpoint), ClientCredentials::None, Some(tls));
        Ok(Self { client: client.map_err(|source| CertificatesError::Client { source })?, endpoint })
    }

    /// Resolves once the member says anything of itself. A learner does, too.
    pub async fn answered(&self) {
        while let Err(error) = self.client.status(&self.endpoint).await {
            tracing::trace!(error = %lifecycle::ErrorChain(&error), "etcd is not ready");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// An address that stands for all addresses is asked on loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

fn client_tls(config: &Config) -> Result<ClientConfig, CertificatesError> {
    let tls = |source| CertificatesError::Tls { source };
    let mut roots = RootCertStore::empty();
    for authority in certificates(&config.authority)? {
        roots.add(authority).map_err(tls)?;
    }
    let own = certificates(&config.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&config.key)
        .map_err(|source| CertificatesError::File { path: config.key.clone(), source })?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(tls)?;
    builder.with_root_certificates(roots).with_client_auth_cert(own, key).map_err(tls)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificatesError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    read.map_err(|source| CertificatesError::File { path: path.to_owned(), source })
}
