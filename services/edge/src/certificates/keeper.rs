//! The certificates of the store, each with the last one that could be used: what is sealed with another key, torn, or no
//! certificate is a [`Problem`], and what served before serves on.

use super::{Certificate, Names};
use arc_swap::ArcSwap;
use identity::{SealKey, Validity};
use lifecycle::{BoxError, ErrorChain};
use routing::certificate::{CERTIFICATES_PREFIX, CertificateDocument, CertificateIssuer, OcspSpec};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::UNIX_EPOCH;
use vulcand::{HostSpec, Problem};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::X509Certificate;

/// Certificates of one chain.
const CHAIN_MAX: usize = 16;
/// Names of one certificate.
const NAMES_MAX: usize = 1000;
/// `id-pe-tlsfeature`, and in it `status_request`: who shows it has to staple what its authority says (RFC 7633).
const FEATURES: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 1, 24];
const MUST_STAPLE: &[u8] = &[0x02, 0x01, 0x05];

/// A certificate as it serves, for the table on disk: its key is sealed there, too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeptCertificate {
    pub key: String,
    pub document: CertificateDocument,
}

#[derive(Default)]
pub(crate) struct Keeper {
    seal_key: Option<SealKey>,
    /// By their keys in the store.
    entries: BTreeMap<String, Entry>,
}

struct Entry {
    source: Source,
    /// As it was read last; the same is not opened again.
    asked: Asked,
    good: Option<Arc<Certificate>>,
    problem: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Documents,
    Hosts,
}

#[derive(PartialEq)]
enum Asked {
    Document(Vec<u8>),
    Host(HostSpec),
    /// The last time this edge ran.
    Kept,
}

impl Keeper {
    pub fn new(seal_key: Option<SealKey>) -> Self {
        Self { seal_key, entries: BTreeMap::new() }
    }

    /// Those that served when the edge last ran, until the store is read.
    pub fn restore(&mut self, kept: Vec<KeptCertificate>) {
        for KeptCertificate { key, document } in kept {
            let source = if key.starts_with(CERTIFICATES_PREFIX) { Source::Documents } else { Source::Hosts };
            self.take(source, key, Asked::Kept, Ok(document));
        }
    }

    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        let asked = Asked::Document(value.to_vec());
        self.take(Source::Documents, text(key), asked, document(value));
    }

    pub fn delete(&mut self, key: &[u8]) {
        self.entries.remove(&text(key));
    }

    /// Takes every document there is.
    pub fn replace<'a>(&mut self, all: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) {
        let mut present = BTreeSet::new();
        for (key, value) in all {
            self.put(key, value);
            present.insert(text(key));
        }
        self.retain(Source::Documents, &present);
    }

    /// Takes every host there is.
    pub fn replace_hosts<'a>(&mut self, hosts: impl IntoIterator<Item = &'a HostSpec>) {
        let mut present = BTreeSet::new();
        for host in hosts {
            let document = CertificateDocument {
                v: 0,
                names: vec![host.name.clone()],
                sealed: host.key_pair.clone(),
                not_before_s: 0,
                not_after_s: 0,
                issuer: CertificateIssuer::Given,
                default: host.is_default,
                ocsp: host.ocsp.clone(),
            };
            self.take(Source::Hosts, host.key.clone(), Asked::Host(host.clone()), Ok(document));
            present.insert(host.key.clone());
        }
        self.retain(Source::Hosts, &present);
    }

    fn retain(&mut self, source: Source, present: &BTreeSet<String>) {
        self.entries.retain(|key, entry| entry.source != source || present.contains(key));
    }

    fn take(&mut self, source: Source, key: String, asked: Asked, document: Result<CertificateDocument, BoxError>) {
        if self.entries.get(&key).is_some_and(|entry| entry.asked == asked) {
            return;
        }
        let read = document.and_then(|document| {
            let certificate = open(&key, document, self.seal_key.as_ref())?;
            Ok(Arc::new(certificate))
        });
        let good = self.entries.remove(&key).and_then(|entry| entry.good);
        let entry = match read {
            Ok(good) => Entry { source, asked, good: Some(good), problem: None },
            Err(error) => {
                let kept = if good.is_some() { " (the last good one is shown on)" } else { "" };
                let problem = Some(format!("{}{kept}", ErrorChain(&*error)));
                Entry { source, asked, good, problem }
            }
        };
        self.entries.insert(key, entry);
    }

    /// As handshakes ask for them.
    pub fn names(&self) -> Names {
        Names::of(self.certificates().cloned())
    }

    pub fn certificates(&self) -> impl Iterator<Item = &Arc<Certificate>> {
        self.entries.values().filter_map(|entry| entry.good.as_ref())
    }

    pub fn problems(&self) -> impl Iterator<Item = Problem> {
        self.entries.iter().filter_map(|(key, entry)| {
            let message = entry.problem.clone()?;
            Some(Problem { key: key.clone(), message })
        })
    }
}

