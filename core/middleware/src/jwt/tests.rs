//! Tokens of the RFCs, and what must not pass.

use super::token::Token;
use crate::testing::{answer_at, chain, field, refusal, request};
use crate::{Algorithm, Chain, Decision, Now, Question, Reply};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::Sha256;

const SECRET: [u8; 32] = [7; 32];
/// RFC 7515, appendix A.1.
const RFC_SECRET: &str = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
const RFC_TOKEN: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// RFC 8410, section 10.1.
const ED25519_PEM: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";

fn now(unix_seconds: u64) -> Now {
    Now { nanos: 0, unix_seconds }
}

fn hmac(key: &[u8], message: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(message);
    mac
}

fn signed(header: &Value, claims: &Value, key: &[u8]) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = hmac(key, message.as_bytes()).finalize().into_bytes();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// With a secret of ours, and what else is asked for.
fn settings(more: Value) -> Value {
    let mut settings = json!({"Keys": [{"Algorithm": "HS256", "Secret": STANDARD.encode(SECRET)}]});
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    settings
}

/// Plays the shell, with real HMACs: the header fields the server gets, or why not.
fn decide(chain: &Chain, headers: &[(&str, &str)], now: Now) -> Result<Vec<String>, String> {
    let request = request("GET", "/", &headers);
    let mut decision = chain.before(&request, now);
    loop {
        decision = match decision {
            Decision::Ask(asking) => {
                let Question::Signature { key, message, signature } = asking.question() else { panic!() };
                let right =
                    key.algorithm == Algorithm::Hs256 && hmac(&key.bytes, message).verify_slice(signature).is_ok();
                asking.resume(Reply::Verified(right), &request, now)
            }
            Decision::Answer(answer) => {
                assert_eq!(answer.status, 401);
                return Err(field(&answer, "WWW-Authenticate").unwrap().to_owned());
            }
            Decision::Continue(passage) => {
                let mut lines = Vec::new();
                passage.edits.each(request.headers, &mut |name, value| {
                    lines.push(format!("{name}: {}", String::from_utf8_lossy(value)));
                });
                return Ok(lines);
            }
        }
    }
}

fn bearer(chain: &Chain, token: &str, at: u64) -> Result<Vec<String>, String> {
    let value = format!("Bearer {token}");
    decide(chain, &[("Authorization", &value)], now(at))
}

#[test]
fn the_token_of_rfc_7515_passes_until_it_expires() {
    let chain = chain("jwt", json!({"Keys": [{"Algorithm": "HS256", "Secret": RFC_SECRET}], "Issuers": ["joe"]}));
    assert!(bearer(&chain, RFC_TOKEN, 1_300_819_379).is_ok());
    assert!(bearer(&chain, RFC_TOKEN, 1_300_819_380).unwrap_err().contains("the token expired"));
    assert_eq!(decide(&chain, &[], now(0)), Err("Bearer".to_owned()));
    assert_eq!(decide(&chain, &[("Authorization", "Basic x")], now(0)), Err("Bearer".to_owned()));
}

#[test]
fn a_token_never_chooses_its_algorithm() {
    let chain = chain("jwt", settings(json!({})));
    let claims = json!({"exp": 100});
    assert!(bearer(&chain, &signed(&json!({"alg": "HS256"}), &claims, &SECRET), 0).is_ok());
    for header in [
        json!({"alg": "none"}),
        json!({"alg": "hs256"}),
        json!({"alg": "HS384"}),
        json!({"alg": "RS256"}),
        json!({"alg": 1}),
        json!({}),
        json!({"alg": "HS256", "crit": ["exp"]}),
    ] {
        assert!(bearer(&chain, &signed(&header, &claims, &SECRET), 0).is_err(), "{header}");
    }
    assert!(bearer(&chain, &signed(&json!({"alg": "HS256"}), &claims, &[8; 32]), 0).is_err());
    let ed = self::chain("jwt", json!({"Keys": [{"Algorithm": "EdDSA", "PublicKey": ED25519_PEM}]}));
    // A public key is no secret: who signs with it as one does not pass.
    let Some(point) = ED25519_PEM.lines().nth(1) else { unreachable!() };
    let forged = signed(&json!({"alg": "HS256"}), &claims, &STANDARD.decode(point).unwrap()[12..]);
    assert!(bearer(&ed, &forged, 0).is_err());
}

