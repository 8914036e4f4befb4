//! The lookup against a naive reference, over random tables, changes and requests.

use super::*;
use proptest::prelude::*;

fn any_rule() -> impl Strategy<Value = String> {
    let matcher = proptest::sample::select(vec![
        "Host(`a`)",
        "Host(`b`)",
        "Host(`<x>.b`)",
        "Host(`c.<path:y>`)",
        "HostRegexp(`a`)",
        "Path(`/`)",
        "Path(`/<x>`)",
        "Path(`/x<int:n>`)",
        "Path(`/x/<path:y>`)",
        "PathPrefix(`/x`)",
        "PathRegexp(`x`)",
        "Method(`GET`)",
        "Method(`POST`)",
        "Header(`H`, `1`)",
        "Query(`q`, `<int:n>`)",
        "ClientIP(`10.0.0.0/8`)",
    ]);
    let term = (any::<bool>(), matcher).prop_map(|(not, matcher)| format!("{}{matcher}", if not { "!" } else { "" }));
    let operator = proptest::sample::select(vec![" && ", " && ", " || "]);
    let rest = proptest::collection::vec((operator, term.clone()), 0..3);
    (term, rest).prop_map(|(first, rest)| {
        rest.into_iter().fold(first, |text, (operator, term)| format!("{text}{operator}{term}"))
    })
}

fn any_routes() -> impl Strategy<Value = Vec<Arc<Route>>> {
    let rule = (0..12u8, any_rule(), proptest::option::of(-1i64..2));
    proptest::collection::vec(rule, 0..16).prop_map(|rules| {
        let routes = rules.into_iter().map(|(id, rule, priority)| (id, route(&id.to_string(), &rule, priority)));
        BTreeMap::from_iter(routes).into_values().collect()
    })
}

#[derive(Clone, Debug)]
struct Request {
    method: &'static str,
    host: &'static str,
    path: &'static str,
    query: Option<&'static str>,
    header: Option<[(&'static str, &'static str); 1]>,
    client: &'static str,
}

fn any_request() -> impl Strategy<Value = Request> {
    (
        proptest::sample::select(vec!["GET", "POST"]),
        proptest::sample::select(vec!["a", "b", "A:80", "c.b", "c.", ""]),
        proptest::sample::select(vec!["/", "/x", "/x1", "/x/y", "/z", ""]),
        proptest::option::of(proptest::sample::select(vec!["q=1", "q=x"])),
        proptest::option::of(Just([("h", "1")])),
        proptest::sample::select(vec!["10.0.0.9", "::1"]),
    )
        .prop_map(|(method, host, path, query, header, client)| Request {
            method,
            host,
            path,
            query,
            header,
            client,
        })
}

impl Request {
    fn show<T>(&self, see: impl FnOnce(&RequestHead<'_>) -> T) -> T {
        let Self { method, host, path, query, .. } = *self;
        let client = self.client.parse().unwrap();
        let none: [(&str, &str); 0] = [];
        match &self.header {
            Some(header) => see(&RequestHead { method, host, path, query, headers: header, client }),
            None => see(&RequestHead { method, host, path, query, headers: &none, client }),
        }
    }
}

/// Tries every alternative of every route.
fn naive(table: &Table, head: &RequestHead<'_>) -> Option<usize> {
    let mut buffer = HostBuffer::new();
    let host_name = head.host_name(&mut buffer);
    let matching = table.routes.iter().enumerate().flat_map(|(position, route)| {
        let id: Arc<str> = route.id.as_str().into();
        let alternatives = route.expression.alternatives().iter();
        let matching = alternatives.filter(|alternative| alternative.matches(head, host_name));
        matching.map(move |alternative| (Rank::of(route, alternative, table.order, &id), position))
    });
    matching.min().map(|(_, position)| position)
}

fn check(table: &Table, requests: &[Request]) -> Result<(), TestCaseError> {
    for request in requests {
        let (found, expected, explained) =
            request.show(|head| (table.find_position(head), naive(table, head), table.explain(head).winner));
        prop_assert_eq!(found, expected);
        prop_assert_eq!(explained.and_then(|id| table.position(&id)), found);
    }
    Ok(())
}

fn any_order() -> impl Strategy<Value = Order> {
    proptest::sample::select(vec![Order::Specific, Order::Vulcand])
}

proptest! {
    #[test]
    fn find_equals_the_naive_reference(
        order in any_order(),
        routes in any_routes(),
        requests in proptest::collection::vec(any_request(), 1..8),
    ) {
        check(&Table::ordered(order, routes), &requests)?;
    }

    /// A table made by changes is the table made at once, and the one it came from is untouched.
    #[test]
    fn a_changed_table_is_the_table_of_its_routes(
        order in any_order(),
        steps in proptest::collection::vec(any_routes(), 1..5),
        requests in proptest::collection::vec(any_request(), 1..8),
    ) {
        let mut table = Table::ordered(order, []);
        for routes in &steps {
            let before = table.clone();
            let kept = before.routes.iter().filter(|route| route.id.len() > 1).cloned();
            let routes: Vec<_> = Table::new(kept.chain(routes.iter().cloned())).routes;
            table = before.rebuilt(&routes);
            let ids = |routes: &[Arc<Route>]| {
                let mut ids: Vec<_> = routes.iter().map(|route| (route.id.clone(), Arc::as_ptr(route))).collect();
                ids.sort();
                ids
            };
            prop_assert_eq!(ids(&table.routes), ids(&routes));
            check(&table, &requests)?;
            check(&before, &requests)?;
        }
        let emptied = table.rebuilt(&[]);
        prop_assert_eq!(emptied.routes.len(), 0);
        check(&emptied, &requests)?;
    }
}
