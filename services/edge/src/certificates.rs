//! Certificates: which one a client is shown.
//!
//! ```text
//! /roadstead/certificates/ ─┐
//! /vulcand/hosts/          ─┴─▶ keeper (opened with the seal key, last good ones stay) ──▶ names ──▶ handshakes
//! ```
//!
//! A certificate is shown for the names of its document (a host's own); where that names none, for all that it has.
//!
//! | the client asks for | it is shown |
//! |---|---|
//! | a name that a certificate has | that one |
//! | a name under a wildcard, one label below it | that one |
//! | another name, or none | the certificate that is marked as the default |
//! | the same, without a default | none: the handshake is refused |
//!
//! Of two certificates for one name the one that ends later is shown. All names are swapped at once, beside the handshakes;
//! listeners and connections are not touched.

mod keeper;

pub(crate) use keeper::{Keeper, KeptCertificate};

use crate::secure::ALPN_ACME;
use arc_swap::ArcSwap;
use routing::certificate::{CertificateDocument, OcspSpec};
use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// What all handshakes ask.
#[derive(Default)]
pub(crate) struct Certificates {
    names: ArcSwap<Names>,
    /// By host: what a certificate authority is shown that looks whether the host is ours (RFC 8737).
    challenges: ArcSwap<HashMap<String, Arc<CertifiedKey>>>,
}

/// Certificates by what they are shown for.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// In lower case.
    exact: HashMap<String, Arc<Certificate>>,
    /// What follows the `*.`.
    wildcards: HashMap<String, Arc<Certificate>>,
    default: Option<Arc<Certificate>>,
}

/// One that can be shown.
pub(crate) struct Certificate {
    /// Where it is from, for people.
    pub key: String,
    pub names: Vec<String>,
    /// Seconds since 1970.
    pub not_after_s: i64,
    /// What it was made of.
    document: CertificateDocument,
    /// With what its authority says of it, if that is stapled.
    chain: ArcSwap<CertifiedKey>,
    ocsp: Option<OcspSpec>,
    /// What the authority says of it, in words.
    standing: ArcSwap<String>,
}

impl Certificate {
    /// How its authority is asked what it says of it, if it is to be.
    pub fn ocsp(&self) -> Option<OcspSpec> {
        self.ocsp.clone()
    }

    /// Its own first.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.chain.load().cert.clone()
    }

    /// What its authority says of it, in words, if it is asked.
    pub fn standing(&self) -> Option<Arc<String>> {
        self.ocsp.as_ref().map(|_| self.standing.load_full())
    }

    pub fn say(&self, standing: String) {
        self.standing.store(Arc::new(standing));
    }

    /// From the next handshake on.
    pub fn show_with(&self, staple: Option<Vec<u8>>, standing: String) {
        if self.chain.load().ocsp != staple {
            let chain = CertifiedKey::clone(&self.chain.load());
            self.chain.store(Arc::new(CertifiedKey { ocsp: staple, ..chain }));
        }
        self.say(standing);
    }

    pub fn document(&self) -> &CertificateDocument {
        &self.document
    }

    pub fn kept(&self) -> KeptCertificate {
        KeptCertificate { key: self.key.clone(), document: self.document.clone() }
    }
}

/// Nothing of its key.
impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("key", &self.key).field("names", &self.names).finish_non_exhaustive()
    }
}

impl Certificates {
    pub fn publish(&self, names: Names) {
        self.names.store(Arc::new(names));
    }

    /// Shown for `acme-tls/1` only.
    pub fn publish_challenges(&self, challenges: HashMap<String, Arc<CertifiedKey>>) {
        self.challenges.store(Arc::new(challenges));
    }

    fn choose(&self, name: Option<&str>, is_challenge: bool) -> Option<Arc<CertifiedKey>> {
        let lower = name.map(str::to_ascii_lowercase);
        if is_challenge {
            return self.challenges.load().get(lower.as_deref()?).cloned();
        }
        let names = self.names.load();
        names.find(lower.as_deref()).map(|certificate| certificate.chain.load_full())
    }
}

/// Nothing of the keys.
impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let is_challenge = hello.alpn().is_some_and(|mut protocols| protocols.any(|name| name == ALPN_ACME));
        self.choose(hello.server_name(), is_challenge)
    }
}

impl Names {
    pub fn of(certificates: impl IntoIterator<Item = Arc<Certificate>>) -> Self {
        let mut names = Self::default();
        let mut certificates: Vec<_> = certificates.into_iter().collect();
        // The last one counts.
        certificates.sort_by(|one, other| (one.not_after_s, &other.key).cmp(&(other.not_after_s, &one.key)));
        for certificate in certificates {
            for name in &certificate.names {
                let lower = name.to_ascii_lowercase();
                match lower.strip_prefix("*.") {
                    Some(parent) => names.wildcards.insert(parent.to_owned(), certificate.clone()),
                    None => names.exact.insert(lower, certificate.clone()),
                };
            }
            if certificate.document.default {
                names.default = Some(certificate);
            }
        }
        names
    }

    fn find(&self, name: Option<&str>) -> Option<&Arc<Certificate>> {
        let by_name = name.and_then(|name| {
            let of_parent = || self.wildcards.get(name.split_once('.')?.1);
            self.exact.get(name).or_else(of_parent)
        });
        by_name.or(self.default.as_ref())
    }
}
