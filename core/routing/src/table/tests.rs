mod documented;
mod properties;

use super::*;
use crate::route::RouteSpec;
use std::net::{IpAddr, Ipv4Addr};

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9));

fn route(id: &str, rule: &str, priority: Option<i64>) -> Arc<Route> {
    let spec = RouteSpec { id: id.into(), rule: rule.into(), priority, ..RouteSpec::default() };
    Arc::new(Route::compile(spec).unwrap())
}

/// Routes whose ids are their rules.
fn routes(rules: &[&str]) -> Vec<Arc<Route>> {
    rules.iter().map(|rule| route(rule, rule, None)).collect()
}

fn table(rules: &[&str]) -> Table {
    Table::new(routes(rules))
}

fn head<'a>(method: &'a str, host: &'a str, path: &'a str) -> RequestHead<'a> {
    RequestHead { method, host, path, query: None, headers: &[], client: CLIENT }
}

fn winner<'a>(table: &'a Table, method: &str, host: &str, path: &str) -> Option<&'a str> {
    table.find(&head(method, host, path)).map(|route| route.id.as_str())
}

#[test]
fn the_more_precise_route_wins() {
    let request = RequestHead { query: Some("q=1"), headers: &[("x", "1")], ..head("GET", "a", "/v1") };
    for (first, second) in [
        (r#"Host("a")"#, r#"PathRegexp("/.*")"#),
        (r#"Host("a") && Path("/v1")"#, r#"Host("a") && PathRegexp("/.*")"#),
        (r#"Path("/v1")"#, r#"Path("/<id>")"#),
        (r#"Path("/v1")"#, "Path(`/<id>`)"),
        (r#"Host("a")"#, r#"Host("<any>")"#),
        (r#"Host("<any>")"#, r#"HostRegexp("a|b|c|d")"#),
        (r#"Host("a") && Method("GET")"#, r#"Host("a")"#),
        (r#"Path("/v1")"#, r#"Method("GET")"#),
        (r#"Path("/v<path:rest>")"#, r#"Path("/<path:rest>")"#),
        (r#"PathPrefix("/v")"#, r#"PathPrefix("/")"#),
        (r#"Path("/v<x>")"#, r#"PathPrefix("/v")"#),
        (r#"PathPrefix("/")"#, r#"PathRegexp("^/v1$")"#),
        (r#"Path("/v1") && Header("x", "1")"#, r#"Path("/v1")"#),
        (r#"Path("/v1") && Query("q", "1")"#, r#"Path("/v1") && ClientIP("10.0.0.9")"#),
        (r#"ClientIP("10.0.0.0/16")"#, r#"ClientIP("10.0.0.0/16", "10.0.0.0/8")"#),
        (r#"ClientIP("10.0.0.0/8")"#, r#"!Method("PUT")"#),
        (r#"Host("a") && !Method("PUT")"#, r#"Host("a")"#),
        (r#"Host("a") && Path("/v1")"#, r#"Host("a") || Host("a") && Method("GET")"#),
        (r#"Path("/nowhere") || Host("a")"#, r#"Path("/v1")"#),
    ] {
        let table = table(&[second, first]);
        assert_eq!(table.find(&request).map(|route| route.id.as_str()), Some(first), "before {second}");
        assert_eq!(table.explain(&request).winner.as_deref(), Some(first), "before {second}");
    }
}

#[test]
fn an_explicit_priority_goes_before_all_else() {
    let exact = route("exact", r#"Host("a") && Path("/")"#, None);
    let wide = route("wide", r#"PathRegexp(".*")"#, Some(1));
    let last = route("last", r#"Host("a") && Path("/") && Method("GET")"#, Some(-1));
    let table = Table::new([last, exact, wide]);
    let order: Vec<_> = table.in_order().into_iter().map(|position| table.routes()[position].id.as_str()).collect();
    assert_eq!(order, ["wide", "exact", "last"]);
    assert_eq!(winner(&table, "GET", "a", "/"), Some("wide"));
}

#[test]
fn of_alternatives_the_one_that_matches_decides() {
    let either = r#"Host("a") || PathPrefix("/")"#;
    let middle = r#"PathPrefix("/x")"#;
    let table = table(&[either, middle]);
    assert_eq!(winner(&table, "GET", "a", "/x"), Some(either), "by its exact host");
    assert_eq!(winner(&table, "GET", "b", "/x"), Some(middle), "an exact host elsewhere counts for nothing");
    assert_eq!(winner(&table, "GET", "b", "/y"), Some(either));
}

/// The cases that users of vulcand complained of, and that some may rely on.
#[test]
fn vulcands_order_is_the_reverse_alphabetical_order_of_texts() {
    for (first, second) in [
        (r#"PathRegexp("/.*")"#, r#"Host("a")"#),
        (r#"Host("a") && PathRegexp("/.*")"#, r#"Host("a") && Path("/v1")"#),
        (r#"Path("/foo")"#, r#"Path("/<a>")"#),
        (r#"Path("/<id>")"#, r#"Path("/1")"#),
        ("Path(`/<id>`)", r#"Path("/foo")"#),
    ] {
        let path = if second.contains("/1") {
            "/1"
        } else if second.contains("v1") {
            "/v1"
        } else {
            "/foo"
        };
        let table = Table::ordered(Order::Vulcand, routes(&[second, first]));
        assert_eq!(winner(&table, "GET", "a", path), Some(first), "before {second}");
        let explanation = table.explain(&head("GET", "a", path));
        let because = "its text comes later in alphabetical order".to_owned();
        assert!(
            matches!(&explanation.routes[1].verdict, Verdict::Loses { because: reason, .. } if *reason == because),
            "{explanation:?}"
        );
    }
    let priority = route("exact", r#"Host("a")"#, Some(1));
    let table = Table::ordered(Order::Vulcand, [priority, route("z", r#"PathRegexp("/.*")"#, None)]);
    assert_eq!(winner(&table, "GET", "a", "/"), Some("exact"));
}

/// vulcand merges these two and answers 404 to the first.
#[test]
fn vulcands_merge_bug_is_not_here() {
    let path = r#"Host("a.com") && Path("/x")"#;
    let method = r#"Host("a.com") && Method("POST")"#;
    for order in [Order::Specific, Order::Vulcand] {
        let table = Table::ordered(order, routes(&[path, method]));
        assert_eq!(winner(&table, "GET", "a.com", "/x"), Some(path));
        assert_eq!(winner(&table, "POST", "a.com", "/y"), Some(method));
        assert_eq!(winner(&table, "GET", "a.com", "/y"), None);
    }
}

#[test]
fn two_routes_with_the_same_rule_live_side_by_side() {
    let both = Table::new([route("b", r#"Host("x")"#, None), route("a", r#"Host("x")"#, None)]);
    assert_eq!(winner(&both, "GET", "x", "/"), Some("a"));
    assert_eq!(winner(&both.updated(["a"], []), "GET", "x", "/"), Some("b"));
    assert_eq!(winner(&both.updated(["b"], []), "GET", "x", "/"), Some("a"));
}

#[test]
fn what_did_not_change_keeps_its_position() {
    let table =
        Table::new([route("a", "Host(`a`)", None), route("b", "Host(`b`)", None), route("c", "Host(`c`)", None)]);
    let position = |table: &Table, id| table.position(id);
    assert_eq!([0, 1, 2].map(Some), ["a", "b", "c"].map(|id| position(&table, id)));
    let table = table.updated(["nobody"], [route("b", "Host(`b2`)", None), route("aa", "Host(`aa`)", None)]);
    assert_eq!([0, 1, 2, 3].map(Some), ["a", "b", "c", "aa"].map(|id| position(&table, id)));
    assert_eq!((winner(&table, "GET", "b", "/"), winner(&table, "GET", "b2", "/")), (None, Some("b")));
    let table = table.updated(["a"], []);
    assert_eq!([None, Some(1), Some(2), Some(0)], ["a", "b", "c", "aa"].map(|id| position(&table, id)));
    assert_eq!((winner(&table, "GET", "a", "/"), winner(&table, "GET", "aa", "/")), (None, Some("aa")));
}

#[test]
fn an_explanation_says_who_lost_and_why() {
    let either = r#"Host("b") && !Method("GET") || !Host("a")"#;
    let refusing = RouteSpec {
        id: "r".into(),
        rule: r#"PathRegexp("/")"#.into(),
        priority: Some(0),
        refuse: Some("no middleware".into()),
        ..RouteSpec::default()
    };
    let refusing = Arc::new(Route::compile(refusing).unwrap());
    let table = Table::new(routes(&[r#"Host("a")"#, r#"Host("b")"#, either]).into_iter().chain([refusing]));
    let explanation = table.explain(&head("GET", "a:80", "/"));
    assert_eq!(
        serde_json::to_value(&explanation).unwrap(),
        serde_json::json!({
            "winner": r#"Host("a")"#,
            "routes": [
                {
                    "route": r#"Host("a")"#, "rule": r#"Host("a")"#,
                    "verdict": "wins", "matched": r#"Host("a")"#, "reason": r#"Host("a") matches"#,
                },
                {
                    "route": "r", "rule": r#"PathRegexp("/")"#, "priority": 0, "refuses": "no middleware",
                    "verdict": "loses", "matched": r#"PathRegexp("/")"#,
                    "by": r#"Host("a")"#, "because": "its host is more precise",
                    "reason": r#"Host("a") goes first: its host is more precise"#,
                },
                {
                    "route": either, "rule": either,
                    "verdict": "does_not_match", "failing": [r#"Host("b")"#, r#"!Host("a")"#],
                    "reason": r#"of no alternative all holds: not Host("b"), not !Host("a")"#,
                },
                {
                    "route": r#"Host("b")"#, "rule": r#"Host("b")"#,
                    "verdict": "does_not_match", "failing": [r#"Host("b")"#],
                    "reason": r#"Host("b") does not hold"#,
                },
            ],
        })
    );
    let text = serde_json::to_string(&explanation).unwrap();
    assert_eq!(serde_json::from_str::<Explanation>(&text).unwrap(), explanation);
}

/// The promise that of ten thousand routes as few are tried as of ten.
#[test]
fn of_ten_thousand_routes_a_request_tries_few() {
    type Rule = fn(usize) -> String;
    let shapes: [(Rule, &str, &str); 10] = [
        (|n| format!("Host(`h{n}.example`)"), "h7.example", "/"),
        (|n| format!("Host(`<bucket>.s{n}.example`)"), "x.s7.example", "/"),
        (|n| format!("Host(`a`) && Path(`/p{n}`)"), "a", "/p7"),
        (|n| format!("Host(`a`) && PathPrefix(`/t{n}/`)"), "a", "/t7/x"),
        (|n| format!("Path(`/<tenant>/s{n}/<path:p>`)"), "a", "/x/s7/y"),
        (|n| format!("Host(`h{n}`) && PathRegexp(`^/x`) || Host(`g{n}`)"), "h7", "/x"),
        (|n| format!("Host(`h{n}`) && !Method(`PUT`)"), "h7", "/"),
        (|n| format!("Host(`a`) && Header(`X-Tenant`, `t{n}`)"), "a", "/"),
        (|n| format!("PathPrefix(`/`) && Query(`tenant`, `t{n}<path:rest>`) && Method(`GET`)"), "a", "/"),
        (|n| format!("Method(`GET`) || Host(`a`) && Path(`/p`) && Query(`tenant`, `t{n}`)"), "a", "/p"),
    ];
    for (rule, host, path) in shapes {
        let tried = |count: usize| {
            let table = Table::new((0..count).map(|number| route(&number.to_string(), &rule(number), None)));
            let head =
                RequestHead { query: Some("tenant=t7"), headers: &[("x-tenant", "t7")], ..head("GET", host, path) };
            assert_eq!(table.find(&head).map(|route| route.id.as_str()), Some("7"), "{}", rule(7));
            table.index.find(&head, host).tried
        };
        assert_eq!((tried(10), tried(10_000)), (1, 1), "{}", rule(7));
    }
}

/// Regexps without a host are tried one by one, but only those that go before what was found.
#[test]
fn what_cannot_win_is_not_tried() {
    let regexps = (0..1000).map(|number| route(&number.to_string(), "PathRegexp(`/`)", None));
    let table = Table::new(regexps.chain([route("exact", "Host(`a`)", None)]));
    assert_eq!(table.index.find(&head("GET", "a", "/"), "a").tried, 1);
}

/// Each prefix of one text: the deepest tree there can be. It is built, walked and dropped on a thread's usual stack.
#[test]
fn the_deepest_tree_fits_on_the_stack() {
    let longest = format!("/{}", "a".repeat(1023));
    let prefixes =
        (1..=longest.len()).map(|end| route(&end.to_string(), &format!("PathPrefix(`{}`)", &longest[..end]), None));
    let full = Table::new(prefixes);
    assert_eq!(winner(&full, "GET", "", &longest), Some("1024"));
    assert_eq!(winner(&full, "GET", "", &longest[..512]), Some("512"));
    let emptied = full.rebuilt(&[]);
    assert_eq!(winner(&emptied, "GET", "", &longest), None);
    assert_eq!(winner(&full, "GET", "", &longest), Some("1024"));
}
