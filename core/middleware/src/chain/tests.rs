//! Order, sharing of state, and what an empty chain costs.

use super::*;
use crate::testing::{answer, at, chain_of, field, passage, request};
use crate::{Headers, Middleware};
use proptest::prelude::*;
use serde_json::json;

const NONE: [(&str, &str); 0] = [];

fn set(id: &str, priority: i64, name: &str, value: &str) -> Value {
    json!({"Id": id, "Priority": priority, "Type": "headers",
        "Middleware": {"Request": {"Set": {name: value}}, "Response": {"Set": {name: value}}}})
}

fn lines(each: impl Fn(&mut dyn FnMut(&str, &[u8]))) -> Vec<String> {
    let mut lines = Vec::new();
    each(&mut |name, value| lines.push(format!("{name}: {}", String::from_utf8_lossy(value))));
    lines
}

#[test]
fn smaller_priorities_are_outermost_and_equal_ones_go_by_id() {
    let chain =
        chain_of(&json!([set("c", 1, "X", "3"), set("b", 1, "X", "2"), set("a", 5, "X", "4"), set("d", -1, "X", "1")]));
    let ids: Vec<&str> = chain.middlewares().iter().map(Middleware::id).collect();
    assert_eq!(ids, ["d", "b", "c", "a"]);
    let mut passage = passage(&chain, &request("GET", "/", &NONE));
    assert_eq!(lines(|visit| passage.edits.each(&NONE, visit)), ["X: 4"]);
    let response = Response { status: 200, headers: &NONE, body_bytes: None, is_own: false };
    let edits = passage.response(&response, at(0));
    assert_eq!(lines(|visit| edits.each(&NONE, visit)), ["X: 1"]);
}

#[test]
fn a_step_sees_what_the_steps_before_it_did() {
    let chain = chain_of(&json!([
        set("a", 0, "Source", "made"),
        {"Id": "b", "Priority": 1, "Type": "rewrite", "Middleware": {"Regexp": "^http://[^/]*/old(.*)", "Replacement": "/new$1"}},
        {"Id": "c", "Priority": 2, "Type": "rewrite",
            "Middleware": {"Regexp": "^.*/new(.*)$", "Replacement": "/{{.Request.Header.Get \"Source\"}}$1"}},
    ]));
    let passage = passage(&chain, &request("GET", "/old/x", &[("Source", "client")]));
    assert_eq!(passage.edits.target.as_deref(), Some("/made/x"));
}

#[test]
fn an_answer_carries_the_response_edits_of_the_steps_it_came_through_only() {
    let chain = chain_of(&json!([
        set("outer", 0, "X-Outer", "1"),
        {"Id": "deny", "Priority": 1, "Type": "iplist", "Middleware": {"Deny": ["192.0.2.7"]}},
        set("inner", 2, "X-Inner", "1"),
    ]));
    let answer = answer(&chain, &request("GET", "/", &NONE));
    assert_eq!((answer.status, field(&answer, "X-Outer"), answer.first("X-Inner")), (403, Some("1"), None));
}

#[test]
fn an_empty_chain_changes_nothing() {
    let chain = Chain::default();
    assert!(chain.is_empty());
    let mut passage = passage(&chain, &request("GET", "/", &NONE));
    assert!(passage.edits.is_empty() && passage.limits == Limits::default());
    let response = Response { status: 200, headers: &NONE, body_bytes: None, is_own: false };
    let edits = passage.response(&response, at(0));
    assert!(edits.headers.is_empty() && edits.effects.is_empty());
    assert!(passage.finish(&Finish::default(), at(0)).is_empty());
}

#[test]
fn what_is_unchanged_is_the_same_object_and_what_is_changed_is_not() {
    let read = |value: Value| Middleware::read(&value).unwrap();
    let first = Chain::new(vec![read(set("a", 0, "X", "1")), read(set("b", 1, "X", "2"))], None).unwrap();
    let second = Chain::new(vec![read(set("a", 7, "X", "1")), read(set("b", 1, "X", "3"))], Some(&first)).unwrap();
    let step = |chain: &Chain, id: &str| {
        chain
            .middlewares
            .iter()
            .find(|middleware| middleware.id == id)
            .map(|middleware| middleware.step.clone())
            .unwrap()
    };
    assert!(std::sync::Arc::ptr_eq(&step(&first, "a"), &step(&second, "a")));
    assert!(!std::sync::Arc::ptr_eq(&step(&first, "b"), &step(&second, "b")));
}

