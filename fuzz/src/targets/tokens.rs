//! Tokens (JWT) that clients show.
//!
//! The input's lines are a token's header, its claims and its signature, before they are encoded; an input that has no second
//! line is a token as it comes.

use super::middlewares::get;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use middleware::{Algorithm, Chain, Change, Decision, Now, Question, Reply};
use serde_json::{Value, json};
use std::sync::LazyLock;

pub const WORDS: &[&str] = crate::json_words![
    "\n",
    ".",
    "\"alg\":\"HS256\"",
    "\"alg\":\"EdDSA\"",
    "\"alg\":\"none\"",
    "\"alg\":\"RS256\"",
    "\"kid\":\"h\"",
    "\"kid\":\"e\"",
    "\"crit\":[\"exp\"]",
    "\"exp\":1500000001",
    "\"exp\":1499999999",
    "\"exp\":1e400",
    "\"exp\":-1",
    "\"nbf\":1500000000",
    "\"nbf\":\"1\"",
    "\"iss\":\"i\"",
    "\"aud\":[\"a\",\"b\"]",
    "\"sub\":\"s\"",
    "\"roles\":[\"x\",\"y\"]",
    "\\r\\nX-Admin: 1",
    "é",
    "eyJhbGciOiJIUzI1NiJ9",
];

const UNIX_SECONDS: u64 = 1_500_000_000;
/// Of both middlewares.
const CLAIM_HEADERS: [&str; 2] = ["X-Sub", "X-Roles"];

/// One that asks for nothing but a signature, and one that asks for much. Each has two keys.
static CHAINS: LazyLock<[Chain; 2]> = LazyLock::new(|| {
    let public = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----";
    let keys = json!([
        { "Kid": "h", "Algorithm": "HS256", "Secret": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" },
        { "Kid": "e", "Algorithm": "EdDSA", "PublicKey": public },
    ]);
    let claims = json!({ "X-Sub": "sub", "X-Roles": "roles" });
    let chain = |more: Value| {
        let mut settings = json!({ "Keys": keys, "ClaimHeaders": claims, "RemoveToken": true });
        settings.as_object_mut().expect("it is one").extend(more.as_object().expect("it is one").clone());
        let middleware = json!({ "Id": "j", "Priority": 1, "Type": "jwt", "Middleware": settings });
        Chain::read(&[middleware], None).expect("the settings are right")
    };
    let strict = json!({ "Issuers": ["i"], "Audiences": ["a"], "Claims": { "roles": ["x"] }, "Leeway": "1s" });
    [chain(json!({ "AllowNoExpiry": true })), chain(strict)]
});

pub fn token(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.splitn(3, '\n');
    let token = match (lines.next(), lines.next(), lines.next()) {
        (Some(header), Some(claims), signature) => {
            [header, claims, signature.unwrap_or_default()].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".")
        }
        _ => text.clone().into_owned(),
    };
    let shown = format!("Bearer {token}");
    // It could not have come in one line.
    if shown.contains(['\r', '\n', '\0']) {
        return;
    }
    for (chain, is_strict) in CHAINS.iter().zip([false, true]) {
        for right_at in 0..3 {
            shown_to(chain, &shown, token.trim(), is_strict, right_at);
        }
    }
}

/// The signature is found right when it is asked for the time after `right_at` others.
fn shown_to(chain: &Chain, shown: &str, token: &str, is_strict: bool, right_at: usize) {
    let fields: &[(&str, &str)] = &[("Authorization", shown), ("X-Sub", "root"), ("X-Roles", "admin")];
    let request = get(&fields);
    let now = Now { nanos: 0, unix_seconds: UNIX_SECONDS };
    let (mut decision, mut asked, mut was_right) = (chain.before(&request, now), 0, false);
    while let Decision::Ask(asking) = decision {
        assert!(!was_right, "it asks on though the signature was right");
        let Question::Signature { key, message, signature } = asking.question() else {
            panic!("no signature is asked for")
        };
        let (signed, last) = token.rsplit_once('.').expect("it has three parts");
        assert_eq!((&message[..], URL_SAFE_NO_PAD.decode(last).ok().as_ref()), (signed.as_bytes(), Some(signature)));
        let (header, claims) = signed.split_once('.').expect("it has three parts");
        let (header, claims) = (object(header), object(claims));
        let names = match key.algorithm {
            Algorithm::Hs256 => ("HS256", "h"),
            Algorithm::EdDsa => ("EdDSA", "e"),
            other => panic!("nobody has a key for {other:?}"),
        };
        assert_eq!(header["alg"], names.0, "a token chose the algorithm");
        assert!(header["crit"].is_null() && (header["kid"].is_null() || header["kid"] == names.1), "{header}");
        holds(&claims, is_strict);
        was_right = asked == right_at;
        asked += 1;
        decision = asking.resume(Reply::Verified(was_right), &request, now);
    }
    match decision {
        Decision::Answer(answer) => assert!(!was_right && answer.status == 401, "{answer:?} to a right signature"),
        Decision::Ask(_) => unreachable!("it asks no more"),
        Decision::Continue(passage) => {
            assert!(was_right, "it passes without a signature");
            let edited = |name: &str| {
                let mut edits = passage.edits.headers.iter().filter(|edit| edit.name.eq_ignore_ascii_case(name));
                edits.next_back().unwrap_or_else(|| panic!("the client's own {name} reaches the server")).change.clone()
            };
            assert_eq!(edited("Authorization"), Change::Remove);
            for name in CLAIM_HEADERS {
                if let Change::Set(value) | Change::Add(value) = edited(name) {
                    assert!(!value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)), "{name} is two lines");
                }
            }
        }
    }
}

/// What is asked of the claims before anybody looks at the signature.
fn holds(claims: &Value, is_strict: bool) {
    let (now, leeway) = (UNIX_SECONDS as f64, if is_strict { 1.0 } else { 0.0 });
    let date = |name: &str| claims.get(name).map(|date| date.as_f64().expect("a date that is none"));
    assert!(date("exp").map_or(!is_strict, |expires| now < expires + leeway), "it is over: {claims}");
    assert!(date("nbf").is_none_or(|from| now + leeway >= from), "it is for later: {claims}");
    let says = |name: &str, text: &str| match &claims[name] {
        Value::Array(texts) => texts.contains(&text.into()),
        one => one == text,
    };
    assert!(!is_strict || says("iss", "i") && says("aud", "a") && says("roles", "x"), "{claims}");
}

fn object(part: &str) -> Value {
    let decoded = URL_SAFE_NO_PAD.decode(part).expect("it was decoded before");
    serde_json::from_slice(&decoded).expect("it was read before")
}
