//! Keys, as the settings have them: a secret in base64, or a public key in PEM.

use super::token::Token;
use crate::question::{Algorithm, VerificationKey};
use crate::spec::{Fields, SpecError};
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// RFC 7518, section 3.2: as long as the hash.
const SECRET_BYTES_MIN: usize = 32;
const SECRET_BYTES_MAX: usize = 1024;
/// A 16,384-bit RSA key in PEM has some 2,900.
const PEM_BYTES_MAX: usize = 8 * 1024;
/// RFC 7518, section 3.3.
const RSA_BITS_MIN: usize = 2048;

/// With or without padding.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

#[derive(Debug)]
pub struct Key {
    id: Option<String>,
    pub verification: VerificationKey,
}

impl Key {
    pub fn read(mut fields: Fields) -> Result<Self, SpecError> {
        let id = Some(fields.text("Kid")?).filter(|id| !id.is_empty());
        let name = fields.required_text("Algorithm")?;
        let (secret, pem) = (fields.text("Secret")?, fields.text("PublicKey")?);
        let algorithm = algorithm_of(&name).ok_or_else(|| {
            fields.error("Algorithm", format!("expected HS256, RS256, ES256 or EdDSA, found {name:?}"))
        })?;
        let bytes = match (algorithm, secret.is_empty(), pem.is_empty()) {
            (Algorithm::Hs256, false, true) => {
                read_secret(&secret).map_err(|message| fields.error("Secret", message))?
            }
            (Algorithm::Hs256, ..) => return Err(fields.error("Secret", "HS256 has a Secret and nothing else")),
            (_, true, false) => {
                read_public_key(&pem, algorithm).map_err(|message| fields.error("PublicKey", message))?
            }
            _ => return Err(fields.error("PublicKey", format!("{name} has a PublicKey and nothing else"))),
        };
        fields.done()?;
        Ok(Self { id, verification: VerificationKey { algorithm, bytes } })
    }

    /// A key with an id is for tokens that name it or name none.
    pub fn fits(&self, token: &Token) -> bool {
        let named = match (&self.id, &token.key_id) {
            (Some(id), Some(named)) => id == named,
            _ => true,
        };
        named && algorithm_of(&token.algorithm) == Some(self.verification.algorithm)
    }
}

/// Names are as they are registered, case and all.
fn algorithm_of(name: &str) -> Option<Algorithm> {
    Some(match name {
        "HS256" => Algorithm::Hs256,
        "RS256" => Algorithm::Rs256,
        "ES256" => Algorithm::Es256,
        "EdDSA" => Algorithm::EdDsa,
        _ => return None,
    })
}

fn read_secret(text: &str) -> Result<Vec<u8>, String> {
    let engine = |alphabet| GeneralPurpose::new(alphabet, LENIENT);
    let secret = engine(&alphabet::STANDARD).decode(text).or_else(|_| engine(&alphabet::URL_SAFE).decode(text));
    let secret = secret.map_err(|_| "expected base64")?;
    if !(SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&secret.len()) {
        return Err(format!("expected {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes, found {}", secret.len()));
    }
    Ok(secret)
}

/// SubjectPublicKeyInfo (RFC 5280, section 4.1) in PEM; what verifies takes only the key within.
fn read_public_key(pem: &str, algorithm: Algorithm) -> Result<Vec<u8>, String> {
    if pem.len() > PEM_BYTES_MAX {
        return Err(format!("more than {PEM_BYTES_MAX} bytes"));
    }
    let body = pem.trim().strip_prefix("-----BEGIN PUBLIC KEY-----");
    let body =
        body.and_then(|body| body.strip_suffix("-----END PUBLIC KEY-----")).ok_or("expected a PUBLIC KEY in PEM")?;
    let body: String = body.split_ascii_whitespace().collect();
    let der =
        GeneralPurpose::new(&alphabet::STANDARD, LENIENT).decode(body).map_err(|_| "its base64 cannot be read")?;
    key_within(&der, algorithm).ok_or_else(|| format!("no key that {algorithm:?} could use"))
}

/// The algorithm identifier each kind of key has, DER without its outer header: RFC 8017, RFC 5480, RFC 8410.
const RSA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
const P256: &[u8] =
    &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const ED25519: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;

fn key_within(der: &[u8], algorithm: Algorithm) -> Option<Vec<u8>> {
    let (info, rest) = element(der, SEQUENCE)?;
    let (identifier, after) = element(info, SEQUENCE)?;
    let (bits, end) = element(after, BIT_STRING)?;
    // The first byte of a bit string says how many of its last bits do not count.
    let (0, key) = bits.split_first().map(|(unused, key)| (*unused, key))? else { return None };
    let right = match algorithm {
        Algorithm::Rs256 => identifier == RSA && is_rsa_key(key),
        Algorithm::Es256 => identifier == P256 && key.len() == 65 && key[0] == 0x04,
        Algorithm::EdDsa => identifier == ED25519 && key.len() == 32,
        Algorithm::Hs256 => false,
    };
    (right && rest.is_empty() && end.is_empty()).then(|| key.to_vec())
}

/// RSAPublicKey: modulus and exponent, the modulus long enough.
fn is_rsa_key(key: &[u8]) -> bool {
    const INTEGER: u8 = 0x02;
    let modulus = element(key, SEQUENCE).and_then(|(numbers, _)| element(numbers, INTEGER));
    modulus.is_some_and(|(modulus, _)| modulus.iter().skip_while(|byte| **byte == 0).count() >= RSA_BITS_MIN / 8)
}

/// The content of a DER element of this tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81 | 0x82 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    (*found == tag).then(|| rest.split_at_checked(length)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_der_is_safe(der in proptest::collection::vec(any::<u8>(), 0..120), text in ".{0,60}") {
            for algorithm in [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa] {
                let _either = key_within(&der, algorithm);
                let wrapped = format!("-----BEGIN PUBLIC KEY-----{text}-----END PUBLIC KEY-----");
                let _either = read_public_key(&wrapped, algorithm);
            }
        }
    }
}