#[test]
fn too_many_and_twice_the_same_id_are_refused() {
    let many = (0..=MIDDLEWARES_MAX).map(|n| Middleware::read(&set(&n.to_string(), 0, "X", "1")).unwrap()).collect();
    assert_eq!(Chain::new(many, None).unwrap_err(), ChainError::TooMany { count: MIDDLEWARES_MAX + 1 });
    let same =
        vec![Middleware::read(&set("a", 0, "X", "1")).unwrap(), Middleware::read(&set("a", 1, "X", "2")).unwrap()];
    assert_eq!(Chain::new(same, None).unwrap_err(), ChainError::SameId { id: "a".into() });
}

#[test]
fn a_list_says_which_of_it_is_wrong() {
    let list = [set("a", 0, "X", "1"), json!({"Id": "b", "Type": "bodylimit"})];
    let error = Chain::read(&list, None).unwrap_err();
    assert_eq!(error.to_string(), "middleware 2 of the list");
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "MaxRequestBytes: is missing");
    assert_eq!(Chain::read(&list[..1], None).unwrap().middlewares().len(), 1);
}

/// A request may be under way in one thread while another decides on the next.
#[test]
fn chains_and_passages_may_cross_threads() {
    fn assert_send_sync<T: Send + Sync>() {}
    fn assert_send<T: Send>() {}
    assert_send_sync::<Chain>();
    assert_send::<Decision<'static>>();
}

proptest! {
    /// Whatever comes from the network, every middleware decides, and gives back what it held.
    #[test]
    fn no_request_panics(
        method in "[A-Z]{0,8}", target in "/.{0,40}", host in ".{0,20}",
        headers in proptest::collection::vec(
            (proptest::sample::select(vec![
                "Origin", "Authorization", "Accept-Encoding", "X-Rates", "Cookie", "Access-Control-Request-Method",
            ]), "[ -~é]{0,40}"), 0..6),
        status in any::<u16>(), nanos in any::<u64>(),
    ) {
        let chain = chain_of(&json!([
            {"Id": "a", "Type": "cbreaker", "Middleware": {"Condition": "LatencyAtQuantileMS(99.0) > 5",
                "Fallback": {"Type": "redirect", "Action": {"URL": "http://a/", "PreservePath": true}}}},
            {"Id": "b", "Type": "cors", "Middleware": {"AllowOrigins": ["*"], "AllowHeaders": ["*"]}},
            {"Id": "c", "Type": "compress"},
            {"Id": "d", "Type": "connlimit", "Middleware": {"Connections": 1, "Variable": "request.host"}},
            {"Id": "e", "Type": "ratelimit", "Middleware": {"PeriodSeconds": 1, "Requests": 9, "Variable": "client.ip",
                "RateVar": "request.header.X-Rates"}},
            {"Id": "f", "Type": "rewrite", "Middleware": {"Regexp": "^(.*)$", "Replacement": "$1{{.Request.Host}}"}},
            {"Id": "g", "Type": "trace", "Middleware": {"Addr": "syslog://", "ReqHeaders": ["Cookie"]}},
            {"Id": "h", "Type": "basicauth", "Middleware": {"Users": ["a:{PLAIN}b"]}},
        ]));
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let headers = headers.as_slice();
        let request = crate::Request { host: &host, ..request(&method, &target, &headers) };
        let now = Now { nanos, unix_seconds: nanos };
        for _ in 0..2 {
            let mut decision = chain.before(&request, now);
            while let Decision::Ask(asking) = decision {
                decision = asking.resume(crate::Reply::Verified(true), &request, now);
            }
            match decision {
                Decision::Continue(mut passage) => {
                    let response = Response { status, headers: &headers, body_bytes: None, is_own: false };
                    passage.response(&response, now);
                    passage.finish(&Finish::default(), now);
                }
                Decision::Answer(answer) => prop_assert_ne!(answer.status, 429),
                Decision::Ask(_) => unreachable!(),
            }
        }
    }
}
