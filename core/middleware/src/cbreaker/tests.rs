//! What oxy's breaker tests and vulcand's settings tests say.

use crate::testing::{answer_at, chain, field, refusal, request};
use crate::{Chain, Decision, Effect, Now, Response};
use proptest::prelude::*;
use serde_json::{Value, json};

const NONE: [(&str, &str); 0] = [];

fn settings() -> Value {
    json!({
        "Condition": "NetworkErrorRatio() > 0.5",
        "Fallback": {"Type": "response", "Action": {"StatusCode": 503, "Body": "Come back later"}},
        "OnTripped": {"Type": "webhook", "Action": {"URL": "http://localhost/post.json", "Method": "POST",
            "Headers": {"Content-Type": ["application/json"]}, "Body": {"Key": ["val1", "val2"]}}},
        "OnStandby": {"Type": "webhook", "Action": {"URL": "http://localhost/post", "Method": "POST",
            "Form": {"key": ["val1", "val 2"]}}},
    })
}

fn with(field: &str, value: Value) -> Value {
    let mut settings = settings();
    settings[field] = value;
    settings
}

fn after_millis(millis: u64) -> Now {
    Now { nanos: millis * 1_000_000, unix_seconds: 0 }
}

/// Sends one request that the server answers with `status`; what the client got, and what was done beside.
fn exchange(chain: &Chain, status: u16, now: Now) -> (u16, Vec<Effect>) {
    match chain.before(&request("GET", "/", &NONE), now) {
        Decision::Answer(answer) => (answer.status, answer.effects),
        Decision::Continue(mut passage) => {
            let response = Response { status, headers: &NONE, body_bytes: Some(0), is_own: false };
            let mut effects = std::mem::take(&mut passage.effects);
            effects.extend(passage.response(&response, now).effects);
            (status, effects)
        }
        Decision::Ask(_) => unreachable!(),
    }
}

