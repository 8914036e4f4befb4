//! Route expressions, and tables of them.

use routing::{EXPRESSION_BYTES_MAX, Explained, Expression, RequestHead, Route, RouteSpec, Table, Verdict};
use std::sync::Arc;

/// Routes of one table: each pair of those that match is tried.
const ROUTES_MAX: usize = 24;

pub const WORDS: &[&str] = &[
    "Host(`a.example`)",
    "Host(\"A\")",
    "HostRegexp(`^a[0-9]+$`)",
    "Path(`/a/<b>`)",
    "Path(\"/<int:n>/<path:p>\")",
    "Path(`/`)",
    "PathPrefix(`/a/`)",
    "PathPrefix(`/<t>/`)",
    "PathRegexp(`/.*`)",
    "Method(`GET`)",
    "Method(`<m>`)",
    "MethodRegexp(`GET|PUT`)",
    "Header(`X-A`, `b/<c>`)",
    "HeaderRegexp(`X-A`, `b$`)",
    "Query(`q`, `1`)",
    "Query(`q`, `<int:n>`)",
    "QueryRegexp(`q`, `^1`)",
    "ClientIP(`10.0.0.0/8`)",
    "ClientIP(`::1`, `192.0.2.0/24`)",
    "Host(",
    "Path(",
    "Header(",
    " && ",
    " || ",
    "!",
    "(",
    ")",
    "`",
    "\"",
    ",",
    "<",
    ">",
    "<int:",
    "<path:",
    "<string:",
    "\\",
    "\\\"",
    "\\x41",
    "\\u00e9",
    "é",
    "/",
    ".",
    ":",
    "\n",
    " ",
    "GET\n",
    "a.example\n",
    "/a/b\n",
    "q=1\n",
    "TrieRoute(`GET`, `/p`)",
    "(?i)",
    "[^/]*",
    "{1,9}",
    "0.0.0.0/0",
    "::/0",
    "/a//b",
    "/%2F",
    "/a/1/2/3",
];

/// Requests that are tried with every expression; the first lines of an input add one.
const REQUESTS: [[&str; 4]; 4] = [
    ["GET", "a.example", "/a/b", "q=1"],
    ["PUT", "A1:8181", "/1/x/y", ""],
    ["GET", "[::1]:80", "/", "q=2&q=1&r"],
    ["POST", "", "/a/", "x"],
];
const HEADERS: [(&str, &str); 2] = [("x-a", "b/c"), ("X-A", "d")];

fn head([method, host, path, query]: [&str; 4]) -> RequestHead<'_> {
    let client = if method == "PUT" { [192, 0, 2, 9].into() } else { [10, 0, 0, 9].into() };
    RequestHead { method, host, path, query: Some(query).filter(|query| !query.is_empty()), headers: &HEADERS, client }
}

/// An input's first four lines as a request, and the rest.
fn split(text: &str) -> ([&str; 4], &str) {
    let mut lines = text.splitn(5, '\n');
    let request = std::array::from_fn(|_| lines.next().unwrap_or_default());
    (request, lines.next().unwrap_or_default())
}

fn route(id: &str, rule: &str) -> Option<Arc<Route>> {
    let spec = RouteSpec { id: id.to_owned(), rule: rule.to_owned(), ..RouteSpec::default() };
    Route::compile(spec).ok().map(Arc::new)
}

pub fn expression(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (request, rest) = split(&text);
    for rule in [&*text, rest] {
        let Ok(expression) = Expression::parse(rule) else { continue };
        let Some(route) = route("r", rule) else { panic!("an expression is no rule: {rule:?}") };
        let table = Table::new([route]);
        for request in REQUESTS.into_iter().chain([request]) {
            let head = head(request);
            let matches = expression.matches(&head);
            assert_eq!(table.find(&head).is_some(), matches, "the table says otherwise of {request:?}");
            let explanation = table.explain(&head);
            assert_eq!(explanation.winner.is_some(), matches, "the explanation says otherwise of {request:?}");
            explained(&explanation.routes[0], &head);
        }
    }
}

/// What an explanation says can be read again, and is so; unless its escapes made it too long for that.
fn explained(explained: &Explained, head: &RequestHead<'_>) {
    let read = |text: &str| Expression::parse(text).unwrap_or_else(|error| panic!("{text} is shown, but {error}"));
    match &explained.verdict {
        Verdict::Wins { matched } | Verdict::Loses { matched, .. } => {
            if matched.len() > EXPRESSION_BYTES_MAX {
                return;
            }
            assert!(read(matched).matches(head), "{matched:?} is said to match");
        }
        Verdict::DoesNotMatch { failing } => {
            for part in failing.iter().filter(|part| part.len() <= EXPRESSION_BYTES_MAX) {
                assert!(!read(part).matches(head), "{part:?} is said not to match");
            }
        }
    }
}

pub fn table(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (request, rest) = split(&text);
    let numbered = rest.lines().take(ROUTES_MAX).enumerate();
    let routes: Vec<Arc<Route>> = numbered.filter_map(|(number, rule)| route(&format!("r{number:02}"), rule)).collect();
    let table = Table::new(routes.clone());
    let one_by_one = routes.iter().rev().fold(Table::default(), |table, route| table.updated([], [route.clone()]));
    let gone = routes.first().map(|route| route.id.as_str());
    let without = table.updated(gone, []);
    let again = without.updated([], routes.first().cloned());
    for request in REQUESTS.into_iter().chain([request]) {
        let head = head(request);
        let id = |table: &Table| table.find(&head).map(|route| route.id.clone());
        let winner = id(&table);
        assert_eq!(table.explain(&head).winner, winner, "the explanation names another for {request:?}");
        assert_eq!((id(&one_by_one), id(&again)), (winner.clone(), winner.clone()), "made step by step, {request:?}");
        let rebuilt = Table::new(routes.iter().skip(1).cloned());
        assert_eq!(id(&without), id(&rebuilt), "a route left, {request:?}");
        let matching: Vec<&Arc<Route>> = routes.iter().filter(|route| route.expression.matches(&head)).collect();
        let Some(winner) = winner else {
            assert!(matching.is_empty(), "{} matches {request:?}", matching[0].expression);
            continue;
        };
        let first = matching.iter().find(|route| route.id == winner).expect("the winner matches");
        for other in &matching {
            let duel = Table::new([Arc::clone(first), Arc::clone(other)]);
            assert_eq!(id(&duel), Some(winner.clone()), "{} against {}", first.expression, other.expression);
        }
    }
}
