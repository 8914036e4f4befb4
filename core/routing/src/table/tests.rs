use super::*;
use crate::route::RouteSpec;
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr};

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9));

fn route(id: &str, rule: &str, priority: Option<i64>) -> Arc<Route> {
    let spec = RouteSpec { id: id.into(), rule: rule.into(), priority, ..RouteSpec::default() };
    Arc::new(Route::compile(spec).unwrap())
}

fn table(rules: &[&str]) -> Table {
    Table::new(rules.iter().map(|rule| route(rule, rule, None)))
}

fn head<'a>(method: &'a str, host: &'a str, path: &'a str) -> RequestHead<'a> {
    RequestHead { method, host, path, query: None, headers: &[], client: CLIENT }
}

fn winner<'a>(table: &'a Table, method: &str, host: &str, path: &str) -> Option<&'a str> {
    table.find(&head(method, host, path)).map(|route| route.id.as_str())
}

#[test]
fn the_more_precise_route_wins() {
    for (first, second) in [
        (r#"Host("a")"#, r#"PathRegexp("/.*")"#),
        (r#"Host("a") && Path("/v1")"#, r#"Host("a") && PathRegexp("/.*")"#),
        (r#"Path("/v1")"#, r#"Path("/<id>")"#),
        (r#"Path("/v1")"#, "Path(`/<id>`)"),
        (r#"Host("a")"#, r#"HostRegexp("a|b|c|d")"#),
        (r#"Host("a") && Method("GET")"#, r#"Host("a")"#),
        (r#"Path("/v1")"#, r#"Method("GET")"#),
        (r#"Path("/v<path:rest>")"#, r#"Path("/<path:rest>")"#),
    ] {
        assert_eq!(winner(&table(&[second, first]), "GET", "a", "/v1"), Some(first));
    }
}

#[test]
fn an_explicit_priority_goes_before_all_else() {
    let exact = route("exact", r#"Host("a") && Path("/")"#, None);
    let wide = route("wide", r#"PathRegexp(".*")"#, Some(1));
    let last = route("last", r#"Host("a") && Path("/") && Method("GET")"#, Some(-1));
    let table = Table::new([last, exact, wide]);
    let order: Vec<_> = table.routes().iter().map(|route| route.id.as_str()).collect();
    assert_eq!(order, ["wide", "exact", "last"]);
    assert_eq!(winner(&table, "GET", "a", "/"), Some("wide"));
}

/// vulcand merges these two and answers 404 to the first.
#[test]
fn vulcands_merge_bug_is_not_here() {
    let path = r#"Host("a.com") && Path("/x")"#;
    let method = r#"Host("a.com") && Method("POST")"#;
    let table = table(&[path, method]);
    assert_eq!(winner(&table, "GET", "a.com", "/x"), Some(path));
    assert_eq!(winner(&table, "POST", "a.com", "/y"), Some(method));
    assert_eq!(winner(&table, "GET", "a.com", "/y"), None);
}

#[test]
fn two_routes_with_the_same_rule_live_side_by_side() {
    let both = Table::new([route("b", r#"Host("x")"#, None), route("a", r#"Host("x")"#, None)]);
    assert_eq!(winner(&both, "GET", "x", "/"), Some("a"));
    let one = Table::new([route("b", r#"Host("x")"#, None)]);
    assert_eq!(winner(&one, "GET", "x", "/"), Some("b"));
}

#[test]
fn an_explanation_says_who_lost_and_why() {
    let table = table(&[r#"Host("a")"#, r#"PathRegexp("/")"#, r#"Host("b")"#]);
    let explanation = table.explain(&head("GET", "a:80", "/"));
    assert_eq!(explanation.winner.as_deref(), Some(r#"Host("a")"#));
    assert_eq!(
        explanation.routes,
        [
            (r#"Host("a")"#.to_owned(), Verdict::Wins),
            (r#"Host("b")"#.to_owned(), Verdict::DoesNotMatch { matcher: r#"Host("b")"#.into() }),
            (
                r#"PathRegexp("/")"#.to_owned(),
                Verdict::Loses { by: r#"Host("a")"#.into(), because: "its host is more precise" }
            ),
        ]
    );
}

fn any_rule() -> impl Strategy<Value = String> {
    let matcher = proptest::sample::select(vec![
        "Host(`a`)",
        "Host(`b`)",
        "Host(`<x>.b`)",
        "HostRegexp(`a`)",
        "Path(`/`)",
        "Path(`/<x>`)",
        "Path(`/x/<path:y>`)",
        "PathRegexp(`x`)",
        "Method(`GET`)",
        "Method(`POST`)",
        "Header(`H`, `1`)",
    ]);
    proptest::collection::vec(matcher, 1..4).prop_map(|matchers| matchers.join(" && "))
}

proptest! {
    /// The lookup by host finds what trying every route in order finds, and the explanation agrees.
    #[test]
    fn find_equals_the_naive_reference(
        rules in proptest::collection::vec((any_rule(), proptest::option::of(-1i64..2)), 0..20),
        host in proptest::sample::select(vec!["a", "b", "A:80", "c.b", ""]),
        path in proptest::sample::select(vec!["/", "/x", "/x/y", "/z"]),
        method in proptest::sample::select(vec!["GET", "POST"]),
        header in proptest::option::of(Just([("h", "1")])),
    ) {
        let routes = rules.iter().enumerate().map(|(id, (rule, priority))| route(&id.to_string(), rule, *priority));
        let table = Table::new(routes);
        let none: [(&str, &str); 0] = [];
        let head = match &header {
            Some(header) => RequestHead { method, host, path, query: None, headers: header, client: CLIENT },
            None => RequestHead { method, host, path, query: None, headers: &none, client: CLIENT },
        };
        let naive = table.routes().iter().find(|route| route.expression.matches(&head)).map(|route| route.id.clone());
        prop_assert_eq!(table.find(&head).map(|route| route.id.clone()), naive.clone());
        prop_assert_eq!(table.explain(&head).winner, naive);
    }
}
