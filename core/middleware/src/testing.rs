//! Short ways to build chains and requests in tests.

use crate::{Answer, Chain, Decision, Headers, Middleware, Now, Passage, Request};
use serde_json::Value;

pub fn chain(kind: &str, settings: Value) -> Chain {
    let middleware = Middleware::new("m1".into(), 0, kind.into(), settings).unwrap();
    Chain::new(vec![middleware], None).unwrap()
}

pub fn chain_of(list: &Value) -> Chain {
    let list = list.as_array().unwrap().iter().map(|value| Middleware::read(value).unwrap()).collect();
    Chain::new(list, None).unwrap()
}

/// Why settings are refused.
pub fn refusal(kind: &str, settings: Value) -> String {
    Middleware::new("m1".into(), 0, kind.into(), settings).unwrap_err().to_string()
}

/// From 192.0.2.7 to `http://a.example`, without a body.
pub fn request<'a>(method: &'a str, target: &'a str, headers: &'a dyn Headers) -> Request<'a> {
    let client = [192, 0, 2, 7].into();
    Request { method, scheme: "http", host: "a.example", target, client, headers, body_bytes: Some(0), tls: None }
}

pub fn at(seconds: u64) -> Now {
    Now { nanos: seconds * 1_000_000_000, unix_seconds: 1_500_000_000 + seconds }
}

pub fn passes(chain: &Chain, request: &Request<'_>) -> bool {
    matches!(chain.before(request, Now::default()), Decision::Continue(_))
}

pub fn passage<'c>(chain: &'c Chain, request: &Request<'_>) -> Passage<'c> {
    match chain.before(request, at(0)) {
        Decision::Continue(passage) => passage,
        Decision::Answer(answer) => panic!("answered {answer:?}"),
        Decision::Ask(asking) => panic!("asked {:?}", asking.question()),
    }
}

pub fn answer(chain: &Chain, request: &Request<'_>) -> Answer {
    answer_at(chain, request, at(0)).expect("an answer")
}

pub fn answer_at(chain: &Chain, request: &Request<'_>, now: Now) -> Option<Answer> {
    match chain.before(request, now) {
        Decision::Answer(answer) => Some(answer),
        Decision::Continue(_) => None,
        Decision::Ask(asking) => panic!("asked {:?}", asking.question()),
    }
}

/// The value of a field, as text.
pub fn field<'a>(headers: &'a dyn Headers, name: &str) -> Option<&'a str> {
    headers.first(name).map(|value| std::str::from_utf8(value).unwrap())
}
