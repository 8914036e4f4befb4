//! Tickets: what a client keeps of a session, sealed, so that it is resumed by whoever has the key, and nobody has to
//! remember it (RFC 5077, RFC 8446 §2.2).
//!
//! The keys follow from a secret and the time, so all threads have them, and all edges of a cluster with the same seal key,
//! without a word between them: a client comes back to any of them. A key seals for [`EPOCH`] and opens for as long again.
//! Without a seal key the secret is this process's own.
//!
//! A ticket is the epoch's number, a nonce and the session sealed with AES-256-GCM; the epoch's number is not secret.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use identity::SealKey;
use rustls::server::ProducesTickets;
use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long a key seals.
const EPOCH: Duration = Duration::from_secs(12 * 60 * 60);
const EPOCH_BYTES: usize = 8;
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
    keys: Mutex<Vec<(u64, std::sync::Arc<RandomizedNonceKey>)>>,
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
        Ticketer { secret: self.0.clone(), purpose: format!("tls tickets {asked}"), keys: Mutex::default() }
    }
}

impl Ticketer {
    fn key(&self, epoch: u64) -> Option<std::sync::Arc<RandomizedNonceKey>> {
        let mut keys = crate::servers::lock(&self.keys);
        if let Some((_, key)) = keys.iter().find(|(known, _)| *known == epoch) {
            return Some(key.clone());
        }
        let bytes = self.secret.derive(&format!("{} {epoch}", self.purpose));
        let key = std::sync::Arc::new(RandomizedNonceKey::new(&AES_256_GCM, &bytes).ok()?);
        if keys.len() > 2 {
            keys.remove(0);
        }
        keys.push((epoch, key.clone()));
        Some(key)
    }

    fn seal(&self, plain: &[u8], epoch: u64) -> Option<Vec<u8>> {
        let mut sealed = plain.to_vec();
        let number = epoch.to_be_bytes();
        let nonce = self.key(epoch)?.seal_in_place_append_tag(Aad::from(number), &mut sealed).ok()?;
        Some([&number[..], nonce.as_ref(), &sealed].concat())
    }

    fn open(&self, ticket: &[u8], now: u64) -> Option<Vec<u8>> {
        if ticket.len() > TICKET_BYTES_MAX {
            return None;
        }
        let (number, rest) = ticket.split_at_checked(EPOCH_BYTES)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        let epoch = u64::from_be_bytes(number.try_into().ok()?);
        // Another edge's clock may be a little ahead.
        if !(now.saturating_sub(1)..=now + 1).contains(&epoch) {
            return None;
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut opened = sealed.to_vec();
        let length = self.key(epoch)?.open_in_place(nonce, Aad::from(number), &mut opened).ok()?.len();
        opened.truncate(length);
        Some(opened)
    }
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

    #[test]
    fn every_edge_of_a_cluster_opens_a_ticket_for_a_while() {
        let ticket = keys(1).ticketer("a").seal(b"session", 100).unwrap();
        for now in [99, 100, 101] {
            assert_eq!(keys(1).ticketer("a").open(&ticket, now).unwrap(), b"session");
        }
        assert_eq!(keys(1).ticketer("a").open(&ticket, 102), None);
        assert_eq!(keys(1).ticketer("b").open(&ticket, 100), None, "clients were asked for less there");
        assert_eq!(keys(2).ticketer("a").open(&ticket, 100), None);
        let mut other = ticket.clone();
        other[EPOCH_BYTES - 1] += 1;
        assert_eq!(keys(1).ticketer("a").open(&other, 100), None);
    }

    proptest! {
        #[test]
        fn no_ticket_panics(ticket in prop::collection::vec(any::<u8>(), 0..128), now in any::<u32>()) {
            prop_assert_eq!(keys(1).ticketer("a").open(&ticket, u64::from(now)), None);
        }
    }
}
