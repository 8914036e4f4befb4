//! The files of a role, read again when they changed.

use super::{TlsError, provider};
use crate::certificate_files::{CertificateFiles, InstallError, certified_key};
use crate::{Peer, RevocationList, Role, Validity, private_file};
use arc_swap::ArcSwap;
use lifecycle::ErrorChain;
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error, RootCertStore, SignatureScheme};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

#[derive(Debug)]
pub struct Source {
    pub files: CertificateFiles,
    role: Role,
    loaded: ArcSwap<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    stamps: [Option<Stamp>; 4],
    material: Arc<Material>,
}

/// What one reading of the files gave.
#[derive(Debug)]
pub struct Material {
    pub own: Peer,
    pub validity: Validity,
    pub shown: Arc<CertifiedKey>,
    pub servers: Arc<WebPkiServerVerifier>,
    pub clients: Arc<dyn ClientCertVerifier>,
    /// Who is refused by both, though the dates are right.
    pub revoked: Option<RevocationList>,
    roots: Arc<RootCertStore>,
}

/// Changes when a file is replaced. Its number is part of it: two files may be written in one tick of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    modified_s: i64,
    modified_ns: i64,
}

impl Source {
    pub fn open(files: CertificateFiles, role: Role) -> Result<Self, TlsError> {
        let stamps = stamps(&files);
        let material = Arc::new(Material::read(&files, role)?);
        Ok(Self { files, role, loaded: ArcSwap::from_pointee(Loaded { stamps, material }) })
    }

    /// What the files hold now; what they held before when they cannot be used. Four `stat` calls when nothing changed.
    pub fn current(&self) -> Arc<Material> {
        let loaded = self.loaded.load_full();
        // Before reading: what changes while it is read is seen the next time.
        let stamps = stamps(&self.files);
        if stamps == loaded.stamps {
            return loaded.material.clone();
        }
        let (stamps, material) = match Material::read(&self.files, self.role) {
            Ok(material) => {
                tracing::info!(role = %self.role, "the certificate or the list of revoked ones was renewed");
                (stamps, Arc::new(material))
            }
            Err(error) => {
                tracing::warn!(role = %self.role, error = %ErrorChain(&error), "the certificate in use stays");
                // What a file holds is wrong until it changes; that it cannot be read may pass.
                let may_pass = matches!(error, TlsError::Load { source: InstallError::File(_), .. });
                (if may_pass { loaded.stamps } else { stamps }, loaded.material.clone())
            }
        };
        self.loaded.store(Arc::new(Loaded { stamps, material: material.clone() }));
        material
    }
}

impl Material {
    fn read(files: &CertificateFiles, role: Role) -> Result<Self, TlsError> {
        let load = |source| TlsError::Load { path: files.certificate.clone(), source };
        let read = |path: &Path| private_file::read(path).map_err(|source| load(InstallError::File(source)));
        let authority = || TlsError::Authority { path: files.ca.clone() };

        let ca = CertificateDer::from_pem_slice(read(&files.ca)?.as_bytes()).map_err(|_| authority())?;
        // Shown, too: a machine that joins knows the authority's digest only.
        let issuers = std::slice::from_ref(&ca);
        let shown = certified_key(&read(&files.certificate)?, &read(&files.key)?, issuers).map_err(load)?;
        let certificate = &shown.cert[0];
        let name = |source| TlsError::Name { path: files.certificate.clone(), source };
        let own = Peer::of(certificate).map_err(name)?;
        if own.role != role {
            return Err(TlsError::WrongRole { path: files.certificate.clone(), found: own, role });
        }
        let validity = Validity::of(certificate).map_err(|error| load(error.into()))?;

        let mut roots = RootCertStore::empty();
        roots.add(ca).map_err(|_| authority())?;
        let roots = Arc::new(roots);
        let without = Self {
            own,
            validity,
            servers: servers(&roots, None).ok_or_else(authority)?,
            clients: clients(&roots, None).ok_or_else(authority)?,
            shown: Arc::new(shown),
            revoked: None,
            roots,
        };
        let list = private_file::read_bytes_if_there(&files.revoked);
        match list.map_err(|source| load(InstallError::File(source)))?.map(RevocationList::from_der) {
            None => Ok(without),
            Some(Ok(list)) if without.is_of_authority(&list) => without.refusing(list).ok_or_else(authority),
            // It says nothing of our certificates. Whoever follows the cluster's list replaces it.
            Some(_) => {
                tracing::warn!(path = %files.revoked.display(), "no list of this authority's revoked certificates");
                Ok(without)
            }
        }
    }

    /// Whether our authority signed a list: it is tried on our own certificate, as of its last moment.
    pub fn is_of_authority(&self, list: &RevocationList) -> bool {
        let Some(clients) = clients(&self.roots, Some(list)) else { return false };
        let last = self.validity.not_after.duration_since(UNIX_EPOCH).unwrap_or_default();
        let tried = clients.verify_client_cert(&self.shown.cert[0], &[], UnixTime::since_unix_epoch(last));
        !matches!(
            tried,
            Err(Error::InvalidCertRevocationList(_)
                | Error::InvalidCertificate(CertificateError::UnknownRevocationStatus))
        )
    }

    fn refusing(self, list: RevocationList) -> Option<Self> {
        let (servers, clients) = (servers(&self.roots, Some(&list))?, clients(&self.roots, Some(&list))?);
        Some(Self { servers, clients, revoked: Some(list), ..self })
    }
}

fn servers(roots: &Arc<RootCertStore>, list: Option<&RevocationList>) -> Option<Arc<WebPkiServerVerifier>> {
    let builder = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider());
    builder.with_crls(list.map(RevocationList::to_rustls)).only_check_end_entity_revocation().build().ok()
}

fn clients(roots: &Arc<RootCertStore>, list: Option<&RevocationList>) -> Option<Arc<dyn ClientCertVerifier>> {
    let builder = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider());
    builder.with_crls(list.map(RevocationList::to_rustls)).only_check_end_entity_revocation().build().ok()
}

fn stamps(files: &CertificateFiles) -> [Option<Stamp>; 4] {
    [&files.ca, &files.certificate, &files.key, &files.revoked].map(|path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Stamp {
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified_s: metadata.mtime(),
            modified_ns: metadata.mtime_nsec(),
        })
    })
}

/// Shows the certificate there is at the moment of the handshake.
#[derive(Debug)]
pub struct Resolver(pub Arc<Source>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.current().shown.clone())
    }
}

impl ResolvesClientCert for Resolver {
    fn resolve(&self, _authorities: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.current().shown.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
