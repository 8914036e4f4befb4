//! Configurations for connections to servers. Routes that ask for the same have the same one, and with it the sessions
//! that can be resumed, and the connections that are kept.

use super::{ALPN_HTTP1, ALPN_HTTP2, SecureError, authorities, provider, versions};
use crate::limits::TLS_SERVER_SESSIONS_MAX;
use crate::servers::lock;
use identity::machines_authorities;
use routing::{ServerTls, ServerUrl};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, ClientSessionMemoryCache, Resumption};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

/// How a route speaks to its servers over TLS.
#[derive(Debug)]
pub(crate) struct Upstream {
    config: Arc<ClientConfig>,
    /// The same, and HTTP/2 is offered beside HTTP/1.1.
    with_http2: Arc<ClientConfig>,
    /// Whom certificates name, if not the URL's host.
    name: Option<ServerName<'static>>,
}

impl Upstream {
    pub fn of(settings: &ServerTls) -> Result<Arc<Self>, SecureError> {
        Self::known_or(settings, || Self::new(settings))
    }

    /// Nobody waits for another's to be made.
    fn known_or(
        settings: &ServerTls,
        make: impl FnOnce() -> Result<Self, SecureError>,
    ) -> Result<Arc<Self>, SecureError> {
        static KNOWN: Mutex<BTreeMap<ServerTls, Weak<Upstream>>> = Mutex::new(BTreeMap::new());
        let find = |known: &BTreeMap<ServerTls, Weak<Self>>| known.get(settings).and_then(Weak::upgrade);
        if let Some(upstream) = find(&lock(&KNOWN)) {
            return Ok(upstream);
        }
        let upstream = Arc::new(make()?);
        let mut known = lock(&KNOWN);
        // Somebody was faster: whoever asks for the same has the same.
        if let Some(upstream) = find(&known) {
            return Ok(upstream);
        }
        known.retain(|_, upstream| upstream.strong_count() > 0);
        known.insert(settings.clone(), Arc::downgrade(&upstream));
        Ok(upstream)
    }

    fn new(settings: &ServerTls) -> Result<Self, SecureError> {
        let provider = provider(&settings.cipher_suites)?;
        let versions = versions(settings.min_version, settings.max_version)?;
        let builder = ClientConfig::builder_with_provider(provider.clone()).with_protocol_versions(&versions);
        let builder = builder.map_err(SecureError::Config)?;
        let mut config = if settings.insecure_skip_verify {
            let verifier = Arc::new(Anybody(provider));
            builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
        } else if settings.authorities.is_empty() {
            builder.with_root_certificates(machines_authorities()).with_no_client_auth()
        } else {
            builder.with_root_certificates(authorities(&settings.authorities)?).with_no_client_auth()
        };
        config.resumption = Resumption::store(Arc::new(ClientSessionMemoryCache::new(TLS_SERVER_SESSIONS_MAX)));
        let name = Some(&settings.server_name).filter(|name| !name.is_empty());
        let name = name.map(|name| server_name(name)).transpose()?;
        let mut with_http2 = config.clone();
        with_http2.alpn_protocols = vec![ALPN_HTTP2.to_vec(), ALPN_HTTP1.to_vec()];
        Ok(Self { config: Arc::new(config), with_http2: Arc::new(with_http2), name })
    }

    pub fn config(&self, offers_http2: bool) -> Arc<ClientConfig> {
        if offers_http2 { self.with_http2.clone() } else { self.config.clone() }
    }

    /// Whom the certificate of this server has to name.
    pub fn name_of(&self, url: &ServerUrl) -> Result<ServerName<'static>, SecureError> {
        match &self.name {
            Some(name) => Ok(name.clone()),
            None => server_name(url.host()),
        }
    }
}

fn server_name(name: &str) -> Result<ServerName<'static>, SecureError> {
    ServerName::try_from(name.to_owned()).map_err(|_| SecureError::ServerName { name: name.to_owned() })
}

/// Believes everybody, as its settings ask (vulcand's `InsecureSkipVerify`); that they hold their own key is checked.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn nobody_waits_for_another_routes_settings() {
        let named =
            |name: &str| ServerTls { server_name: name.into(), insecure_skip_verify: true, ..ServerTls::default() };
        let (slow, quick) = (named("slow.example"), named("quick.example"));
        let (begun, begins) = mpsc::channel();
        let (go_on, goes_on) = mpsc::channel::<()>();
        let settings = slow.clone();
        let reading = std::thread::spawn(move || {
            Upstream::known_or(&settings, || {
                begun.send(()).unwrap();
                goes_on.recv().unwrap();
                Upstream::new(&settings)
            })
        });
        begins.recv().unwrap();
        let (done, is_done) = mpsc::channel();
        std::thread::spawn(move || done.send(Upstream::of(&quick).is_ok()));
        assert!(is_done.recv_timeout(std::time::Duration::from_secs(10)).expect("it waits for the other"));
        let faster = Upstream::of(&slow).unwrap();
        go_on.send(()).unwrap();
        let slower = reading.join().unwrap().unwrap();
        assert!(Arc::ptr_eq(&faster, &slower), "whoever asks for the same has the same");
    }
}
