//! The cluster's certificate authority: one key that signs who is who.
//!
//! Its key lies on the state nodes only. A certificate is good for a day; who was removed is not given the next one, and
//! the one there is is revoked. TLS names only what the authority was told to sign, never what a request asks for.

use crate::private_file::{self, FileError};
use crate::validity::{CERTIFICATE_LIFETIME, Validity};
use crate::{Issued, LIST_LIFETIME, Peer, RevocationList, Role, is_node_name};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertificateSigningRequestParams,
    DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PublicKeyData, RevocationReason, RevokedCertParams, SanType, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sha2::{Digest, Sha256};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// The authority outlives the machines it began with.
const CA_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// A request of ours has about 350 bytes.
const CSR_BYTES_MAX: usize = 16 * 1024;

/// X.520's upper bound of a common name.
const CLUSTER_NAME_BYTES_MAX: usize = 64;

/// RFC 5280, section 4.1.2.2, allows 20; these are random.
const SERIAL_BYTES: usize = 16;

pub struct Ca {
    certificate_pem: String,
    certificate: CertificateDer<'static>,
    key_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// Whom a certificate is to name. Loopback is always among the addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    pub role: Role,
    pub node: String,
    pub addresses: Vec<IpAddr>,
}

#[derive(Debug, thiserror::Error)]
pub enum CaError {
    #[error("`{name}` cannot name a cluster: 1 to {CLUSTER_NAME_BYTES_MAX} bytes of text without control characters")]
    ClusterName { name: String },
    #[error("`{name}` cannot name a node: letters, digits, `-`, `_` and single dots, at most 63")]
    NodeName { name: String },
    #[error(transparent)]
    File(#[from] FileError),
    #[error("draw random bits")]
    Random { source: getrandom::Error },
    #[error("make the authority")]
    Create { source: rcgen::Error },
    #[error("read the authority's key")]
    Key { source: rcgen::Error },
    #[error("the authority's certificate cannot be read, or is no authority's")]
    Certificate,
    #[error("the authority's key is not the one of its certificate")]
    Mismatch,
    #[error("not a certificate signing request of at most {CSR_BYTES_MAX} bytes whose signature is right")]
    Request,
    #[error("a certificate is signed for an ECDSA key on P-256 only")]
    KeyKind,
    #[error("sign the certificate")]
    Sign { source: rcgen::Error },
    #[error("sign the list of revoked certificates")]
    Revoke { source: rcgen::Error },
    #[error("`{serial}` is no certificate's serial number")]
    Serial { serial: String },
}

impl Ca {
    /// A new authority, kept nowhere yet.
    pub fn create(cluster_name: &str) -> Result<Self, CaError> {
        let bytes = 1..=CLUSTER_NAME_BYTES_MAX;
        if !bytes.contains(&cluster_name.len()) || cluster_name.chars().any(char::is_control) {
            return Err(CaError::ClusterName { name: cluster_name.to_owned() });
        }
        let create = |source| CaError::Create { source };
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(create)?;
        let mut params = dated(Validity::lasting(SystemTime::now(), CA_LIFETIME))?;
        params.distinguished_name.push(DnType::CommonName, cluster_name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(create)?;
        Self::from_pem(&certificate.pem(), &key.serialize_pem())
    }

    /// From what [`Ca::certificate_pem`] and [`Ca::key_pem`] gave.
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> Result<Self, CaError> {
        let certificate =
            CertificateDer::from_pem_slice(certificate_pem.as_bytes()).map_err(|_| CaError::Certificate)?;
        let key = KeyPair::from_pkcs8_pem_and_sign_algo(key_pem, &PKCS_ECDSA_P256_SHA256)
            .map_err(|source| CaError::Key { source })?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).map_err(|_| CaError::Certificate)?;
        if !parsed.is_ca() {
            return Err(CaError::Certificate);
        }
        if *parsed.public_key().subject_public_key.data != *key.der_bytes() {
            return Err(CaError::Mismatch);
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(|_| CaError::Certificate)?;
        Ok(Self { certificate_pem: certificate_pem.to_owned(), certificate, key_pem: key_pem.to_owned(), issuer })
    }

    /// From `ca.pem` and `ca.key`.
    pub fn load(identity_dir: &Path) -> Result<Self, CaError> {
        let read = |name| private_file::read(&identity_dir.join(name));
        Self::from_pem(&read("ca.pem")?, &read("ca.key")?)
    }

    /// As `ca.pem` and `ca.key`; the certificate last, so that where it is the key is.
    pub fn save(&self, identity_dir: &Path) -> Result<(), CaError> {
        private_file::write(&identity_dir.join("ca.key"), &self.key_pem)?;
        private_file::write(&identity_dir.join("ca.pem"), &self.certificate_pem)?;
        Ok(())
    }

    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The secret of the cluster, for a further state node.
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// SHA-256 of the certificate, in lower-case hexadecimal: what a join token pins.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.certificate)
    }

