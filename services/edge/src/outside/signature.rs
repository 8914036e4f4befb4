//! Whether tokens' signatures are right, by TLS's own primitives.

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use middleware::{Algorithm, VerificationKey};

pub(super) fn is_right(key: &VerificationKey, message: &[u8], signature: &[u8]) -> bool {
    let algorithm: &'static dyn VerificationAlgorithm = match key.algorithm {
        Algorithm::Hs256 => {
            let key = hmac::Key::new(hmac::HMAC_SHA256, &key.bytes);
            return hmac::verify(&key, message, signature).is_ok();
        }
        Algorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
        Algorithm::Es256 => &ECDSA_P256_SHA256_FIXED,
        Algorithm::EdDsa => &ED25519,
    };
    UnparsedPublicKey::new(algorithm, &key.bytes).verify(message, signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
    };

    #[test]
    fn every_algorithm_takes_its_own_signatures_and_no_other() {
        const MESSAGE: &[u8] = b"head.claims";
        let random = SystemRandom::new();
        let mut cases: Vec<(VerificationKey, Vec<u8>)> = Vec::new();
        let mut add = |algorithm, bytes: &[u8], signature: &[u8]| {
            cases.push((VerificationKey { algorithm, bytes: bytes.to_vec() }, signature.to_vec()));
        };
        let secret = [7; 32];
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), MESSAGE);
        add(Algorithm::Hs256, &secret, tag.as_ref());
        let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let mut signature = vec![0; rsa.public_modulus_len()];
        rsa.sign(&RSA_PKCS1_SHA256, &random, MESSAGE, &mut signature).unwrap();
        add(Algorithm::Rs256, rsa.public_key().as_ref(), &signature);
        let p256 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        add(Algorithm::Es256, p256.public_key().as_ref(), p256.sign(&random, MESSAGE).unwrap().as_ref());
        let ed25519 = Ed25519KeyPair::generate().unwrap();
        add(Algorithm::EdDsa, ed25519.public_key().as_ref(), ed25519.sign(MESSAGE).as_ref());

        for (index, (key, signature)) in cases.iter().enumerate() {
            assert!(is_right(key, MESSAGE, signature), "{key:?}");
            assert!(!is_right(key, b"head.other", signature), "{key:?}");
            assert!(!is_right(key, MESSAGE, &signature[1..]) && !is_right(key, MESSAGE, b""), "{key:?}");
            for (_, other) in cases.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, case)| case) {
                assert!(!is_right(key, MESSAGE, other), "{key:?}");
            }
        }
    }
}