#[test]
fn claims_are_kept() {
    let more = json!({"Audiences": ["shop", "bank"], "Issuers": ["https://id"], "Claims": {"role": ["admin", "owner"]},
        "Leeway": "10s"});
    let chain = chain("jwt", settings(more));
    let check = |claims: Value, at| bearer(&chain, &signed(&json!({"alg": "HS256"}), &claims, &SECRET), at);
    let good = json!({"exp": 100, "nbf": 50, "iss": "https://id", "aud": ["x", "bank"], "role": "owner"});
    assert!(check(good.clone(), 60).is_ok());
    assert!(check(good.clone(), 40).is_ok() && check(good.clone(), 109).is_ok(), "leeway");
    assert!(check(good.clone(), 39).is_err() && check(good.clone(), 110).is_err());
    for (claim, value) in [
        ("exp", Value::Null),
        ("exp", json!("100")),
        ("nbf", json!([])),
        ("iss", json!("https://other")),
        ("iss", Value::Null),
        ("aud", json!("pub")),
        ("aud", json!(["pub", 1])),
        ("role", json!(["guest"])),
    ] {
        let mut claims = good.clone();
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(claim)),
            value => claims[claim] = value,
        }
        assert!(check(claims, 60).is_err(), "{claim}");
    }
    let forever = self::chain("jwt", settings(json!({"AllowNoExpiry": true})));
    assert!(bearer(&forever, &signed(&json!({"alg": "HS256"}), &json!({}), &SECRET), 60).is_ok());
}

#[test]
fn every_key_that_fits_is_tried_and_ids_narrow_the_choice() {
    let key =
        |kid: &str, secret: [u8; 32]| json!({"Kid": kid, "Algorithm": "HS256", "Secret": STANDARD.encode(secret)});
    let ed = json!({"Algorithm": "EdDSA", "PublicKey": ED25519_PEM});
    let chain = chain("jwt", json!({"Keys": [key("a", [1; 32]), ed, key("b", [2; 32])]}));
    let token = |header: Value, secret| signed(&header, &json!({"exp": 9}), &[secret; 32]);
    assert!(bearer(&chain, &token(json!({"alg": "HS256"}), 2), 0).is_ok());
    assert!(bearer(&chain, &token(json!({"alg": "HS256", "kid": "b"}), 2), 0).is_ok());
    assert!(bearer(&chain, &token(json!({"alg": "HS256", "kid": "a"}), 2), 0).is_err());
    assert!(bearer(&chain, &token(json!({"alg": "HS256", "kid": 1}), 2), 0).is_err());
    assert!(bearer(&chain, &token(json!({"alg": "HS256"}), 3), 0).is_err());
}

#[test]
fn public_keys_are_handed_out_as_verifiers_take_them() {
    let asked = |algorithm: &str, pem: &str, header: Value| {
        let chain = chain("jwt", json!({"Keys": [{"Algorithm": algorithm, "PublicKey": pem}]}));
        let value = format!("Bearer {}", signed(&header, &json!({"exp": 9}), &SECRET));
        let headers = [("Authorization", value.as_str())];
        let Decision::Ask(asking) = chain.before(&request("GET", "/", &headers), now(0)) else { panic!() };
        let Question::Signature { key, .. } = asking.question() else { panic!() };
        crate::VerificationKey::clone(key)
    };
    let key = asked("EdDSA", ED25519_PEM, json!({"alg": "EdDSA"}));
    assert_eq!((key.algorithm, key.bytes.len(), key.bytes[0]), (Algorithm::EdDsa, 32, 0x19));
    // The header of a P-256 key, and a point.
    let mut der = hex("3059301306072a8648ce3d020106082a8648ce3d030107034200");
    der.push(4);
    der.extend([5; 64]);
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----", STANDARD.encode(&der));
    let key = asked("ES256", &pem, json!({"alg": "ES256"}));
    assert_eq!((key.algorithm, key.bytes), (Algorithm::Es256, [vec![4], vec![5; 64]].concat()));
    for (algorithm, pem) in [("RS256", pem.as_str()), ("EdDSA", &pem), ("ES256", ED25519_PEM), ("HS256", ED25519_PEM)] {
        let keys = json!({"Keys": [{"Algorithm": algorithm, "PublicKey": pem}]});
        assert!(refusal("jwt", keys).starts_with("Keys[0]."), "{algorithm}");
    }
}

