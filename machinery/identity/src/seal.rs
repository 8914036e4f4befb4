//! Private keys in the store are sealed: whoever reads the store without the cluster's seal key learns nothing of them.
//!
//! The form is vulcand's, so that its keys serve on, and `vctl secret seal_keypair` can write ours (`secretbox.v1` is NaCl's
//! XSalsa20-Poly1305 with a random nonce):
//!
//! ```text
//! base64( {"Encryption":"secretbox.v1","Value":{"Val":base64(MAC, ciphertext),"Nonce":base64(24 bytes)}} )
//! of a key pair: {"Key":base64(PEM of the key),"Cert":base64(PEM of the chain)}
//! ```

use crate::private_file::{self, FileError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crypto_secretbox::aead::{Aead, KeyInit as _};
use crypto_secretbox::{Nonce, XSalsa20Poly1305};
use hmac::{Hmac, KeyInit as _, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::fmt;
use std::path::{Path, PathBuf};

/// Bytes of what is sealed: a chain of certificates has some thousand.
pub const SEALED_BYTES_MAX: usize = 1 << 20;

const ENCRYPTION: &str = "secretbox.v1";
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;

/// 32 secret bytes that every edge and controller of a cluster has; printed only by [`SealKey::reveal`].
#[derive(Clone, PartialEq, Eq)]
pub struct SealKey([u8; KEY_BYTES]);

/// A certificate chain and its private key, in PEM.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPair {
    #[serde(rename = "Key", with = "base64_bytes")]
    pub key: Vec<u8>,
    #[serde(rename = "Cert", with = "base64_bytes")]
    pub cert: Vec<u8>,
}

#[derive(Debug, thiserror::Error)]
pub enum SealKeyError {
    #[error("a seal key is 64 hexadecimal digits, or 32 bytes in a file")]
    Form,
    #[error("the seal key {}", path.display())]
    InFile { path: PathBuf, source: Box<SealKeyError> },
    #[error("the seal key {} is not there", path.display())]
    Missing { path: PathBuf },
    #[error(transparent)]
    File(#[from] FileError),
    #[error("draw random bits")]
    Random(#[source] getrandom::Error),
}

/// Why something sealed stays closed. Never says what is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("what is sealed has {bytes} bytes, more than {SEALED_BYTES_MAX}")]
    TooLarge { bytes: usize },
    #[error("{part} is not base64")]
    Base64 { part: &'static str },
    #[error("not a sealed value: JSON with Encryption and Value is expected")]
    Envelope,
    #[error("encryption {found:?}: only {ENCRYPTION:?} is known")]
    Encryption { found: String },
    #[error("a nonce of {bytes} bytes instead of {NONCE_BYTES}")]
    Nonce { bytes: usize },
    #[error("it was sealed with another key, or changed since")]
    Forged,
    #[error("what was sealed is no key pair: JSON with Key and Cert is expected")]
    KeyPair,
    #[error("draw random bits")]
    Random,
}

#[derive(Serialize, Deserialize)]
struct Envelope {
    #[serde(rename = "Encryption")]
    encryption: String,
    #[serde(rename = "Value")]
    value: Value,
}

#[derive(Serialize, Deserialize)]
struct Value {
    #[serde(rename = "Val")]
    val: String,
    #[serde(rename = "Nonce")]
    nonce: String,
}

impl SealKey {
    pub fn generate() -> Result<Self, SealKeyError> {
        let mut bytes = [0; KEY_BYTES];
        getrandom::fill(&mut bytes).map_err(SealKeyError::Random)?;
        Ok(Self(bytes))
    }

    pub fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// 64 hexadecimal digits, as `vctl secret new_key` prints them.
    pub fn parse(text: &str) -> Result<Self, SealKeyError> {
        let mut bytes = [0; KEY_BYTES];
        hex::decode_to_slice(text.trim(), &mut bytes).map_err(|_| SealKeyError::Form)?;
        Ok(Self(bytes))
    }

    /// A file with 64 hexadecimal digits, or with the 32 bytes themselves.
    pub fn read(path: &Path) -> Result<Self, SealKeyError> {
        Self::read_if_there(path)?.ok_or_else(|| SealKeyError::Missing { path: path.to_owned() })
    }

    /// Like [`SealKey::read`], with `None` for a file that is not there.
    pub fn read_if_there(path: &Path) -> Result<Option<Self>, SealKeyError> {
        let Some(bytes) = private_file::read_bytes_if_there(path)? else { return Ok(None) };
        let key = Self::from_file_bytes(&bytes).map(Some);
        key.map_err(|error| SealKeyError::InFile { path: path.to_owned(), source: Box::new(error) })
    }

    /// What such a file holds.
    pub fn from_file_bytes(bytes: &[u8]) -> Result<Self, SealKeyError> {
        match <[u8; KEY_BYTES]>::try_from(bytes) {
            Ok(bytes) => Ok(Self(bytes)),
            Err(_) => std::str::from_utf8(bytes).map_err(|_| SealKeyError::Form).and_then(Self::parse),
        }
    }

    /// Only its owner may read the file.
    pub fn write(&self, path: &Path) -> Result<(), SealKeyError> {
        Ok(private_file::write(path, format!("{}\n", self.reveal()))?)
    }

    /// 64 hexadecimal digits.
    pub fn reveal(&self) -> String {
        hex::encode(self.0)
    }

    /// A key for another purpose that tells nothing of this one (HMAC-SHA-256 of the purpose's name).
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.update(purpose.as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// The envelope, in base64.
    pub fn seal(&self, plain: &[u8]) -> Result<String, SealError> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|_| SealError::Random)?;
        self.seal_with(plain, nonce)
    }

    fn seal_with(&self, plain: &[u8], nonce: [u8; NONCE_BYTES]) -> Result<String, SealError> {
        let too_large = SealError::TooLarge { bytes: plain.len() };
        if plain.len() > SEALED_BYTES_MAX {
            return Err(too_large);
        }
        let sealed = self.cipher().encrypt(&Nonce::from(nonce), plain).map_err(|_| too_large)?;
        let value = Value { val: STANDARD.encode(sealed), nonce: STANDARD.encode(nonce) };
        let envelope = Envelope { encryption: ENCRYPTION.to_owned(), value };
        let json = serde_json::to_vec(&envelope).map_err(|_| SealError::Envelope)?;
        Ok(STANDARD.encode(json))
    }

    pub fn open(&self, sealed: &str) -> Result<Vec<u8>, SealError> {
        // Base64 twice.
        let bytes_max = SEALED_BYTES_MAX * 2;
        if sealed.len() > bytes_max {
            return Err(SealError::TooLarge { bytes: sealed.len() });
        }
        let base64 = |part, text: &str| STANDARD.decode(text).map_err(|_| SealError::Base64 { part });
        let json = base64("the sealed value", sealed.trim())?;
        let envelope: Envelope = serde_json::from_slice(&json).map_err(|_| SealError::Envelope)?;
        if envelope.encryption != ENCRYPTION {
            return Err(SealError::Encryption { found: envelope.encryption.chars().take(64).collect() });
        }
        let (sealed, nonce) = (base64("Val", &envelope.value.val)?, base64("Nonce", &envelope.value.nonce)?);
        let nonce = <[u8; NONCE_BYTES]>::try_from(nonce.as_slice());
        let nonce = nonce.map_err(|_| SealError::Nonce { bytes: base64_bytes_of(&envelope.value.nonce) })?;
        self.cipher().decrypt(&Nonce::from(nonce), sealed.as_slice()).map_err(|_| SealError::Forged)
    }

    pub fn seal_key_pair(&self, pair: &KeyPair) -> Result<String, SealError> {
        self.seal(&serde_json::to_vec(pair).map_err(|_| SealError::KeyPair)?)
    }

    pub fn open_key_pair(&self, sealed: &str) -> Result<KeyPair, SealError> {
        serde_json::from_slice(&self.open(sealed)?).map_err(|_| SealError::KeyPair)
    }

    fn cipher(&self) -> XSalsa20Poly1305 {
        XSalsa20Poly1305::new(&self.0.into())
    }
}

fn base64_bytes_of(text: &str) -> usize {
    STANDARD.decode(text).map_or(0, |bytes| bytes.len())
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(..)")
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPair(..)")
    }
}

/// Go's form of bytes in JSON.
mod base64_bytes {
    use super::{Engine, STANDARD};
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        // What is said of an error must not be what was sealed.
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map_err(|_| serde::de::Error::custom("not base64"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::PermissionsExt;

    /// Made with libsodium 1.0.18 (`crypto_secretbox_easy`).
    const LIBSODIUMS: &str = "{\"Encryption\":\"secretbox.v1\",\"Value\":{\"Val\":\"/Cyapn5dlqP0fD/T1dAWWnmb0qxDlPTL0c91oRWogVtb\
        2EyF3oQSKfB1JtU3tuv1\",\"Nonce\":\"ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7\"}}";

    fn key() -> SealKey {
        SealKey::parse("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f").unwrap()
    }

    fn pair() -> KeyPair {
        KeyPair { key: b"key".to_vec(), cert: b"cert".to_vec() }
    }

    #[test]
    fn it_seals_and_opens_as_libsodium_does() {
        let sealed = STANDARD.encode(LIBSODIUMS);
        assert_eq!(key().open_key_pair(&sealed).unwrap(), pair());
        let nonce = std::array::from_fn(|place| 100 + place as u8);
        let plain = serde_json::to_vec(&pair()).unwrap();
        assert_eq!(key().seal_with(&plain, nonce).unwrap(), sealed);
    }

    #[test]
    fn what_is_torn_forged_or_of_another_key_says_so_and_nothing_else() {
        let sealed = key().seal_key_pair(&pair()).unwrap();
        let other = SealKey::generate().unwrap();
        assert_eq!(other.open_key_pair(&sealed), Err(SealError::Forged));
        assert_eq!(key().open("?"), Err(SealError::Base64 { part: "the sealed value" }));
        let envelope = |json: &str| key().open(&STANDARD.encode(json));
        assert_eq!(envelope("{}"), Err(SealError::Envelope));
        let aes = LIBSODIUMS.replace("secretbox.v1", "aes");
        assert_eq!(envelope(&aes), Err(SealError::Encryption { found: "aes".into() }));
        assert_eq!(envelope(&LIBSODIUMS.replace("ZGVm", "")), Err(SealError::Nonce { bytes: 21 }));
        assert_eq!(envelope(&LIBSODIUMS.replace("/Cya", "/Cyb")), Err(SealError::Forged));
        assert_eq!(envelope(&LIBSODIUMS.replace("/Cya", "!")), Err(SealError::Base64 { part: "Val" }));
        assert_eq!(key().open_key_pair(&key().seal(b"{\"Key\":1}").unwrap()), Err(SealError::KeyPair));
        assert!(matches!(key().seal(&vec![0; SEALED_BYTES_MAX + 1]), Err(SealError::TooLarge { .. })));
        assert_eq!(format!("{:?} {:?}", key(), pair()), "SealKey(..) KeyPair(..)");
    }

    #[test]
    fn a_key_is_read_from_digits_or_bytes_and_its_file_is_its_owners() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("identity/seal.key");
        assert!(SealKey::read_if_there(&path).unwrap().is_none());
        assert!(matches!(SealKey::read(&path), Err(SealKeyError::Missing { .. })));
        key().write(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(SealKey::read(&path).unwrap(), key());
        std::fs::write(&path, key().0).unwrap();
        assert_eq!(SealKey::read(&path).unwrap(), key());
        std::fs::write(&path, "0001").unwrap();
        assert!(matches!(SealKey::read(&path), Err(SealKeyError::InFile { .. })));
        assert!(SealKey::parse(&"g".repeat(64)).is_err());
    }

    #[test]
    fn a_derived_key_depends_on_its_purpose() {
        assert_ne!(key().derive("a"), key().derive("b"));
        assert_eq!(key().derive("a"), key().derive("a"));
    }

    proptest! {
        #[test]
        fn whatever_was_sealed_comes_back(plain in prop::collection::vec(any::<u8>(), 0..2048), bits in any::<[u8; 32]>()) {
            let key = SealKey::from_bytes(bits);
            prop_assert_eq!(key.open(&key.seal(&plain).unwrap()).unwrap(), plain);
        }

        #[test]
        fn whatever_is_opened_does_no_harm(text in ".{0,128}", flip in any::<prop::sample::Index>()) {
            prop_assert!(key().open(&text).is_err());
            let mut sealed = key().seal(text.as_bytes()).unwrap().into_bytes();
            let place = flip.index(sealed.len());
            sealed[place] ^= 1;
            // A flipped bit may be one that base64 ignores, or whitespace's; then it is what it was.
            if let Ok(opened) = key().open(&String::from_utf8_lossy(&sealed)) {
                prop_assert_eq!(opened, text.as_bytes());
            }
        }
    }
}
