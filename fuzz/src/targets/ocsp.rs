//! What a responder answers about a certificate.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ocsp::{Answer, CertificateId, check, responders};
use rustls::pki_types::CertificateDer;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub const WORDS: &[&str] = &[
    "\x30\x03\x0a\x01\x03",
    "\x0a\x01\0",
    "\x06\x09\x2b\x06\x01\x05\x05\x07\x30\x01\x01",
    "\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\0",
    "\x02\x02\x124",
    "\x18\x0f20200101000000Z",
    "\x18\x0f99991231235959Z",
    "\x04\0",
    "\x03\x01\0",
    "\x30\0",
    "\x30\x7f",
    "\x05\0",
];

/// An issuer (P-256), and a certificate of its.
const ISSUER: &str = concat!(
    "MIIBcDCCARWgAwIBAgIUO8zpPJ8X7+9r13qdIvpNthne+KowCgYIKoZIzj0EAwIwDDEKMAgGA1UEAwwBYzAgFw0yNjExMjMwOTIw",
    "NDJaGA8yMTI2MTAzMDA5MjA0MlowDDEKMAgGA1UEAwwBYzBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNJfRsgPa9k1ikdbL+ny",
    "ogFoxkFooXOIu7bn9jVyxdB8kI0aTuauQBDyPJ+JRsYJtGhh/+BmdEMzdnJZOs0lJuWjUzBRMB0GA1UdDgQWBBRyGzX0wVsQtmaI",
    "VO8Wr6+akMheqDAfBgNVHSMEGDAWgBRyGzX0wVsQtmaIVO8Wr6+akMheqDAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0kA",
    "MEYCIQDPSB8CGrXyG2ST1HkaoNXMZLo5b2gVYInLqyfzjzsr7wIhAIH+ONUPyEQVdKHB9fuePS6pSHK0DADWffFX4kUsF4wp",
);
const LEAF: &str = concat!(
    "MIIBCjCBsQICEjQwCgYIKoZIzj0EAwIwDDEKMAgGA1UEAwwBYzAgFw0yNjExMjMwOTIwNDJaGA8yMTI2MTAzMDA5MjA0MlowFDES",
    "MBAGA1UEAwwJYS5leGFtcGxlMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAELYRBrZ4KTzIdUFipyk726fdgSteMPuRbhF9UKAEx",
    "a+oqiRPrkYAlcGQGRbmNY+tVEY9sOlvtOSs/0LNNAV+BwzAKBggqhkjOPQQDAgNIADBFAiEAoVWn8XmPRwT7yXNMQq1fGiGkn7kN",
    "SeCw0J5SU6CgAeQCIGzy6rvuFQvCMxGp9Zbj5AMwmYKbWHLf2AxbgPxpjJJh",
);

struct World {
    id: CertificateId,
    issuer: CertificateDer<'static>,
    /// All that the issuer and its responder ever signed.
    signed: Vec<Answer>,
}

/// When all that was signed holds: 2027-01-15.
const NOW: Duration = Duration::from_secs(1_800_000_000);

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let der = |text| CertificateDer::from(BASE64_STANDARD.decode(text).expect("it is base64"));
    let (issuer, leaf) = (der(ISSUER), der(LEAF));
    let id = CertificateId::of(&leaf, &issuer).expect("both are certificates");
    let seeds = crate::corpus::read("ocsp_response").expect("there are seeds");
    let signed = seeds.iter().filter_map(|seed| check(seed, &id, &issuer, false, now()).ok()).collect();
    World { id, issuer, signed }
});

fn now() -> SystemTime {
    UNIX_EPOCH + NOW
}

pub fn response(bytes: &[u8]) {
    let World { id, issuer, signed } = &*WORLD;
    assert_eq!(signed.len(), 3, "the seeds are right");
    let believed = check(bytes, id, issuer, false, now());
    let read = check(bytes, id, issuer, true, now());
    if let Ok(answer) = &believed {
        assert_eq!(Ok(answer), read.as_ref(), "what is not signed says more");
        assert!(signed.contains(answer), "nobody signed {answer:?}");
        let cut = check(&bytes[..bytes.len() - 1], id, issuer, false, now());
        assert!(cut.is_err() || cut == believed, "a byte less says {cut:?}");
    }
    if let Ok(answer) = &read {
        assert!(answer.until > now(), "it is over: {answer:?}");
        let over = check(bytes, id, issuer, true, answer.until);
        assert!(over.is_err(), "it is believed when it is over: {over:?}");
    }
    // A certificate's own word is read as well.
    let strange = CertificateDer::from(bytes);
    let _either = (responders(&strange), CertificateId::of(&strange, issuer), check(bytes, id, &strange, false, now()));
}
