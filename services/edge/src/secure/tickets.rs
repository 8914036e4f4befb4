//! Tickets: what a client keeps of a session, sealed, so that it is resumed by whoever has the key, and nobody has to
//! remember it (RFC 5077, RFC 8446 §2.2).
//!
//! A key seals for [`EPOCH`] and opens for as long again. There are two kinds:
//!
//! | tickets of | keys | why |
//! |---|---|---|
//! | TLS 1.3 | follow from a secret and the time: all edges of a cluster with the same seal key have them, without a word between them | a session that is resumed has keys of its own exchange (`psk_dhe_ke`), and those of the one before are not in the ticket: whoever gets hold of the seal key later reads nothing that was recorded |
//! | TLS 1.2 | drawn by this process, forgotten with their epoch | the ticket has the secret that all of the session's bytes are sealed with (RFC 5077 §5.6): a key that could be made again would open what was recorded years ago |
//!
//! So a client of TLS 1.3 resumes at any edge, one of TLS 1.2 at the one it has been to. Without a seal key the secret is this
//! process's own.
//!
//! A ticket is its kind and the epoch's number, a nonce and the session sealed with AES-256-GCM; the first two are no secret.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use identity::SealKey;
use rustls::server::ProducesTickets;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long a key seals.
const EPOCH: Duration = Duration::from_secs(12 * 60 * 60);
const EPOCH_BYTES: usize = 8;
const PREFIX_BYTES: usize = 1 + EPOCH_BYTES;
/// A client's certificates are in it.
const TICKET_BYTES_MAX: usize = 32 * 1024;

/// What the keys follow from.
#[derive(Clone)]
pub(crate) struct TicketKeys(SealKey);

/// Of one listener.
pub(super) struct Ticketer {
    secret: SealKey,
    purpose: String,
    /// The keys in use, by their epochs: those of a clock that jumps are made again.
    shared: Mutex<Keys>,
    /// Those that nobody can make again.
    own: Mutex<Keys>,
}

type Keys = Vec<(u64, Arc<RandomizedNonceKey>)>;

/// Whose keys a ticket is sealed with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Shared = 0,
    Own = 1,
}

impl TicketKeys {
    pub fn new(shared: Option<&SealKey>) -> Result<Self, identity::SealKeyError> {
        Ok(Self(match shared {
            Some(key) => key.clone(),
            None => SealKey::generate()?,
        }))
    }

    /// For listeners of which one can be trusted with what another agreed on: `asked` is what they ask of clients.
    pub(super) fn ticketer(&self, asked: &str) -> Ticketer {
        Ticketer {
            secret: self.0.clone(),
            purpose: format!("tls tickets {asked}"),
            shared: Mutex::default(),
            own: Mutex::default(),
        }
    }
}

impl Kind {
    /// Of a session as rustls writes it. What is not surely of TLS 1.3 is sealed as if it were older.
    fn of(session: &[u8]) -> Self {
        // Whom it is for, if somebody was named; then the version.
        let version = match session {
            [0, version @ ..] => Some(version),
            [1, length, rest @ ..] => rest.get(usize::from(*length)..),
            _ => None,
        };
        if version.is_some_and(|version| version.starts_with(&[3, 4])) { Self::Shared } else { Self::Own }
    }
}

impl Ticketer {
    fn key(&self, kind: Kind, epoch: u64, now: u64) -> Option<Arc<RandomizedNonceKey>> {
        let mut keys = crate::servers::lock(if kind == Kind::Own { &self.own } else { &self.shared });
        keys.retain(|(known, _)| is_near(*known, now));
        if let Some((_, key)) = keys.iter().find(|(known, _)| *known == epoch) {
            return Some(key.clone());
        }
        let bytes = match kind {
            Kind::Shared => self.secret.derive(&format!("{} {epoch}", self.purpose)),
            // What a process before this one has sealed stays so.
            Kind::Own if epoch != now => return None,
            Kind::Own => {
                let mut bytes = [0; 32];
                aws_lc_rs::rand::fill(&mut bytes).ok()?;
                bytes
            }
        };
        let key = Arc::new(RandomizedNonceKey::new(&AES_256_GCM, &bytes).ok()?);
        keys.push((epoch, key.clone()));
        Some(key)
    }

