//! What middlewares cost: nanoseconds per exchange (request, response, end) for each kind alone.
//!
//! `cargo run --release -p middleware --example cost`

use middleware::{Chain, Decision, Finish, Middleware, Now, Reply, Request, Response};
use serde_json::{Value, json};
use std::hint::black_box;
use std::time::Instant;

/// Each figure is the least of so many rounds: what others do on the machine only adds.
const ROUNDS: usize = 15;
const EXCHANGES_PER_ROUND: u64 = 100_000;

fn main() {
    println!("{:<14}{:>8}", "chain", "ns");
    println!("{:<14}{:>8}", "empty", least_nanos(&Chain::default()));
    for (kind, settings) in kinds() {
        let read = Middleware::new("m".into(), 0, kind.into(), settings).expect("settings of this example are right");
        println!("{kind:<14}{:>8}", least_nanos(&Chain::new(vec![read], None).expect("one is not too many")));
    }
}

fn kinds() -> Vec<(&'static str, Value)> {
    let limit = json!({"PeriodSeconds": 1, "Requests": 1_000_000_000, "Variable": "client.ip"});
    let breaker = json!({"Condition": "NetworkErrorRatio() > 0.5 || LatencyAtQuantileMS(99.0) > 500",
        "Fallback": {"Type": "response", "Action": {"StatusCode": 503}}});
    vec![
        ("ratelimit", limit),
        ("connlimit", json!({"Connections": 10, "Variable": "client.ip"})),
        ("cbreaker", breaker),
        ("rewrite", json!({"Regexp": "^http://[^/]+/api/(.*)$", "Replacement": "/v1/$1"})),
        ("trace", json!({"Addr": "syslog://", "ReqHeaders": ["User-Agent"]})),
        ("iplist", json!({"Allow": ["10.0.0.0/8", "192.0.2.0/24"]})),
        ("basicauth", json!({"Users": ["ann:{PLAIN}secret"], "UserHeader": "X-User"})),
        ("headers", json!({"Response": {"Set": {"X-A": "b"}, "Remove": ["Server"]}})),
        ("cors", json!({"AllowOrigins": ["https://a.example"]})),
        ("compress", json!({})),
        ("redirect", json!({"Scheme": "http"})),
        ("bodylimit", json!({"MaxRequestBytes": 1000})),
        ("timeouts", json!({"Dial": "1s"})),
    ]
}

fn least_nanos(chain: &Chain) -> u64 {
    (0..ROUNDS).map(|round| nanos_per_exchange(chain, round as u64)).min().unwrap_or(0)
}

fn nanos_per_exchange(chain: &Chain, round: u64) -> u64 {
    let began = Instant::now();
    for n in 0..EXCHANGES_PER_ROUND {
        let nanos = (round * EXCHANGES_PER_ROUND + n) * 10_000;
        exchange(chain, Now { nanos, unix_seconds: nanos / 1_000_000_000 });
    }
    began.elapsed().as_nanos() as u64 / EXCHANGES_PER_ROUND
}

fn exchange(chain: &Chain, now: Now) {
    let asked = [
        ("Host", "a.example"),
        ("User-Agent", "curl/7.88.1"),
        ("Accept", "*/*"),
        ("Accept-Encoding", "gzip, deflate, br"),
        ("Authorization", "Basic YW5uOnNlY3JldA=="),
    ];
    let request = Request {
        method: "GET",
        scheme: "http",
        host: "a.example",
        target: "/api/things?n=1",
        client: [192, 0, 2, 7].into(),
        headers: &asked,
        body_bytes: Some(0),
        tls: None,
    };
    let mut decision = chain.before(black_box(&request), now);
    if let Decision::Ask(asking) = decision {
        decision = asking.resume(Reply::Verified(true), &request, now);
    }
    let Decision::Continue(mut passage) = decision else { unreachable!("settings of this example let all pass") };
    let answered = [("Content-Type", "application/json"), ("Server", "x"), ("Content-Length", "5000")];
    let response = Response { status: 200, headers: &answered, body_bytes: Some(5000), is_own: false };
    black_box(passage.response(black_box(&response), now));
    black_box(passage.finish(&Finish::default(), now));
}
