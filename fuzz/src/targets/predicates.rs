//! Failover predicates and conditions of circuit breakers.

use super::middlewares::get;
use middleware::{Chain, Decision, Finish, Middleware, Now, Response};
use routing::{Attempt, PREDICATE_BYTES_MAX, Predicate};
use serde_json::json;

pub const FAILOVER_WORDS: &[&str] = &[
    "IsNetworkError()",
    "Attempts()",
    "ResponseCode()",
    "RequestMethod()",
    " && ",
    " || ",
    " == ",
    " != ",
    " < ",
    " <= ",
    " > ",
    " >= ",
    "(",
    ")",
    "\"GET\"",
    "`PUT`",
    "503",
    "2",
    "!",
    "-",
    "0.5",
    "\"",
    "`",
    "\\\"",
    "Attempts",
    "()",
    " ",
    "\n",
    "é",
];

pub const BREAKER_WORDS: &[&str] = &[
    "NetworkErrorRatio()",
    "LatencyAtQuantileMS(50.0)",
    "LatencyAtQuantileMS(",
    "ResponseCodeRatio(500, 600, 0, 600)",
    "ResponseCodeRatio(",
    "RequestThreshold()",
    " && ",
    " || ",
    " == ",
    " != ",
    " < ",
    " <= ",
    " > ",
    " >= ",
    "(",
    ")",
    ",",
    "0.5",
    "50",
    "50.0",
    "100.0",
    "-1",
    "1e9",
    ".5",
    "0.",
    "!",
    " ",
    "\n",
    "é",
];

pub fn failover(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(predicate) = Predicate::parse(&text) else { return };
    let text = predicate.as_str();
    let same = [
        format!("({text})"),
        format!("({text}) && Attempts() >= 0"),
        format!("({text}) || ResponseCode() < 0"),
        format!("({text}) == (RequestMethod() == RequestMethod())"),
    ];
    for code in [200, 500, 502, 503, 504, 999] {
        for (attempts, method) in [(1, "GET"), (2, "POST"), (10, "PUT"), (11, "GET")] {
            let attempt = Attempt { network_error: code == 502, attempts, response_code: code, method };
            let allows = predicate.allows_retry(&attempt);
            assert!(attempts <= routing::RETRIES_MAX || !allows, "there is an end");
            for other in same.iter().filter(|other| other.len() <= PREDICATE_BYTES_MAX) {
                // One more parenthesis may be too many.
                if let Ok(other) = Predicate::parse(other) {
                    assert_eq!(other.allows_retry(&attempt), allows, "{other} after {attempt:?}");
                }
            }
        }
    }
}

fn breaker_of(condition: &str) -> Option<Chain> {
    let settings = json!({
        "Condition": condition, "CheckPeriod": 1, "FallbackDuration": 1_000_000_000, "RecoveryDuration": 1_000_000_000,
        "Fallback": { "Type": "response", "Action": { "StatusCode": 503, "Body": "later" } },
    });
    let breaker = Middleware::new("b".into(), 0, "cbreaker".into(), settings).ok()?;
    Chain::new(vec![breaker], None).ok()
}

pub fn breaker(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let same = [format!("({text})"), format!("({text}) && RequestThreshold() >= 0")];
    let Some(chain) = breaker_of(&text) else { return };
    let passed = pass(&chain);
    for other in same.iter().filter_map(|other| breaker_of(other)) {
        assert_eq!(pass(&other), passed);
    }
}

/// Which of a number of requests, answered well and badly, quickly and slowly, a breaker let through.
fn pass(chain: &Chain) -> Vec<bool> {
    let headers: &[(&str, &str)] = &[];
    let request = get(&headers);
    let at = |nanos| Now { nanos, unix_seconds: 1_500_000_000 };
    let mut passed = Vec::new();
    for (number, status) in [200, 502, 500, 504, 200, 200, 503, 200].into_iter().cycle().take(64).enumerate() {
        let begun = at(number as u64 * 150_000_000);
        let through = match chain.before(&request, begun) {
            Decision::Continue(mut passage) => {
                let now = at(begun.nanos + (number as u64 % 5) * 40_000_000);
                let response = Response { status, headers: &headers, body_bytes: Some(2), is_own: false };
                let _edits = passage.response(&response, now);
                let _effects = passage.finish(&Finish::default(), now);
                true
            }
            Decision::Answer(answer) => {
                assert_eq!(answer.status, 503);
                false
            }
            Decision::Ask(asking) => panic!("a breaker asks {:?}", asking.question()),
        };
        passed.push(through);
    }
    passed
}
