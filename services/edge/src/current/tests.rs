use super::*;
use crate::metrics::Metrics;
use routing::{RequestHead, RouteSpec};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

impl Current {
    /// The mutant: admission without its second look.
    fn without_second_look() -> Self {
        Self { skip_second_look: true, ..Self::new() }
    }
}

fn table_with(ports: &[u16], revision: Revision) -> Draft {
    let servers = ports.iter().map(|port| (port.to_string(), format!("http://127.0.0.1:{port}"), 1)).collect();
    let spec = RouteSpec { id: "a".into(), rule: "Host(`a`)".into(), servers, ..RouteSpec::default() };
    let routes = Routes::All(vec![Arc::new(Route::compile(spec).unwrap())]);
    Draft { loaded: true, revision, routes, ..Draft::default() }
}

fn publish(current: &Current, ports: &[u16], revision: Revision) {
    let metrics = Metrics::new(current.servers.clone());
    current.publish(table_with(ports, revision), |route| metrics.of_route(route));
}

fn report(revision: Revision, busy: Vec<(String, u64)>) -> Report {
    Report { cluster_id: 0, revision, busy }
}

fn any_server(snapshot: &Snapshot) -> Result<(usize, Picked), ()> {
    let client = std::net::Ipv4Addr::LOCALHOST.into();
    let head = RequestHead { method: "GET", host: "a", path: "/", query: None, headers: &[], client };
    let picked = snapshot.turns.first().and_then(|turns| turns.pick(&head, |_| true));
    picked.map(|picked| (0, picked)).ok_or(())
}

#[test]
fn a_server_that_left_is_busy_until_its_last_request_ends() {
    let current = Current::new();
    publish(&current, &[1, 2], 10);
    let first = current.admit(any_server).unwrap();
    let left = first.server().url.clone();
    let stays = if left.port() == 1 { 2 } else { 1 };
    publish(&current, &[stays], 11);
    assert_eq!(current.report(), report(11, vec![(left.to_string(), 1)]));
    assert_eq!(current.admit(any_server).unwrap().server().url.port(), stays);
    drop(first);
    assert_eq!(current.report(), report(11, vec![]));
    current.advance(12);
    assert_eq!(current.report(), report(12, vec![]));
}

#[test]
fn changes_of_the_very_first_table_are_put_in_the_order_that_was_asked_for() {
    for (order, expected) in [(Order::Specific, "exact"), (Order::Vulcand, "pattern")] {
        let current = Current::ordered(order);
        let metrics = Metrics::new(current.servers.clone());
        let routes = [("exact", r#"Host("a")"#), ("pattern", r#"PathRegexp("/.*")"#)].map(|(id, rule)| {
            let servers = vec![("s".to_owned(), "http://127.0.0.1:1".to_owned(), 1)];
            let spec = RouteSpec { id: id.into(), rule: rule.into(), servers, ..RouteSpec::default() };
            (id.to_owned(), Some(Arc::new(Route::compile(spec).unwrap())))
        });
        let draft = Draft { routes: Routes::Changed(Changed::from(routes)), ..Draft::default() };
        current.publish(draft, |route| metrics.of_route(route));
        let client = std::net::Ipv4Addr::LOCALHOST.into();
        let head = RequestHead { method: "GET", host: "a", path: "/", query: None, headers: &[], client };
        assert_eq!(current.load().table.find(&head).unwrap().id, expected);
    }
}

#[test]
fn counts_are_kept_across_tables() {
    let current = Current::new();
    publish(&current, &[1], 1);
    let admitted = current.admit(any_server).unwrap();
    publish(&current, &[], 2);
    publish(&current, &[1], 3);
    assert_eq!(current.load().turns[0].servers[0].in_flight(), 1);
    drop(admitted);
    assert_eq!(current.load().turns[0].servers[0].in_flight(), 0);
}

/// Rolls through `rounds` servers under load. Each round lists a new server, waits for the report to say that the old one
/// is drained, and "kills" it. Returns how many requests were admitted to a killed server.
fn roll_under_load(current: &Current, rounds: u16, until_first: bool) -> usize {
    let killed: Vec<AtomicBool> = (0..=rounds).map(|_| AtomicBool::new(false)).collect();
    let (lost, over) = (AtomicU64::new(0), AtomicBool::new(false));
    publish(current, &[1], 1);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(SeqCst) {
                    let admitted = current.admit(|snapshot| {
                        let chosen = any_server(snapshot);
                        // The gap in which a table may be swapped.
                        std::thread::yield_now();
                        chosen
                    });
                    let Ok(admitted) = admitted else { continue };
                    let port = admitted.server().url.port();
                    if killed[usize::from(port)].load(SeqCst) {
                        lost.fetch_add(1, SeqCst);
                    }
                    std::thread::yield_now();
                }
            });
        }
        for port in 2..=rounds {
            publish(current, &[port], Revision::from(port));
            let old = format!("http://127.0.0.1:{}", port - 1);
            let deadline = Instant::now() + Duration::from_secs(10);
            loop {
                let Report { revision, busy, .. } = current.report();
                if revision >= Revision::from(port) && busy.iter().all(|(url, _)| *url != old) {
                    break;
                }
                assert!(Instant::now() < deadline, "{old} never drained");
                std::thread::yield_now();
            }
            killed[usize::from(port - 1)].store(true, SeqCst);
            if until_first && lost.load(SeqCst) > 0 {
                break;
            }
        }
        over.store(true, SeqCst);
    });
    lost.load(SeqCst) as usize
}

#[test]
fn a_server_reported_drained_is_never_reached() {
    assert_eq!(roll_under_load(&Current::new(), 2_000, false), 0);
}

/// The proof that the test above can fail.
#[test]
fn without_the_second_look_a_drained_server_is_reached() {
    assert!(roll_under_load(&Current::without_second_look(), 60_000, true) > 0);
}
