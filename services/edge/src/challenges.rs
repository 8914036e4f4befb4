//! What this edge answers a certificate authority that asks whether a name is ours (ACME, RFC 8555): tokens on any listener
//! in the clear, certificates on any listener with TLS. The controller puts the answers into the store, waits until every
//! edge has said that it has them (`EdgeState.challenges_revision`), and only then has the authority look.

use crate::limits::CHALLENGES_MAX;
use crate::sources::Change;
use arc_swap::ArcSwap;
use bytes::Bytes;
use identity::{KeyPair, SealKey};
use lifecycle::ErrorChain;
use routing::challenge::{HTTP_CHALLENGES_PREFIX, TLS_ALPN_CHALLENGES_PREFIX};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use store::{Event, KeyValue, Revision};

/// Where an authority looks (RFC 8555, section 8.3).
const PATH: &str = "/.well-known/acme-challenge/";

/// Read by every thread, written by the assembler.
pub(crate) struct Challenges {
    seal_key: Option<SealKey>,
    answers: ArcSwap<Answers>,
    revision: AtomicI64,
}

#[derive(Clone, Default)]
struct Answers {
    /// By token.
    http: BTreeMap<String, Bytes>,
    /// By name.
    tls_alpn: HashMap<String, Arc<CertifiedKey>>,
    /// Keys in the store of those that this edge cannot answer.
    unanswered: BTreeSet<String>,
}

impl Challenges {
    pub fn new(seal_key: Option<SealKey>) -> Self {
        Self { seal_key, answers: ArcSwap::default(), revision: AtomicI64::new(0) }
    }

    /// The key authorization that a request is about, if it is about one. A token that is not known is anybody's path.
    pub fn answer(&self, method: &str, target: &str) -> Option<Bytes> {
        let token = target.strip_prefix(PATH)?;
        if !matches!(method, "GET" | "HEAD") {
            return None;
        }
        self.answers.load().http.get(token).cloned()
    }

    /// By name: the certificates that answer handshakes for `acme-tls/1` (RFC 8737).
    pub fn certificates(&self) -> HashMap<String, Arc<CertifiedKey>> {
        self.answers.load().tls_alpn.clone()
    }

    /// Whether this edge answers all that it was told of. What it cannot answer must not be counted on.
    pub fn is_complete(&self) -> bool {
        self.answers.load().unanswered.is_empty()
    }

    /// Everything in the store up to here is answered.
    pub fn revision(&self) -> Revision {
        self.revision.load(SeqCst)
    }

    /// Whoever has done all that makes it answered says so.
    pub fn acknowledge(&self, revision: Revision) {
        self.revision.store(revision, SeqCst);
    }

    pub fn apply(&self, change: Change) {
        let mut answers = match &change {
            Change::All(_) => Answers::default(),
            Change::Events(events) if events.is_empty() => return,
            Change::Events(_) => Answers::clone(&self.answers.load()),
        };
        match change {
            Change::All(keys) => keys.iter().for_each(|kv| self.put(&mut answers, kv)),
            Change::Events(events) => {
                for event in events {
                    match event {
                        Event::Put { kv, .. } => self.put(&mut answers, &kv),
                        Event::Delete { key, .. } => answers.delete(&key),
                    }
                }
            }
        }
        self.answers.store(Arc::new(answers));
    }

    fn put(&self, answers: &mut Answers, kv: &KeyValue) {
        let Ok(key) = std::str::from_utf8(&kv.key) else { return };
        answers.delete(&kv.key);
        if answers.http.len() + answers.tls_alpn.len() >= CHALLENGES_MAX {
            tracing::warn!(max = CHALLENGES_MAX, "challenges beyond these are not answered");
            answers.unanswered.insert(key.to_owned());
            return;
        }
        if let Some(token) = key.strip_prefix(HTTP_CHALLENGES_PREFIX) {
            answers.http.insert(token.to_owned(), kv.value.clone());
        } else if let Some(name) = key.strip_prefix(TLS_ALPN_CHALLENGES_PREFIX) {
            match self.open(&kv.value) {
                Ok(certified) => drop(answers.tls_alpn.insert(name.to_owned(), Arc::new(certified))),
                Err(error) => {
                    tracing::warn!(name, error = %ErrorChain(&error), "a challenge cannot be answered");
                    answers.unanswered.insert(key.to_owned());
                }
            }
        }
    }

