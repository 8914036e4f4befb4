//! Certificates as the store has them: a document, and the sealed pair in it.

use crate::json::read;
use identity::SealKey;
use routing::certificate::CertificateDocument;

pub const WORDS: &[&str] = crate::json_words![
    "\"v\":0",
    "\"names\":[\"a.example\"]",
    "\"sealed\":\"\"",
    "\"not_before_s\":1",
    "\"not_after_s\":-1",
    "\"issuer\":\"acme\"",
    "\"issuer\":\"given\"",
    "\"default\":true",
    "9223372036854775807",
    "eyJFbmNyeXB0aW9uIjoic2VjcmV0Ym94LnYxIiwiVmFsdWUiOnsiVmFsIjoiIiwiTm9uY2UiOiIifX0=",
    "\"key\":\"\"",
    "\"cert\":\"\"",
    "-----BEGIN CERTIFICATE-----\\n",
    "=",
    "AAAA",
];

pub fn document(bytes: &[u8]) {
    let key = SealKey::from_bytes([7; 32]);
    if let Some(document) = read::<CertificateDocument>(bytes) {
        let shown = format!("{document:?}");
        assert!(document.sealed.len() < 8 || !shown.contains(&document.sealed), "a secret is shown: {shown}");
        assert!(key.open_key_pair(&document.sealed).is_err(), "nobody who has not the key sealed it");
    }
    let _refused = key.open(&String::from_utf8_lossy(bytes)).expect_err("nobody who has not the key sealed it");
    let Ok(sealed) = key.seal(bytes) else { return };
    assert_eq!(key.open(&sealed).expect("it was sealed"), bytes);
    assert!(SealKey::from_bytes([8; 32]).open(&sealed).is_err(), "another key opens it");
    let _either = key.open_key_pair(&sealed);
    // Changed in one place, it is the same or nothing.
    let at = bytes.iter().map(|byte| usize::from(*byte)).sum::<usize>() % sealed.len();
    let mut changed = sealed.into_bytes();
    changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
    let changed = String::from_utf8(changed).expect("it is base64");
    assert!(key.open(&changed).is_ok_and(|opened| opened == bytes) || key.open(&changed).is_err());
}
