//! What a responder is asked: of one certificate, named by its serial number and by hashes of who issued it (RFC 6960 §4.1).

use crate::der::{INTEGER, OCTET_STRING, SEQUENCE, put};
use rustls::pki_types::CertificateDer;
use sha1::{Digest, Sha1};
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::OID_PKIX_ACCESS_DESCRIPTOR_OCSP;
use x509_parser::prelude::X509Certificate;

/// `SEQUENCE { id-sha1, NULL }`: what every responder knows, and those that keep answers ready know only (RFC 5019 §2.1.1).
/// Nobody is cheated by a collision: the issuer's certificate is ours.
pub(crate) const SHA1: &[u8] = &[0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00];

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAsked {
    #[error("it or its issuer's is not a certificate")]
    NotACertificate,
    #[error("what is behind it is not its issuer's certificate")]
    NotItsIssuer,
}

/// Which certificate is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateId {
    pub issuer_name_hash: [u8; 20],
    pub issuer_key_hash: [u8; 20],
    /// As it is in the certificate.
    pub serial: Vec<u8>,
}

impl CertificateId {
    pub fn of(leaf: &CertificateDer<'_>, issuer: &CertificateDer<'_>) -> Result<Self, NotAsked> {
        let (leaf, issuer) = (parsed(leaf)?, parsed(issuer)?);
        if leaf.issuer().as_raw() != issuer.subject().as_raw() {
            return Err(NotAsked::NotItsIssuer);
        }
        Ok(Self {
            issuer_name_hash: Sha1::digest(issuer.subject().as_raw()).into(),
            issuer_key_hash: Sha1::digest(&issuer.public_key().subject_public_key.data).into(),
            serial: leaf.raw_serial().to_vec(),
        })
    }

    /// The request's bytes.
    pub fn request(&self) -> Vec<u8> {
        let names = put(OCTET_STRING, &[&self.issuer_name_hash]);
        let keys = put(OCTET_STRING, &[&self.issuer_key_hash]);
        let id = put(SEQUENCE, &[SHA1, &names, &keys, &put(INTEGER, &[&self.serial])]);
        // request, list of requests, what is asked, around it all.
        (0..4).fold(id, |inner, _| put(SEQUENCE, &[&inner]))
    }
}

/// Whom the certificate says to ask (RFC 5280 §4.2.2.1).
pub fn responders(leaf: &CertificateDer<'_>) -> Result<Vec<String>, NotAsked> {
    let parsed = parsed(leaf)?;
    let mut urls = Vec::new();
    for extension in parsed.extensions() {
        let ParsedExtension::AuthorityInfoAccess(access) = extension.parsed_extension() else { continue };
        for description in access.iter().filter(|one| one.access_method == OID_PKIX_ACCESS_DESCRIPTOR_OCSP) {
            if let GeneralName::URI(url) = description.access_location {
                urls.push(url.to_owned());
            }
        }
    }
    Ok(urls)
}

pub(crate) fn parsed<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, NotAsked> {
    let parsed = x509_parser::parse_x509_certificate(certificate);
    parsed.map(|(_, parsed)| parsed).map_err(|_| NotAsked::NotACertificate)
}