fn hex(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

#[test]
fn claims_become_header_fields_that_no_client_can_forge() {
    let more = json!({"ClaimHeaders": {"X-User": "sub", "X-Groups": "groups", "X-Bad": "bad"}, "RemoveToken": true});
    let chain = chain("jwt", settings(more));
    let claims = json!({"exp": 9, "sub": "ann", "groups": ["a", "b"], "bad": "a\r\nb"});
    let value = format!("bearer {}", signed(&json!({"alg": "HS256"}), &claims, &SECRET));
    let headers = [("authorization", value.as_str()), ("x-user", "root"), ("X-Bad", "forged"), ("Accept", "*/*")];
    let mut passed = decide(&chain, &headers, now(0)).unwrap();
    passed.sort();
    assert_eq!(passed, ["Accept: */*", "X-Groups: a,b", "X-User: ann"]);
}

#[test]
fn tokens_may_stand_in_a_header_or_a_cookie() {
    let token = signed(&json!({"alg": "HS256"}), &json!({"exp": 9}), &SECRET);
    let chain_of = |more| chain("jwt", settings(more));
    assert!(decide(&chain_of(json!({"Header": "X-Token"})), &[("x-token", &token)], now(0)).is_ok());
    let cookies = format!("a=b; session={token}; c=d");
    assert!(decide(&chain_of(json!({"Cookie": "session"})), &[("Cookie", &cookies)], now(0)).is_ok());
    let crumbs = [("cookie", "session_id=x"), ("cookie", cookies.as_str())];
    assert!(decide(&chain_of(json!({"Cookie": "session"})), &crumbs, now(0)).is_ok());
    assert!(decide(&chain_of(json!({"Cookie": "other"})), &[("Cookie", &cookies)], now(0)).is_err());
}

#[test]
fn keys_that_protect_nothing_are_refused() {
    for keys in [
        json!([]),
        json!([{"Algorithm": "HS256", "Secret": "c2hvcnQ="}]),
        json!([{"Algorithm": "HS256", "Secret": "!"}]),
        json!([{"Algorithm": "HS256"}]),
        json!([{"Algorithm": "none"}]),
        json!([{"Algorithm": "EdDSA", "PublicKey": "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----"}]),
        json!([{"Algorithm": "EdDSA", "PublicKey": ED25519_PEM, "Secret": STANDARD.encode(SECRET)}]),
    ] {
        assert!(refusal("jwt", json!({"Keys": keys})).starts_with("Keys"), "{keys}");
    }
    assert!(refusal("jwt", settings(json!({"Leeway": "1h"}))).starts_with("Leeway"));
    assert!(refusal("jwt", settings(json!({"Header": "A", "Cookie": "b"}))).starts_with("Header"));
}

proptest! {
    #[test]
    fn any_token_is_safe(text in "[a-zA-Z0-9._-]{0,80}", at in any::<u64>()) {
        let _either = Token::parse(&text);
        let mangled = format!("{text}{RFC_TOKEN}");
        let _either = Token::parse(&mangled);
        let chain = chain("jwt", settings(json!({})));
        let value = format!("Bearer {text}");
        let headers = [("Authorization", value.as_str())];
        let request = request("GET", "/", &headers);
        prop_assert_eq!(answer_at(&chain, &request, now(at)).map(|answer| answer.status), Some(401));
    }
}