    fn seal(&self, plain: &[u8], now: u64) -> Option<Vec<u8>> {
        let kind = Kind::of(plain);
        let mut prefix = [kind as u8; PREFIX_BYTES];
        prefix[1..].copy_from_slice(&now.to_be_bytes());
        let mut sealed = plain.to_vec();
        let nonce = self.key(kind, now, now)?.seal_in_place_append_tag(Aad::from(prefix), &mut sealed).ok()?;
        Some([&prefix[..], nonce.as_ref(), &sealed].concat())
    }

    fn open(&self, ticket: &[u8], now: u64) -> Option<Vec<u8>> {
        if ticket.len() > TICKET_BYTES_MAX {
            return None;
        }
        let (prefix, rest) = ticket.split_first_chunk::<PREFIX_BYTES>()?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        let kind = [Kind::Shared, Kind::Own].into_iter().find(|kind| *kind as u8 == prefix[0])?;
        let epoch = u64::from_be_bytes(prefix[1..].try_into().ok()?);
        if !is_near(epoch, now) {
            return None;
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut opened = sealed.to_vec();
        let length = self.key(kind, epoch, now)?.open_in_place(nonce, Aad::from(*prefix), &mut opened).ok()?.len();
        opened.truncate(length);
        Some(opened)
    }
}

/// This epoch, the last one, and the next: another edge's clock may be a little ahead.
fn is_near(epoch: u64, now: u64) -> bool {
    (now.saturating_sub(1)..=now.saturating_add(1)).contains(&epoch)
}

fn epoch() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs() / EPOCH.as_secs()
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        EPOCH.as_secs() as u32
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal(plain, epoch())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.open(ticket, epoch())
    }
}

impl fmt::Debug for Ticketer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticketer(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys(byte: u8) -> TicketKeys {
        TicketKeys(SealKey::from_bytes([byte; 32]))
    }

    /// As rustls writes them, for a client that named `a`, and one that named nobody.
    const OF_13: &[u8] = b"\x01\x01a\x03\x04session";
    const OF_12: [&[u8]; 2] = [b"\x01\x01a\x03\x03session", b"\x00\x03\x03session"];

    #[test]
    fn every_edge_of_a_cluster_opens_a_ticket_for_a_while() {
        let ticket = keys(1).ticketer("a").seal(OF_13, 100).unwrap();
        for now in [99, 100, 101] {
            assert_eq!(keys(1).ticketer("a").open(&ticket, now).unwrap(), OF_13);
        }
        assert_eq!(keys(1).ticketer("a").open(&ticket, 102), None);
        assert_eq!(keys(1).ticketer("b").open(&ticket, 100), None, "clients were asked for less there");
        assert_eq!(keys(2).ticketer("a").open(&ticket, 100), None);
        let mut other = ticket.clone();
        other[PREFIX_BYTES - 1] += 1;
        assert_eq!(keys(1).ticketer("a").open(&other, 100), None);
    }

    #[test]
    fn nobody_opens_a_ticket_of_tls_1_2_once_its_process_has_forgotten_the_key() {
        for session in OF_12.into_iter().chain([&b"nonsense"[..], b""]) {
            let ticketer = keys(1).ticketer("a");
            let ticket = ticketer.seal(session, 100).unwrap();
            assert_eq!(ticketer.open(&ticket, 101).unwrap(), session);
            assert_eq!(keys(1).ticketer("a").open(&ticket, 100), None, "another one with the same seal key");
            assert_eq!(ticketer.open(&ticket, 102), None);
            ticketer.seal(session, 102).unwrap();
            assert_eq!(ticketer.open(&ticket, 100), None, "the key is gone");
            let mut shared = ticket.clone();
            shared[0] = Kind::Shared as u8;
            assert_eq!(ticketer.open(&shared, 100), None);
        }
    }

    proptest! {
        #[test]
        fn no_ticket_panics(ticket in prop::collection::vec(any::<u8>(), 0..128), now in any::<u32>()) {
            prop_assert_eq!(keys(1).ticketer("a").open(&ticket, u64::from(now)), None);
        }
    }
}