fn text(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}

fn document(value: &[u8]) -> Result<CertificateDocument, BoxError> {
    // What serde says of an error names fields; it does not quote what is sealed.
    let document: CertificateDocument =
        serde_json::from_slice(value).map_err(|error| format!("invalid JSON in line {}", error.line()))?;
    match document.v {
        0 => Ok(document),
        other => Err(format!("document version {other}: this edge knows version 0").into()),
    }
}

fn open(key: &str, document: CertificateDocument, seal_key: Option<&SealKey>) -> Result<Certificate, BoxError> {
    let seal_key = seal_key.ok_or("this edge has no seal key to open it with")?;
    let pair = seal_key.open_key_pair(&document.sealed)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&pair.cert).take(CHAIN_MAX + 1).collect::<Result<_, _>>()?;
    if chain.len() > CHAIN_MAX {
        return Err(format!("a chain of more than {CHAIN_MAX} certificates").into());
    }
    let leaf = chain.first().ok_or("there is no certificate in it")?;
    // What is wrong with a private key is not said in the words of what read it.
    let private = PrivateKeyDer::from_pem_slice(&pair.key).map_err(|_| "there is no private key in it")?;
    let (_, parsed) = x509_parser::parse_x509_certificate(leaf).map_err(|_| "it is not a certificate")?;
    let names = names(&parsed, &document.names);
    let ocsp = document.ocsp.clone().or_else(|| must_staple(&parsed).then(OcspSpec::default));
    let not_after = Validity::of(leaf)?.not_after;
    let not_after_s = not_after.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    let chain = Arc::new(CertifiedKey::from_der(chain, private, &identity::provider())?);
    let (chain, standing) = (ArcSwap::new(chain), ArcSwap::from_pointee("not asked yet".to_owned()));
    Ok(Certificate { key: key.to_owned(), names, not_after_s, document, chain, ocsp, standing })
}

/// Those that are asked for; if none are, those that it has.
fn names(certificate: &X509Certificate<'_>, asked: &[String]) -> Vec<String> {
    let own = certificate.subject_alternative_name().ok().flatten();
    let own = own.iter().flat_map(|extension| &extension.value.general_names).filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(*name),
        _ => None,
    });
    let names: BTreeSet<String> = match asked {
        [] => own.map(str::to_ascii_lowercase).take(NAMES_MAX).collect(),
        asked => asked.iter().map(|name| name.to_ascii_lowercase()).take(NAMES_MAX).collect(),
    };
    names.into_iter().collect()
}

fn must_staple(certificate: &X509Certificate<'_>) -> bool {
    let features = certificate
        .extensions()
        .iter()
        .filter(|one| one.oid.iter().is_some_and(|oid| oid.eq(FEATURES.iter().copied())));
    features.flat_map(|one| one.value.windows(MUST_STAPLE.len())).any(|feature| feature == MUST_STAPLE)
}
