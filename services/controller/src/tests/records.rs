//! What this crate keeps in the store under types of its own, nearly right: it is read, or it is not. What it keeps of apps,
//! tasks, deployments and nodes is a target of `fuzz/`.

use crate::acme::{self, AccountRecord, OrderRecord, SettingsRecord};
use crate::cluster::{self, Member, tokens};
use crate::history::{self, Position};
use fuzz::Target;
use fuzz::driver::{Until, run_from};
use fuzz::json::read;
use identity::Token;
use model::Timestamp;
use serde::Serialize;
use std::time::Duration;

const INPUTS: u64 = 5_000;

const WORDS: &[&str] = fuzz::json_words![
    "\"\"",
    "-1",
    "-9223372036854775808",
    "9223372036854775807",
    "18446744073709551615",
    "4294967295",
    "\"2015-01-11T12:44:39.120Z\"",
    "\"-009999-01-02T01:59:59Z\"",
    "\"9999-12-30T22:00:00.999Z\"",
    "{\"omitted_bytes\":7}",
    "{\"lease\":7}",
    "\"127.0.0.1\"",
    "\"::1\"",
];

/// Reads it as everything, and does with it what is done with a record of a controller's own.
fn tried(value: &[u8]) {
    let now = Timestamp::from_millis(1_420_980_279_120);
    if let Some(mut order) = read::<OrderRecord>(value) {
        for goes_on in [true, false] {
            let _whenever = order.waits_until();
            order.asks(now);
            order.failed("no", Some(Duration::MAX), goes_on, now);
        }
        order.succeeded();
    }
    if let Some(token) = read::<tokens::Record>(value) {
        let _word = token.state(now);
        assert!(token.admit(&Token::from_text("rs_test"), now).is_err(), "a token whose digest nobody knows");
    }
    if let Some(record) = read::<history::Record>(value) {
        let merged = record.clone().merge(record.changes.clone());
        merged.changes.iter().for_each(|change| assert!(!change.verb().is_empty()));
        let _gap = merged.without_changes().unseen_after(0);
    }
    let _either = (read::<Position>(value), read::<AccountRecord>(value), read::<acme::Settings>(value));
    let _either = (read::<cluster::Settings>(value), read::<Member>(value), read::<crate::election::Record>(value));
    let _either = serde_json::from_slice::<SettingsRecord>(value);
}

fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap()
}

#[test]
fn whatever_lies_under_a_controllers_keys_is_read_or_is_not() {
    let at = Timestamp::from_millis(1_420_980_279_120);
    let under_way = acme::UnderWay {
        directory: "https://a/d".into(),
        url: "https://a/o".into(),
        sealed_key: "s".into(),
        step: "w".into(),
    };
    let order = OrderRecord {
        failures: 2,
        message: "no".into(),
        tried_at: vec![at, at],
        next_at: Some(at),
        asked_at: Some(at),
        under_way: Some(under_way),
        ..OrderRecord::default()
    };
    let token = tokens::Record {
        sha256: "ab".repeat(32),
        created_at: at,
        expires_at: at.after(Duration::from_secs(60)),
        uses_left: 8,
        revoked: false,
    };
    let changes =
        br#"{"v":0,"revision":9,"at_ms":1,"changes":[{"key":"/roadstead/routes/a","before":null,"after":"{}"},
        {"key":"/vulcand/backends/b/servers/s","before":{"omitted_bytes":9},"after":{"lease":7}}],"unseen_after":3}"#;
    let settings = br#"{"email":"a@b","directory":"https://a/d","challenge":"tls-alpn-01",
        "external_account":{"kid":"k","hmac":"aGk"}}"#;
    let seeds = vec![
        json(&order),
        json(&token),
        changes.to_vec(),
        settings.to_vec(),
        json(&Position::default()),
        json(&cluster::Settings::default()),
        json(&cluster::roster::test_member("n", true)),
        json(&crate::election::Record::default()),
        br#"{"v":0,"directory":"https://a/d","email":"a@b","sealed":"c2VhbGVk"}"#.to_vec(),
    ];
    let target = Target { name: "controller's own records", run: tried, words: WORDS, cost: 1 };
    let seed = getrandom::u64().unwrap();
    if let Err(finding) = run_from(&target, seeds, seed, Until::Inputs(INPUTS)) {
        panic!("with seed {seed}: {finding:#?}");
    }
}