fn webhook(effects: &[Effect]) -> (&str, &str) {
    match effects {
        [Effect::Webhook(webhook)] => (&webhook.url, std::str::from_utf8(&webhook.body).unwrap()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_full_cycle_with_its_webhooks() {
    let chain = chain("cbreaker", settings());
    assert_eq!(exchange(&chain, 200, after_millis(0)).0, 200);
    // Within the check period nothing is decided.
    for _ in 0..3 {
        assert!(exchange(&chain, 502, after_millis(50)).1.is_empty());
    }
    let (status, effects) = exchange(&chain, 504, after_millis(101));
    assert_eq!((status, webhook(&effects)), (504, ("http://localhost/post.json", r#"{"Key":["val1","val2"]}"#)));

    let tripped = answer_at(&chain, &request("GET", "/", &NONE), after_millis(9_100)).unwrap();
    assert_eq!((tripped.status, tripped.body.as_slice()), (503, b"Come back later".as_slice()));
    // Recovering: nothing passes at first, half of it after a while.
    assert_eq!(exchange(&chain, 200, after_millis(10_102)).0, 503);
    let passed = (0..100).filter(|_| exchange(&chain, 200, after_millis(15_102)).0 == 200).count();
    assert!((20..=30).contains(&passed), "{passed}");
    let (status, effects) = exchange(&chain, 200, after_millis(20_103));
    assert_eq!((status, webhook(&effects)), (200, ("http://localhost/post", "key=val1&key=val+2")));
    assert_eq!(exchange(&chain, 200, after_millis(20_104)).0, 200);
}

#[test]
fn errors_during_recovery_trip_it_again() {
    let chain = chain("cbreaker", with("CheckPeriod", json!(1_000)));
    assert_eq!(exchange(&chain, 502, after_millis(0)).0, 502);
    assert_eq!(exchange(&chain, 502, after_millis(10_001)).0, 503);
    let got: Vec<u16> = (0..100).map(|_| exchange(&chain, 502, after_millis(15_001)).0).collect();
    let first = got.iter().position(|status| *status == 502).unwrap();
    assert!(got[first + 1..].iter().all(|status| *status == 503), "{got:?}");
}

#[test]
fn statistics_start_anew_when_it_trips() {
    let chain = chain("cbreaker", settings());
    for _ in 0..50 {
        exchange(&chain, 502, after_millis(0));
    }
    assert_eq!(exchange(&chain, 502, after_millis(200)).1.len(), 0, "tripped before");
    exchange(&chain, 200, after_millis(10_001));
    let recovered: Vec<u16> = (0..20).map(|_| exchange(&chain, 200, after_millis(20_002)).0).collect();
    assert_eq!(recovered, [200; 20]);
}

#[test]
fn redirects_with_and_without_the_path() {
    let redirect = |preserve| {
        let action = json!({"URL": "http://localhost:6000", "PreservePath": preserve});
        let settings = with("Fallback", json!({"Type": "redirect", "Action": action}));
        let chain = chain("cbreaker", settings);
        exchange(&chain, 502, after_millis(0));
        let answer = answer_at(&chain, &request("GET", "/somePath?a=b", &NONE), after_millis(1)).unwrap();
        (answer.status, field(&answer, "Location").unwrap().to_owned())
    };
    assert_eq!(redirect(true), (302, "http://localhost:6000/somePath".to_owned()));
    assert_eq!(redirect(false), (302, "http://localhost:6000".to_owned()));
}

#[test]
fn bodies_come_as_base64_as_text_and_as_objects() {
    let body = |body: Value| {
        let action = json!({"StatusCode": 400, "ContentType": "application/json", "Body": body});
        let chain = chain("cbreaker", with("Fallback", json!({"Type": "response", "Action": action})));
        exchange(&chain, 502, after_millis(0));
        let answer = answer_at(&chain, &request("GET", "/", &NONE), after_millis(1)).unwrap();
        assert_eq!(field(&answer, "Content-Type"), Some("application/json"));
        String::from_utf8(answer.body).unwrap()
    };
    assert_eq!(body(json!("aGVsbG8=")), "hello");
    assert_eq!(body(json!("Come back later")), "Come back later");
    assert_eq!(body(json!({"a": 1})), r#"{"a":1}"#);
}

#[test]
fn an_action_may_be_a_string_and_a_webhook_may_be_empty() {
    let text = r#"{"Type": "response", "Action": {"StatusCode": 400, "Body": "no"}}"#;
    let mut settings = with("Fallback", json!(text));
    settings["OnTripped"] = json!("");
    settings["OnStandby"] = Value::Null;
    let chain = chain("cbreaker", settings);
    assert!(exchange(&chain, 502, after_millis(0)).1.is_empty());
    assert_eq!(exchange(&chain, 200, after_millis(1)).0, 400);
}

#[test]
fn what_further_in_refuses_counts_too() {
    let chain = crate::testing::chain_of(&json!([
        {"Id": "a", "Priority": 0, "Type": "cbreaker", "Middleware":
            {"Condition": "ResponseCodeRatio(400, 500, 0, 600) > 0.5", "Fallback": settings()["Fallback"]}},
        {"Id": "b", "Priority": 1, "Type": "iplist", "Middleware": {"Deny": ["192.0.2.7"]}},
    ]));
    assert_eq!(exchange(&chain, 200, after_millis(0)).0, 403);
    assert_eq!(exchange(&chain, 200, after_millis(1)).0, 503);
}

#[test]
fn durations_that_are_missing_or_zero_are_the_command_lines_defaults() {
    let mut settings = settings();
    settings["FallbackDuration"] = json!(0);
    settings["RecoveryDuration"] = json!("2s");
    let chain = chain("cbreaker", settings);
    exchange(&chain, 502, after_millis(0));
    assert_eq!(exchange(&chain, 200, after_millis(9_999)).0, 503);
    assert_eq!(exchange(&chain, 200, after_millis(10_000)).0, 503);
    assert_eq!(exchange(&chain, 200, after_millis(12_001)).0, 200);
}

#[test]
fn wrong_settings_are_refused_by_name() {
    let response = |action: Value| json!({"Type": "response", "Action": action});
    for (settings, field) in [
        (with("Condition", json!("whut?")), "Condition"),
        (with("Condition", json!("")), "Condition"),
        (with("Fallback", json!("")), "Fallback: is missing"),
        (with("Fallback", json!("{")), "Fallback"),
        (with("Fallback", json!({"Type": "panic", "Action": {}})), "Fallback.Type"),
        (with("Fallback", json!({"Type": "response"})), "Fallback.Action"),
        (with("Fallback", response(json!({"StatusCode": 0}))), "Fallback.Action.StatusCode"),
        (with("Fallback", response(json!({"StatusCode": 503, "Body": 1}))), "Fallback.Action.Body"),
        (with("Fallback", json!({"Type": "redirect", "Action": {"URL": "somewhere"}})), "Fallback.Action.URL"),
        (with("OnTripped", json!({"Type": "what?", "Action": {}})), "OnTripped"),
        (with("OnStandby", json!({"Type": "webhook", "Action": {"URL": "http://a"}})), "OnStandby.Action.Method"),
        (with("CheckPeriod", json!(-1)), "CheckPeriod"),
    ] {
        let error = refusal("cbreaker", settings.clone());
        assert!(error.starts_with(field), "{error}: {settings}");
    }
}

#[test]
fn state_outlives_a_rebuild_of_the_chain() {
    let first = chain("cbreaker", settings());
    exchange(&first, 502, after_millis(0));
    let again = crate::Middleware::new("m1".into(), 9, "cbreaker".into(), settings()).unwrap();
    let second = Chain::new(vec![again], Some(&first)).unwrap();
    assert_eq!(exchange(&second, 200, after_millis(1)).0, 503);
}

proptest! {
    /// Whatever the servers answer and whenever: nothing passes while it is tripped, standby is told only after tripped
    /// was, and a breaker that is left alone lets everything through again.
    #[test]
    fn the_breaker_never_gets_stuck(
        steps in proptest::collection::vec((0u64..4_000, proptest::sample::select(vec![200u16, 502, 503])), 1..120),
    ) {
        let chain = chain("cbreaker", settings());
        let (mut now, mut tripped_at, mut told_tripped) = (0, None, false);
        for (pause, status) in steps {
            now += pause;
            let (got, effects) = exchange(&chain, status, after_millis(now));
            let passed = got == status && status != 503;
            if tripped_at.is_some_and(|at| now < at + 10_000) {
                prop_assert!(!passed, "passed {} ms after it tripped", now - tripped_at.unwrap());
            }
            for effect in effects {
                let Effect::Webhook(webhook) = effect else { panic!("no webhook") };
                if webhook.url.ends_with("post.json") {
                    (tripped_at, told_tripped) = (Some(now), true);
                } else {
                    prop_assert!(told_tripped, "standby without a trip");
                    (tripped_at, told_tripped) = (None, false);
                }
            }
        }
        // Half of them at most are let through on the way back; good answers, all of them.
        for step in 0..100 {
            exchange(&chain, 200, after_millis(now + 20_001 + step * 200));
        }
        prop_assert_eq!(exchange(&chain, 200, after_millis(now + 60_000)).0, 200);
    }
}
