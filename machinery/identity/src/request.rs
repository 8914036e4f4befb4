//! A new key and the request for its certificate. The key never leaves the machine that made it.

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};

/// A key and what is sent to the authority for it. The request bears the public key and proves that its sender has the
/// private one; whom the certificate will name is the authority's decision.
pub struct Request {
    pub key_pem: String,
    pub csr_pem: String,
}

#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("make a key")]
    Generate { source: rcgen::Error },
    #[error("not the key of a certificate")]
    Key { source: rcgen::Error },
    #[error("sign the request")]
    Sign { source: rcgen::Error },
}

impl Request {
    /// With a new key (ECDSA on P-256).
    pub fn generate() -> Result<Self, RequestError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256);
        Self::of(key.map_err(|source| RequestError::Generate { source })?)
    }

    /// For the key there is. A renewal keeps its key, so that one file is replaced, in one step: a certificate and a key that
    /// do not belong together would end the machine's part in the cluster.
    pub fn renewing(key_pem: &str) -> Result<Self, RequestError> {
        let key = KeyPair::from_pkcs8_pem_and_sign_algo(key_pem, &PKCS_ECDSA_P256_SHA256);
        Self::of(key.map_err(|source| RequestError::Key { source })?)
    }

    fn of(key: KeyPair) -> Result<Self, RequestError> {
        let csr = CertificateParams::default().serialize_request(&key);
        let csr_pem = csr.and_then(|csr| csr.pem()).map_err(|source| RequestError::Sign { source })?;
        Ok(Self { key_pem: key.serialize_pem(), csr_pem })
    }
}
