//! Where a role's certificate and key lie, and how they are put there.

use crate::private_file::{self, FileError};
use crate::validity::{NotACertificate, Validity};
use crate::{Ca, CaError, Request, RequestError, RevocationList, Role, Subject};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::path::{Path, PathBuf};

/// The files of one role, as TLS (and etcd) reads them. The authority's and its list are every role's on the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    pub ca: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// The list of revoked certificates, DER. It may be absent.
    pub revoked: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("the certificate does not belong to the key")]
    Mismatch { source: rustls::Error },
    #[error("the certificate or its key is not in PEM form")]
    Pem { source: rustls::pki_types::pem::Error },
    #[error("read the certificate")]
    Certificate(#[from] NotACertificate),
    #[error("ask for a certificate")]
    Request(#[from] RequestError),
    #[error("sign a certificate")]
    Sign(#[from] CaError),
}

impl CertificateFiles {
    pub fn of(identity_dir: &Path, role: Role) -> Self {
        Self {
            ca: identity_dir.join("ca.pem"),
            certificate: identity_dir.join(format!("{role}.pem")),
            key: identity_dir.join(format!("{role}.key")),
            revoked: RevocationList::path(identity_dir),
        }
    }

    /// A node's first certificate of a role.
    pub fn install(&self, ca_pem: &str, certificate_pem: &str, key_pem: &str) -> Result<(), InstallError> {
        check(certificate_pem, key_pem)?;
        private_file::write(&self.ca, ca_pem)?;
        private_file::write(&self.key, key_pem)?;
        private_file::write(&self.certificate, certificate_pem)?;
        Ok(())
    }

    /// The request for the next certificate, with the key there is.
    pub fn renewal_request(&self) -> Result<Request, InstallError> {
        Ok(Request::renewing(&private_file::read(&self.key)?)?)
    }

    /// Replaces the certificate, in one step. One that is not of the key there is changes nothing.
    pub fn renew(&self, certificate_pem: &str) -> Result<(), InstallError> {
        check(certificate_pem, &private_file::read(&self.key)?)?;
        private_file::write(&self.certificate, certificate_pem)?;
        Ok(())
    }

    /// Renews the certificate here, on a machine that has the authority's key: it needs nobody, whatever time has passed.
    pub fn renew_by(&self, ca: &Ca, subject: &Subject) -> Result<(), InstallError> {
        self.renew(&ca.sign(&self.renewal_request()?.csr_pem, subject)?)
    }

    /// Whether the list beside it names the certificate that lies there: its machine was removed.
    pub fn is_revoked(&self) -> Result<bool, InstallError> {
        let list = private_file::read_bytes_if_there(&self.revoked)?.map(RevocationList::from_der);
        let Some(Ok(list)) = list else { return Ok(false) };
        let pem = private_file::read(&self.certificate)?;
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes());
        Ok(list.names(&certificate.map_err(|source| InstallError::Pem { source })?))
    }

    /// The dates of the certificate that lies there.
    pub fn validity(&self) -> Result<Validity, InstallError> {
        Ok(Validity::of_pem(&private_file::read(&self.certificate)?)?)
    }
}

fn check(certificate_pem: &str, key_pem: &str) -> Result<(), InstallError> {
    certified_key(certificate_pem, key_pem, &[]).map(|_| ())
}

/// A certificate and its key for TLS, checked to belong together. `issuers` are shown after the certificate.
pub fn certified_key(
    certificate_pem: &str,
    key_pem: &str,
    issuers: &[CertificateDer<'static>],
) -> Result<CertifiedKey, InstallError> {
    let pem = |source| InstallError::Pem { source };
    let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes()).map_err(pem)?;
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(pem)?;
    let mut chain = vec![certificate];
    chain.extend_from_slice(issuers);
    CertifiedKey::from_der(chain, key, &crate::tls::provider()).map_err(|source| InstallError::Mismatch { source })
}
