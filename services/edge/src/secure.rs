//! How TLS is spoken: configurations for listeners ([`listener`]) and for connections to servers ([`servers`]), made of the
//! plain settings of `core/routing`. Certificates are not part of them: those are looked up at each handshake
//! ([`crate::certificates`]).

pub(crate) mod servers;
mod tickets;

pub(crate) use tickets::TicketKeys;

use crate::certificates::Certificates;
use crate::limits::TLS_SESSIONS_MAX;
use routing::{ClientCertificates, ListenerTls, TlsVersion};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion};
use std::sync::Arc;

/// The names of both HTTPs in the handshake (ALPN, RFC 7301).
pub(crate) const ALPN_HTTP2: &[u8] = b"h2";
pub(crate) const ALPN_HTTP1: &[u8] = b"http/1.1";
/// Of a certificate authority that looks whether a host is ours (RFC 8737).
pub(crate) const ALPN_ACME: &[u8] = b"acme-tls/1";
/// Tickets that a client of TLS 1.3 gets for one connection; each is good for one more. Go gives one.
const TICKETS: usize = 1;

#[derive(Debug, thiserror::Error)]
pub enum SecureError {
    #[error("cipher suite {name:?} is not known")]
    CipherSuite { name: String },
    #[error("no version of TLS is left between the lowest and the highest that is allowed")]
    Versions,
    #[error("the authorities' certificates are no PEM")]
    AuthoritiesPem(#[source] rustls::pki_types::pem::Error),
    #[error("an authority's certificate cannot be used")]
    Authority(#[source] rustls::Error),
    #[error("the authorities are empty")]
    NoAuthority,
    #[error("the authorities cannot verify")]
    Verifier(#[source] rustls::server::VerifierBuilderError),
    #[error("the settings of TLS cannot be used")]
    Config(#[source] rustls::Error),
    #[error("{name:?} is not a name that a server's certificate can have")]
    ServerName { name: String },
}

/// For one listener.
pub(crate) fn listener(
    settings: &ListenerTls,
    certificates: &Arc<Certificates>,
    tickets: &TicketKeys,
) -> Result<Arc<ServerConfig>, SecureError> {
    let provider = provider(&settings.cipher_suites)?;
    let versions = versions(settings.min_version, settings.max_version)?;
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(&versions);
    let builder = builder.map_err(SecureError::Config)?;
    let builder = match settings.client_certificates {
        ClientCertificates::No => builder.with_no_client_auth(),
        asked => {
            let roots = Arc::new(authorities(&settings.client_authorities)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            let verifier = match asked {
                ClientCertificates::IfGiven => verifier.allow_unauthenticated(),
                _ => verifier,
            };
            builder.with_client_cert_verifier(verifier.build().map_err(SecureError::Verifier)?)
        }
    };
    let mut config = builder.with_cert_resolver(certificates.clone());
    config.ignore_client_order = settings.prefers_own_order;
    config.alpn_protocols = vec![ALPN_HTTP2.to_vec(), ALPN_HTTP1.to_vec(), ALPN_ACME.to_vec()];
    config.send_tls13_tickets = TICKETS;
    config.session_storage = match settings.session_cache.map_or(TLS_SESSIONS_MAX, |sessions| sessions as usize) {
        0 => Arc::new(NoServerSessionStorage {}),
        sessions => ServerSessionMemoryCache::new(sessions.min(TLS_SESSIONS_MAX)),
    };
    if settings.tickets_disabled {
        // Sessions of TLS 1.3 would be remembered instead, one for each connection.
        config.send_tls13_tickets = 0;
    } else {
        // A ticket is good where the same is asked of clients.
        let asked = serde_json::to_string(settings).unwrap_or_default();
        config.ticketer = Arc::new(tickets.ticketer(&asked));
    }
    Ok(Arc::new(config))
}

/// With these cipher suites of TLS 1.2, and all of 1.3; none: all.
fn provider(suites: &[String]) -> Result<Arc<CryptoProvider>, SecureError> {
    let all = identity::provider();
    if suites.is_empty() {
        return Ok(all);
    }
    let named = |name: &String| {
        let is_named = |suite: &&SupportedCipherSuite| suite.suite().as_str() == Some(name.as_str());
        all.cipher_suites.iter().find(is_named).copied().ok_or_else(|| SecureError::CipherSuite { name: name.clone() })
    };
    let of_13 = all.cipher_suites.iter().filter(|suite| suite.tls13().is_some()).copied();
    let cipher_suites = of_13.map(Ok).chain(suites.iter().map(named)).collect::<Result<_, _>>()?;
    Ok(Arc::new(CryptoProvider { cipher_suites, ..(*all).clone() }))
}

fn versions(
    min: Option<TlsVersion>,
    max: Option<TlsVersion>,
) -> Result<Vec<&'static SupportedProtocolVersion>, SecureError> {
    let (min, max) = (min.unwrap_or(TlsVersion::Tls12), max.unwrap_or(TlsVersion::Tls13));
    let known = [(TlsVersion::Tls13, &TLS13), (TlsVersion::Tls12, &TLS12)];
    let versions: Vec<_> =
        known.into_iter().filter(|(version, _)| (min..=max).contains(version)).map(|(_, version)| version).collect();
    if versions.is_empty() { Err(SecureError::Versions) } else { Ok(versions) }
}

fn authorities(pem: &str) -> Result<RootCertStore, SecureError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(SecureError::AuthoritiesPem)?;
        roots.add(certificate).map_err(SecureError::Authority)?;
    }
    if roots.is_empty() { Err(SecureError::NoAuthority) } else { Ok(roots) }
}
