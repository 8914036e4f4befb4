//! Mutual TLS with the cluster's certificates, by configurations that follow their files.
//!
//! ```text
//!  identity/{ca.pem, revoked.crl, ROLE.pem, ROLE.key} ── Source ──┬── ServerTls      shows ROLE, verifies clients
//!                                               (re-read on change)└── ClientConfig   shows ROLE, verifies servers, their role
//! ```
//!
//! A configuration is made once and lives as long as its listener or client; what it shows and trusts is looked up at each
//! handshake, so that a renewed certificate is used by the next connection, while those in being go on (until the peer's is
//! revoked). Sessions are never
//! resumed: every connection verifies both certificates anew, with their dates. TLS 1.3 only: both ends are ours, or etcd.

mod source;
mod verifier;

use crate::certificate_files::{CertificateFiles, InstallError};
use crate::{Peer, PeerError, RevocationList, Role, Validity};
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::NoServerSessionStorage;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};
use source::{Resolver, Source};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use verifier::{ClientVerifier, ServerVerifier, Trust};
use web::{PeerCertificate, ServerTls};

/// What one role shows and whom it trusts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tls {
    source: Arc<Source>,
}

/// Whether a server asks its clients for a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificates {
    /// No handshake without one.
    Required,
    /// Who shows none may show a token instead.
    Optional,
}

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("load the certificate {}", path.display())]
    Load { path: PathBuf, source: InstallError },
    #[error("the authority in {} cannot be used", path.display())]
    Authority { path: PathBuf },
    #[error("read whom the certificate {} names", path.display())]
    Name { path: PathBuf, source: PeerError },
    #[error("{} is the certificate of {found}, not of a {role}", path.display())]
    WrongRole { path: PathBuf, found: Peer, role: Role },
}

impl Tls {
    /// Reads the files of a role. A certificate whose time is over is accepted here (peers will refuse it): its owner must
    /// be able to start and have it renewed.
    pub fn open(identity_dir: &Path, role: Role) -> Result<Self, TlsError> {
        let source = Source::open(CertificateFiles::of(identity_dir, role), role)?;
        Ok(Self { source: Arc::new(source) })
    }

    /// For a listener. HTTP/2 and HTTP/1.1 are offered by ALPN. A `node` whose certificate ended within
    /// [`LATE_RENEWAL_MAX`](crate::LATE_RENEWAL_MAX) is let in, to renew it.
    pub fn server(&self, clients: ClientCertificates) -> ServerTls {
        let verifier = ClientVerifier { source: self.source.clone(), clients };
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .expect("the provider speaks TLS 1.3")
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(Arc::new(Resolver(self.source.clone())));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.alpn_protocols = vec![web::ALPN_HTTP2.to_vec(), web::ALPN_HTTP1.to_vec()];
        let source = self.source.clone();
        let is_revoked = move |certificate: &PeerCertificate| {
            source.current().revoked.as_ref().is_some_and(|list| list.names(&certificate.0))
        };
        ServerTls { config: Arc::new(config), is_revoked: Arc::new(is_revoked) }
    }

    pub(crate) fn is_of_authority(&self, list: &RevocationList) -> bool {
        self.source.current().is_of_authority(list)
    }

    /// For a client of servers of this cluster: checks the chain, that the certificate bears the address or name that was
    /// dialled, and that it is one of `expects`: an edge cannot pose as a controller. Protocols are set by who uses it.
    pub fn client(&self, expects: Option<Role>) -> Arc<ClientConfig> {
        let builder = client_builder(Trust::Cluster(self.source.clone()), expects);
        Arc::new(unresumed(builder.with_client_cert_resolver(Arc::new(Resolver(self.source.clone())))))
    }

    /// Whom our own certificate names.
    pub fn own(&self) -> Peer {
        self.source.current().own.clone()
    }

    /// The dates of our own certificate.
    pub fn validity(&self) -> Validity {
        self.source.current().validity
    }

    /// The paths of the files, for a program that reads them itself.
    pub fn files(&self) -> &CertificateFiles {
        &self.source.files
    }
}

/// For a machine that has no certificate yet: trusts the servers whose chain ends in the authority with this SHA-256 (lower-
/// case hexadecimal), when they are controllers.
pub fn pinned_client(ca_fingerprint: &str) -> Arc<ClientConfig> {
    let builder = client_builder(Trust::Pinned(ca_fingerprint.to_ascii_lowercase()), Some(Role::Controller));
    Arc::new(unresumed(builder.with_no_client_auth()))
}

/// The cryptography of every configuration.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));
    PROVIDER.clone()
}

fn client_builder(
    trust: Trust,
    expects: Option<Role>,
) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .expect("the provider speaks TLS 1.3")
        .dangerous() // rustls's word for a verifier of one's own; ours does all that the usual one does, and more
        .with_custom_certificate_verifier(Arc::new(ServerVerifier { trust, expects }))
}

fn unresumed(mut config: ClientConfig) -> ClientConfig {
    config.resumption = Resumption::disabled();
    config
}
