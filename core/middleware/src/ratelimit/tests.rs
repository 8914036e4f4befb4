//! What oxy's limiter tests say, and what is ours.

use crate::testing::{answer_at, at, chain, field, refusal, request};
use crate::{Chain, Middleware, Now};
use serde_json::{Value, json};

fn by_source() -> Value {
    json!({"PeriodSeconds": 1, "Requests": 1, "Burst": 1, "Variable": "request.header.Source"})
}

fn with_rates() -> Value {
    json!({"PeriodSeconds": 1, "Requests": 1, "Burst": 1, "Variable": "client.ip",
        "RateVar": "request.header.X-Rates"})
}

fn status(chain: &Chain, headers: &[(&str, &str)], now: Now) -> u16 {
    answer_at(chain, &request("GET", "/", &headers), now).map_or(200, |answer| answer.status)
}

#[test]
fn a_key_that_hit_its_limit_goes_on_a_period_later() {
    let chain = chain("ratelimit", by_source());
    let source = [("Source", "a")];
    assert_eq!(status(&chain, &source, at(0)), 200);
    let refused = answer_at(&chain, &request("GET", "/", &source), at(0)).unwrap();
    assert_eq!((refused.status, refused.body.as_slice()), (429, b"max rate reached: retry-in 1s".as_slice()));
    assert_eq!((field(&refused, "x-retry-in"), field(&refused, "Retry-After")), (Some("1s"), Some("1")));
    assert_eq!(status(&chain, &source, at(1)), 200);
    assert_eq!(status(&chain, &source, at(1)), 429);
    assert_eq!(status(&chain, &source, at(24 * 3600)), 200);
}

#[test]
fn keys_are_limited_apart() {
    let chain = chain("ratelimit", by_source());
    assert_eq!(status(&chain, &[("Source", "a")], at(0)), 200);
    assert_eq!(status(&chain, &[("source", "a")], at(0)), 429);
    assert_eq!(status(&chain, &[("Source", "b")], at(0)), 200);
}

#[test]
fn ipv6_clients_have_buckets_of_their_own() {
    let settings = json!({"PeriodSeconds": 1, "Requests": 1, "Burst": 1, "Variable": "client.ip"});
    let chain = chain("ratelimit", settings);
    let status = |client: &str| {
        let request =
            crate::Request { client: client.parse().unwrap(), ..request("GET", "/", &[] as &[(&str, &str); 0]) };
        answer_at(&chain, &request, at(0)).map_or(200, |answer| answer.status)
    };
    assert_eq!([status("2001:db8::1"), status("2001:db8::2"), status("2001:db8::1")], [200, 200, 429]);
    assert_eq!([status("192.0.2.1"), status("::ffff:192.0.2.1")], [200, 429]);
}

#[test]
fn a_request_may_bring_its_rates() {
    let chain = chain("ratelimit", with_rates());
    let rates = r#"[{"PeriodSeconds":1,"Requests":2,"Burst":2},{"PeriodSeconds":60,"requests":10}]"#;
    let rates = [("X-Rates", rates)];
    let seen: Vec<u16> = (0..3).map(|_| status(&chain, &rates, at(0))).collect();
    assert_eq!(seen, [200, 200, 429]);
    assert_eq!(status(&chain, &rates, at(1)), 200);
}

#[test]
fn rates_that_make_no_sense_leave_the_middlewares_own() {
    for rates in ["", "[]", "nonsense", "{}", r#"[{"PeriodSeconds":0,"Requests":9}]"#, r#"[{"PeriodSeconds":1}]"#] {
        let chain = chain("ratelimit", with_rates());
        let headers = [("X-Rates", rates)];
        assert_eq!(status(&chain, &headers, at(0)), 200, "{rates}");
        assert_eq!(status(&chain, &headers, at(0)), 429, "{rates}");
    }
}

#[test]
fn no_burst_means_as_many_as_the_rate() {
    let chain = chain("ratelimit", json!({"PeriodSeconds": 1, "Requests": 3, "Variable": "client.ip"}));
    let seen: Vec<u16> = (0..4).map(|_| status(&chain, &[], at(0))).collect();
    assert_eq!(seen, [200, 200, 200, 429]);
}

#[test]
fn wrong_settings_are_refused_by_name() {
    for (settings, field) in [
        (json!({"PeriodSeconds": 0, "Requests": 1, "Variable": "client.ip"}), "PeriodSeconds"),
        (json!({"PeriodSeconds": 1, "Requests": 0, "Variable": "client.ip"}), "Requests"),
        (json!({"PeriodSeconds": 1, "Requests": 1, "Burst": -1, "Variable": "client.ip"}), "Burst"),
        (json!({"PeriodSeconds": 1, "Requests": 1}), "Variable"),
        (json!({"PeriodSeconds": 1, "Requests": 1, "Variable": "client.ipp"}), "Variable"),
        (json!({"PeriodSeconds": "1", "Requests": 1, "Variable": "client.ip"}), "PeriodSeconds"),
        (json!({"PeriodSeconds": 1, "Requests": 1, "Variable": "client.ip", "RateVar": "client.ip"}), "RateVar"),
    ] {
        assert!(refusal("ratelimit", settings.clone()).starts_with(field), "{settings}");
    }
}

#[test]
fn buckets_outlive_a_change_of_other_middlewares_and_of_priority_but_not_of_their_own_settings() {
    let limit = |priority, burst| {
        let settings = json!({"PeriodSeconds": 60, "Requests": 1, "Burst": burst, "Variable": "client.ip"});
        Middleware::new("rl1".into(), priority, "ratelimit".into(), settings).unwrap()
    };
    let other = Middleware::new("h1".into(), 1, "headers".into(), json!({})).unwrap();
    let first = Chain::new(vec![limit(0, 1)], None).unwrap();
    assert_eq!(status(&first, &[], at(0)), 200);
    let second = Chain::new(vec![other, limit(2, 1)], Some(&first)).unwrap();
    assert_eq!(status(&second, &[], at(0)), 429);
    let third = Chain::new(vec![limit(2, 2)], Some(&second)).unwrap();
    assert_eq!(status(&third, &[], at(0)), 200);
}