    /// A certificate (PEM) for a day. Of the request only the public key is used.
    pub fn sign(&self, csr_pem: &str, subject: &Subject) -> Result<String, CaError> {
        self.sign_for(csr_pem, subject, Validity::lasting(SystemTime::now(), CERTIFICATE_LIFETIME))
    }

    pub fn sign_for(&self, csr_pem: &str, subject: &Subject, validity: Validity) -> Result<String, CaError> {
        let request = read_request(csr_pem)?;
        if request.public_key.algorithm() != &PKCS_ECDSA_P256_SHA256 {
            return Err(CaError::KeyKind);
        }
        let mut params = subject.params(validity)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // Every role serves and calls.
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&request.public_key, &self.issuer);
        Ok(certificate.map_err(|source| CaError::Sign { source })?.pem())
    }

    /// The list of these certificates. Of two lists the one with the greater `number` is the later.
    pub fn revoke(&self, certificates: &[Issued], number: u64, now: SystemTime) -> Result<RevocationList, CaError> {
        let revoked = certificates.iter().map(|certificate| {
            let serial = hex::decode(&certificate.serial).ok().filter(|serial| (1..=20).contains(&serial.len()));
            let serial = serial.ok_or_else(|| CaError::Serial { serial: certificate.serial.clone() })?;
            Ok(RevokedCertParams {
                serial_number: SerialNumber::from(serial),
                revocation_time: now.into(),
                reason_code: Some(RevocationReason::CessationOfOperation),
                invalidity_date: None,
            })
        });
        let dates = Validity::lasting(now, LIST_LIFETIME);
        let params = CertificateRevocationListParams {
            this_update: dates.not_before.into(),
            next_update: dates.not_after.into(),
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect::<Result<_, CaError>>()?,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.issuer).map_err(|source| CaError::Revoke { source })?;
        Ok(RevocationList::from_der(list.der().to_vec()).expect("what was just written can be read"))
    }
}

/// SHA-256 of the public key in a request, in lower-case hexadecimal. A machine's renewals have the key that it joined with.
pub fn request_key_sha256(csr_pem: &str) -> Result<String, CaError> {
    Ok(hex::encode(Sha256::digest(read_request(csr_pem)?.public_key.der_bytes())))
}

fn read_request(csr_pem: &str) -> Result<CertificateSigningRequestParams, CaError> {
    if csr_pem.len() > CSR_BYTES_MAX {
        return Err(CaError::Request);
    }
    CertificateSigningRequestParams::from_pem(csr_pem).map_err(|_| CaError::Request)
}

impl fmt::Debug for Ca {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ca").field("fingerprint", &self.fingerprint()).finish_non_exhaustive()
    }
}

impl Subject {
    fn params(&self, validity: Validity) -> Result<CertificateParams, CaError> {
        let refused = || CaError::NodeName { name: self.node.clone() };
        if !is_node_name(&self.node) {
            return Err(refused());
        }
        let uri = Peer { role: self.role, node: self.node.clone() }.uri();
        let mut params = dated(validity)?;
        params.distinguished_name.push(DnType::CommonName, self.role.name());
        params.subject_alt_names = vec![
            SanType::URI(uri.try_into().map_err(|_| refused())?),
            SanType::DnsName(self.node.as_str().try_into().map_err(|_| refused())?),
            SanType::DnsName("localhost".try_into().map_err(|_| refused())?),
        ];
        let mut addresses = self.addresses.clone();
        addresses.extend([IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]);
        addresses.sort_unstable();
        addresses.dedup();
        params.subject_alt_names.extend(addresses.into_iter().map(SanType::IpAddress));
        Ok(params)
    }
}

pub fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    hex::encode(Sha256::digest(certificate))
}

/// Nothing but dates and a random serial number.
fn dated(validity: Validity) -> Result<CertificateParams, CaError> {
    let mut serial = [0; SERIAL_BYTES];
    getrandom::fill(&mut serial).map_err(|source| CaError::Random { source })?;
    // Positive, and no shorter than it looks.
    serial[0] = (serial[0] & 0x7f) | 0x40;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.not_before = validity.not_before.into();
    params.not_after = validity.not_after.into();
    Ok(params)
}

#[cfg(test)]
mod tests;