    fn open(&self, sealed: &[u8]) -> Result<CertifiedKey, Unusable> {
        let seal_key = self.seal_key.as_ref().ok_or(Unusable::NoSealKey)?;
        let KeyPair { key, cert } = seal_key.open_key_pair(&String::from_utf8_lossy(sealed))?;
        let chain = CertificateDer::pem_slice_iter(&cert).collect::<Result<Vec<_>, _>>().map_err(|_| Unusable::Pem)?;
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(|_| Unusable::Pem)?;
        // Not `from_der`: it reads the certificate, and refuses the extension that answers, which is critical.
        Ok(CertifiedKey::new(chain, identity::provider().key_provider.load_private_key(key)?))
    }
}

impl Answers {
    fn delete(&mut self, key: &[u8]) {
        let Ok(key) = std::str::from_utf8(key) else { return };
        self.unanswered.remove(key);
        if let Some(token) = key.strip_prefix(HTTP_CHALLENGES_PREFIX) {
            self.http.remove(token);
        } else if let Some(name) = key.strip_prefix(TLS_ALPN_CHALLENGES_PREFIX) {
            self.tls_alpn.remove(name);
        }
    }
}

/// Why a certificate that answers a challenge cannot be shown.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("this edge has no seal key")]
    NoSealKey,
    #[error("the key pair cannot be opened")]
    Seal(#[from] identity::SealError),
    #[error("the key pair is not in PEM form")]
    Pem,
    #[error("the private key cannot be used")]
    Key(#[from] rustls::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kv(key: String, value: &str) -> KeyValue {
        KeyValue { key: key.into(), value: value.to_owned().into(), ..KeyValue::default() }
    }

    fn token(name: &str, value: &str) -> KeyValue {
        kv(format!("{HTTP_CHALLENGES_PREFIX}{name}"), value)
    }

    #[test]
    fn a_token_is_answered_while_it_is_in_the_store_and_no_other() {
        let challenges = Challenges::new(None);
        let answer = |target: &str| challenges.answer("GET", target);
        assert_eq!(answer("/.well-known/acme-challenge/t"), None);
        challenges.apply(Change::All(vec![token("t", "t.thumb")]));
        assert_eq!(answer("/.well-known/acme-challenge/t").as_deref(), Some(&b"t.thumb"[..]));
        assert_eq!(challenges.answer("POST", "/.well-known/acme-challenge/t"), None);
        for other in ["/.well-known/acme-challenge/", "/.well-known/acme-challenge/t/x", "/t", "/"] {
            assert_eq!(answer(other), None, "{other}");
        }
        challenges.apply(Change::Events(Vec::new()));
        challenges.apply(Change::Events(vec![Event::Put { kv: token("u", "u.thumb"), prev_kv: None }]));
        assert!(answer("/.well-known/acme-challenge/t").is_some() && answer("/.well-known/acme-challenge/u").is_some());
        let key = token("t", "").key;
        challenges.apply(Change::Events(vec![Event::Delete { key, mod_revision: 10, prev_kv: None }]));
        assert_eq!(answer("/.well-known/acme-challenge/t"), None);
    }

    #[test]
    fn what_cannot_be_opened_is_not_answered_nor_said_to_be_and_does_no_harm() {
        let seal_key = SealKey::generate().unwrap();
        let name = |value: &str| kv(format!("{TLS_ALPN_CHALLENGES_PREFIX}a.example"), value);
        let sealed = seal_key.seal_key_pair(&KeyPair { key: b"k".to_vec(), cert: b"c".to_vec() }).unwrap();
        for (seal_key, value) in [(None, "x"), (Some(seal_key.clone()), "x"), (Some(seal_key), &*sealed)] {
            let challenges = Challenges::new(seal_key);
            challenges.apply(Change::All(vec![name(value)]));
            assert!(challenges.certificates().is_empty() && !challenges.is_complete());
            challenges.apply(Change::Events(vec![Event::Put { kv: token("t", "t.thumb"), prev_kv: None }]));
            assert!(!challenges.is_complete());
            let key = name("").key;
            challenges.apply(Change::Events(vec![Event::Delete { key, mod_revision: 10, prev_kv: None }]));
            assert!(challenges.is_complete());
        }
    }
}
