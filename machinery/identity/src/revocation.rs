//! Certificates that are refused before their time: those of machines that were removed.
//!
//! The authority signs a list of their serial numbers (RFC 5280, section 5). It lies beside a machine's certificates, where
//! [`Tls`](crate::Tls) reads it at every handshake, and so does etcd, which takes its DER form in every release. A list whose
//! next one is due is better than none: neither of them asks for its date, so a store that is away for long shuts nobody
//! out and lets nobody in.

use crate::ca::CaError;
use crate::private_file::{self, FileError};
use crate::validity::{NotACertificate, Validity};
use crate::{Ca, Tls, certificate_files::InstallError};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The next list is due this long after one was signed.
pub const LIST_LIFETIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);

const FILE_NAME: &str = "revoked.crl";

/// What is remembered of a certificate that was handed out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Issued {
    /// Hexadecimal.
    pub serial: String,
    /// Seconds since 1970. From then on its dates refuse it.
    pub not_after_s: u64,
}

/// A list, read from its DER form. Whose it is, is another question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationList {
    der: Vec<u8>,
    serials: BTreeSet<Vec<u8>>,
}

#[derive(Debug, thiserror::Error)]
pub enum RevocationError {
    #[error("not a list of revoked certificates")]
    Malformed,
    #[error("the list of revoked certificates is another authority's")]
    Authority,
    #[error(transparent)]
    File(#[from] FileError),
    #[error("sign a list of revoked certificates")]
    Sign(#[from] CaError),
    #[error(transparent)]
    Install(#[from] InstallError),
}

impl Issued {
    /// Of the first certificate in a PEM file's text.
    pub fn of_pem(text: &str) -> Result<Self, NotACertificate> {
        let certificate = CertificateDer::from_pem_slice(text.as_bytes()).map_err(|_| NotACertificate)?;
        let serial = hex::encode(serial_of(&certificate).ok_or(NotACertificate)?);
        Ok(Self { serial, not_after_s: seconds(Validity::of(&certificate)?.not_after) })
    }

    pub fn has_ended(&self, now: SystemTime) -> bool {
        self.not_after_s < seconds(now)
    }
}

impl RevocationList {
    pub fn path(identity_dir: &Path) -> PathBuf {
        identity_dir.join(FILE_NAME)
    }

    pub fn from_der(der: Vec<u8>) -> Result<Self, RevocationError> {
        let (rest, parsed) = x509_parser::parse_x509_crl(&der).map_err(|_| RevocationError::Malformed)?;
        if !rest.is_empty() {
            return Err(RevocationError::Malformed);
        }
        let serials = parsed.iter_revoked_certificates().map(|one| one.raw_serial().to_vec()).collect();
        Ok(Self { der, serials })
    }

    /// Sees to it that there is one that can be read: etcd refuses everybody where there is none. One that somebody else puts
    /// there in this moment stays.
    pub fn prepare(identity_dir: &Path, ca: &Ca) -> Result<(), RevocationError> {
        let path = Self::path(identity_dir);
        let there = private_file::read_bytes_if_there(&path)?.map(Self::from_der);
        if let Some(Ok(_)) = there {
            return Ok(());
        }
        tracing::info!(path = %path.display(), "a list of revoked certificates begins empty");
        let empty = ca.revoke(&[], 0, SystemTime::now())?;
        match there {
            None => private_file::create(&path, empty.der())?,
            Some(_) => private_file::write(&path, empty.der())?,
        }
        Ok(())
    }

    pub fn der(&self) -> &[u8] {
        &self.der
    }

    pub fn names(&self, certificate: &CertificateDer<'_>) -> bool {
        // Without them, nothing is parsed.
        !self.serials.is_empty() && serial_of(certificate).is_some_and(|serial| self.serials.contains(&serial))
    }

    /// Whether it names a certificate that the list of before does not.
    pub fn adds_to(&self, before: Option<&Self>) -> bool {
        before.map_or(!self.serials.is_empty(), |before| !self.serials.is_subset(&before.serials))
    }

    pub(crate) fn to_rustls(&self) -> CertificateRevocationListDer<'static> {
        self.der.clone().into()
    }
}

impl Tls {
    /// Puts a list beside this role's certificate, for every process of the machine; whether it was another one than
    /// before. One of another authority is refused: with it nobody could be verified.
    pub fn install_revoked(&self, list: &RevocationList) -> Result<bool, RevocationError> {
        if !self.is_of_authority(list) {
            return Err(RevocationError::Authority);
        }
        let path = &self.files().revoked;
        if private_file::read_bytes_if_there(path)?.as_deref() == Some(list.der()) {
            return Ok(false);
        }
        private_file::write(path, list.der())?;
        Ok(true)
    }
}

fn serial_of(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some(parsed.raw_serial().to_vec())
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Request, Role, Subject};
    use proptest::prelude::*;

    fn certificate(ca: &Ca) -> String {
        let subject = Subject { role: Role::Registry, node: "b".into(), addresses: Vec::new() };
        ca.sign(&Request::generate().unwrap().csr_pem, &subject).unwrap()
    }

    fn der(pem: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
    }

    #[test]
    fn a_list_names_the_certificates_it_was_signed_for_and_no_other() {
        let ca = Ca::create("one").unwrap();
        let [removed, stays] = [(); 2].map(|()| certificate(&ca));
        let list = ca.revoke(&[Issued::of_pem(&removed).unwrap()], 7, SystemTime::now()).unwrap();
        assert!(list.names(&der(&removed)) && !list.names(&der(&stays)));
        assert_eq!(RevocationList::from_der(list.der().to_vec()).unwrap(), list);
        let empty = ca.revoke(&[], 8, SystemTime::now()).unwrap();
        assert!(!empty.names(&der(&removed)));
        assert!(list.adds_to(None) && list.adds_to(Some(&empty)));
        assert!(!list.adds_to(Some(&list)) && !empty.adds_to(Some(&list)) && !empty.adds_to(None));
    }

    #[test]
    fn what_was_issued_is_known_by_its_number_until_it_ends() {
        let issued = Issued::of_pem(&certificate(&Ca::create("one").unwrap())).unwrap();
        let now = SystemTime::now();
        assert!(!issued.has_ended(now));
        assert!(issued.has_ended(now + crate::CERTIFICATE_LIFETIME + Duration::from_secs(60)));
        assert_eq!(Issued::of_pem("no certificate"), Err(NotACertificate));
    }

    #[test]
    fn there_is_always_a_list_that_can_be_read() {
        let (ca, directory) = (Ca::create("one").unwrap(), tempfile::tempdir().unwrap());
        let path = RevocationList::path(directory.path());
        let read = || RevocationList::from_der(std::fs::read(&path).unwrap());
        RevocationList::prepare(directory.path(), &ca).unwrap();
        read().unwrap();
        let kept = ca.revoke(&[Issued::of_pem(&certificate(&ca)).unwrap()], 1, SystemTime::now()).unwrap();
        std::fs::write(&path, kept.der()).unwrap();
        RevocationList::prepare(directory.path(), &ca).unwrap();
        assert_eq!(read().unwrap(), kept, "one that is there is kept");
        std::fs::write(&path, &kept.der()[..50]).unwrap();
        RevocationList::prepare(directory.path(), &ca).unwrap();
        read().unwrap();
    }

    proptest! {
        #[test]
        fn no_bytes_read_as_a_list_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(RevocationList::from_der(bytes).is_err());
        }
    }
}
