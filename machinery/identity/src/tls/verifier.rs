//! Whether the certificate a peer shows is good: webpki's checks against what is trusted now, then the role.

use super::source::Source;
use super::{ClientCertificates, provider};
use crate::ca::fingerprint;
use crate::{Peer, PeerError, Role, Validity};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore, SignatureScheme};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// Checks servers.
#[derive(Debug)]
pub struct ServerVerifier {
    pub trust: Trust,
    pub expects: Option<Role>,
}

#[derive(Debug)]
pub enum Trust {
    /// The authority in the role's files.
    Cluster(Arc<Source>),
    /// The authority with this SHA-256, shown by the server itself.
    Pinned(String),
}

/// Checks clients.
#[derive(Debug)]
pub struct ClientVerifier {
    pub source: Arc<Source>,
    pub clients: ClientCertificates,
}

#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the server's authority is not the one with the SHA-256 {fingerprint}")]
    Authority { fingerprint: String },
    #[error("the server is {found}, not a {expected}")]
    Role { found: Peer, expected: Role },
    #[error("the server is nobody of this platform")]
    Nobody { source: PeerError },
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Other(OtherError(Arc::new(refusal)))
    }
}

impl Trust {
    fn verifier(&self, shown: &[CertificateDer<'_>]) -> Result<Arc<WebPkiServerVerifier>, Error> {
        match self {
            Self::Cluster(source) => Ok(source.current().servers.clone()),
            Self::Pinned(pinned) => {
                let refused = || Refusal::Authority { fingerprint: pinned.clone() };
                let ca = shown.iter().find(|certificate| fingerprint(certificate) == *pinned).ok_or_else(refused)?;
                let mut roots = RootCertStore::empty();
                roots.add(ca.clone().into_owned())?;
                let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
                verifier.map_err(|_| refused().into())
            }
        }
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verifier = self.trust.verifier(intermediates)?;
        let verified = verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
        let Some(expected) = self.expects else { return Ok(verified) };
        match Peer::of(end_entity) {
            Ok(found) if found.role == expected => Ok(verified),
            Ok(found) => Err(Refusal::Role { found, expected }.into()),
            Err(source) => Err(Refusal::Nobody { source }.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

/// A machine that was off for a while has nothing but a certificate whose time is over to ask for the next with. It is
/// verified as of its last moment: a `node` may renew what its machine shows, if that is of the cluster still, and nothing
/// else.
fn excused(certificate: &CertificateDer<'_>, now: UnixTime) -> Option<UnixTime> {
    let validity = Validity::of(certificate).ok()?;
    let late = validity.is_late(UNIX_EPOCH.checked_add(Duration::from_secs(now.as_secs()))?);
    let is_machine = Peer::of(certificate).is_ok_and(|peer| peer.role == Role::Node);
    let last = validity.not_after.duration_since(UNIX_EPOCH).ok()?;
    (late && is_machine).then(|| UnixTime::since_unix_epoch(last))
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.clients == ClientCertificates::Required
    }

    /// No hint: a client has one certificate to show, and the authority may change.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let at = excused(end_entity, now).unwrap_or(now);
        self.source.current().clients.verify_client_cert(end_entity, intermediates, at)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
