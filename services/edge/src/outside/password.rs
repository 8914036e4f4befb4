//! Whether passwords are right.
//!
//! bcrypt is slow by design: a tenth of a second for each request of a page would be the end of it. So a pair of hash and
//! password that was right is remembered, as a MAC under a key of this process, and only by those that were right: guessing
//! stays as slow as it was.

use crate::limits::{BCRYPT_AT_ONCE_MAX, BCRYPT_WAITING_MAX, RIGHT_PASSWORDS_MAX};
use crate::servers::lock;
use aws_lc_rs::{digest, hmac};
use middleware::StoredPassword;
use sha1::{Digest, Sha1};
use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex};
use subtle::ConstantTimeEq;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

pub(super) struct Passwords {
    /// Where hashing may block.
    runtime: Handle,
    hashing: Arc<Semaphore>,
    waiting: Semaphore,
    key: hmac::Key,
    right: Mutex<HashSet<[u8; 32]>>,
}

impl Passwords {
    pub fn new() -> io::Result<Self> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        Ok(Self {
            runtime: Handle::current(),
            hashing: Arc::new(Semaphore::new(BCRYPT_AT_ONCE_MAX)),
            waiting: Semaphore::new(BCRYPT_WAITING_MAX),
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            right: Mutex::default(),
        })
    }

    /// `None`: too many wait to know.
    pub async fn is_right(&self, stored: &StoredPassword, password: &[u8]) -> Option<bool> {
        match stored {
            // Digests have one length: that of the password does not show in the time.
            StoredPassword::Plain(stored) => Some(sha256(stored).ct_eq(&sha256(password)).into()),
            StoredPassword::Sha1(stored) => Some(Sha1::digest(password).as_slice().ct_eq(stored).into()),
            StoredPassword::Bcrypt(hash) => self.bcrypt(hash, password).await,
        }
    }

    async fn bcrypt(&self, hash: &str, password: &[u8]) -> Option<bool> {
        let pair = self.pair(hash, password);
        if lock(&self.right).contains(&pair) {
            return Some(true);
        }
        let _waits = self.waiting.try_acquire().ok()?;
        let place = self.hashing.clone().acquire_owned().await.ok()?;
        let (hash, password) = (hash.to_owned(), password.to_vec());
        let check = move || {
            // Held until it is done, though nobody may wait for it any more.
            let _place = place;
            bcrypt::verify(password, &hash).unwrap_or(false)
        };
        let is_right = self.runtime.spawn_blocking(check).await.ok()?;
        if is_right {
            let mut right = lock(&self.right);
            if right.len() >= RIGHT_PASSWORDS_MAX {
                right.clear();
            }
            right.insert(pair);
        }
        Some(is_right)
    }

    fn pair(&self, hash: &str, password: &[u8]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(hash.as_bytes());
        context.update(&[0]);
        context.update(password);
        let mut pair = [0; 32];
        pair.copy_from_slice(context.sign().as_ref());
        pair
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_kind_is_checked() {
        let passwords = Passwords::new().unwrap();
        let bcrypt = StoredPassword::Bcrypt(bcrypt::hash("secret", 4).unwrap());
        let sha = StoredPassword::Sha1(Sha1::digest("secret").into());
        for stored in [bcrypt, sha, StoredPassword::Plain(b"secret".to_vec())] {
            for _ in 0..2 {
                assert_eq!(passwords.is_right(&stored, b"secret").await, Some(true));
                for wrong in ["Secret", "secret ", "secre", ""] {
                    assert_eq!(passwords.is_right(&stored, wrong.as_bytes()).await, Some(false), "{wrong}");
                }
            }
        }
        assert_eq!(lock(&passwords.right).len(), 1, "one pair was right, and none that was wrong is remembered");
    }

    #[tokio::test]
    async fn another_hash_of_the_same_password_is_checked_anew() {
        let passwords = Passwords::new().unwrap();
        let first = StoredPassword::Bcrypt(bcrypt::hash("one", 4).unwrap());
        let other = StoredPassword::Bcrypt(bcrypt::hash("two", 4).unwrap());
        assert_eq!(passwords.is_right(&first, b"one").await, Some(true));
        assert_eq!(passwords.is_right(&other, b"one").await, Some(false));
    }
}
