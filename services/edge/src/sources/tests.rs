//! From the store to the table that serves.

use super::*;
use crate::certificates::Keeper;
use crate::challenges::Challenges;
use crate::current::{Current, Draft, Snapshot};
use bytes::Bytes;
use std::time::{Duration, Instant};
use store::{Embedded, Operation, TxnRequest};

const BACKEND: &str = r#"{"Type":"http"}"#;
/// How long a table may take on a busy machine, before a test fails.
const DEADLINE: Duration = Duration::from_secs(30);

/// A store, and what follows it.
struct House {
    store: Arc<dyn Store>,
    current: Arc<Current>,
    _tasks: JoinSet<()>,
    _directory: tempfile::TempDir,
}

impl House {
    /// With these keys from the start.
    async fn new(keys: &[(String, String)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(Embedded::open(directory.path().to_owned()).await.unwrap());
        let current = Arc::new(Current::new());
        let metrics = Arc::new(Metrics::new(current.servers.clone()));
        let mut house = Self { store, current, _tasks: JoinSet::new(), _directory: directory };
        for keys in keys.chunks(store::TXN_OPERATIONS_MAX) {
            house.write(keys.iter().map(|(key, value)| put(key, value))).await;
        }
        let (contact, tasks) = (Arc::new(Contact::new()), &mut house._tasks);
        let updates = watch_all(&house.store, &metrics, &contact, [false; Source::ALL.len()], &Stop::new(), tasks);
        let challenges = Arc::new(Challenges::new(None));
        let assembler = Assembler::new(house.current.clone(), metrics, Keeper::new(None), Arc::default(), challenges);
        tasks.spawn(assembler.run(updates));
        house.until(|snapshot| snapshot.loaded).await;
        house
    }

    /// In one transaction.
    async fn write(&self, operations: impl IntoIterator<Item = Operation>) {
        let success = operations.into_iter().collect();
        self.store.txn(TxnRequest { success, ..TxnRequest::default() }).await.unwrap();
    }

    /// The first table of which something is true.
    async fn until(&self, is_so: impl Fn(&Snapshot) -> bool) -> Arc<Snapshot> {
        let mut changes = self.current.changes();
        let found = async {
            loop {
                let snapshot = self.current.load();
                if is_so(&snapshot) {
                    return snapshot;
                }
                changes.changed().await.unwrap();
            }
        };
        tokio::time::timeout(DEADLINE, found).await.expect("the table was never so")
    }
}

fn put(key: &str, value: &str) -> Operation {
    Operation::put(key.to_owned(), Bytes::from(value.to_owned()))
}

fn frontend(backend: &str, host: &str) -> String {
    format!(r#"{{"Type":"http","BackendId":"{backend}","Route":"Host(`{host}`)"}}"#)
}

fn server(port: usize) -> String {
    format!(r#"{{"URL":"http://127.0.0.1:{port}"}}"#)
}

/// Frontends with a backend and a server each.
fn frontends(count: usize) -> Vec<(String, String)> {
    let keys = |number: usize| {
        let backend = format!("b{number}");
        [
            (format!("/vulcand/backends/{backend}/backend"), BACKEND.to_owned()),
            (format!("/vulcand/backends/{backend}/servers/s"), server(1 + number)),
            (format!("/vulcand/frontends/f{number}/frontend"), frontend(&backend, &format!("h{number}"))),
        ]
    };
    (0..count).flat_map(keys).collect()
}

fn rule<'a>(snapshot: &'a Snapshot, id: &str) -> Option<&'a str> {
    let position = snapshot.table.position(&format!("{id}@vulcand"))?;
    Some(snapshot.table.routes()[position].expression.as_str())
}

fn ports(snapshot: &Snapshot, id: &str) -> Vec<u16> {
    let position = snapshot.table.position(&format!("{id}@vulcand"));
    position
        .iter()
        .flat_map(|position| snapshot.turns[*position].servers.iter())
        .map(|server| server.url.port())
        .collect()
}

#[tokio::test]
async fn keys_of_one_transaction_take_effect_together() {
    let house = House::new(&frontends(20)).await;
    let first = house.until(|snapshot| snapshot.table.routes().len() == 20).await.number();
    for round in 0..20 {
        let (host, gone) = (format!("other{round}"), format!("f{}", 3 + round % 2));
        let (back, port) = (format!("f{}", 4 - round % 2), 100 + round);
        house
            .write([
                put("/vulcand/backends/b1/servers/s", &server(port)),
                put("/vulcand/frontends/f2/frontend", &frontend("b2", &host)),
                put(&format!("/vulcand/frontends/{back}/frontend"), &frontend("b1", "back")),
                Operation::delete(format!("/vulcand/frontends/{gone}/frontend")),
            ])
            .await;
        let after = house.until(|snapshot| snapshot.number() > first + round as u64).await;
        assert_eq!(after.number(), first + 1 + round as u64, "one table for one transaction");
        assert_eq!((ports(&after, "f1"), ports(&after, &back)), (vec![port as u16], vec![port as u16]));
        assert_eq!(rule(&after, "f2"), Some(format!("Host(`{host}`)").as_str()));
        assert_eq!((rule(&after, &back), rule(&after, &gone)), (Some("Host(`back`)"), None));
    }
}

#[tokio::test]
async fn a_frontend_whose_backend_comes_later_works_then_and_an_invalid_value_changes_nothing() {
    let house = House::new(&[]).await;
    house.write([put("/vulcand/frontends/f/frontend", &frontend("b", "a"))]).await;
    let before = house.until(|snapshot| rule(snapshot, "f").is_some()).await;
    assert!(ports(&before, "f").is_empty() && before.problems[0].message.contains("no backend"));
    house.write([put("/vulcand/backends/b/servers/s", &server(7))]).await;
    house.write([put("/vulcand/backends/b/backend", BACKEND)]).await;
    let after = house.until(|snapshot| snapshot.problems.is_empty() && ports(snapshot, "f") == [7]).await;
    let keys = ["frontends/f/frontend", "backends/b/backend", "backends/b/servers/s"];
    house.write(keys.map(|key| put(&format!("/vulcand/{key}"), "{"))).await;
    let invalid = house.until(|snapshot| snapshot.problems.len() == keys.len()).await;
    assert!(Arc::ptr_eq(&after.turns[0], &invalid.turns[0]), "the last good values serve on");
}

#[tokio::test]
async fn a_change_leaves_everything_else_as_it_is() {
    let house = House::new(&frontends(100)).await;
    let before = house.until(|snapshot| snapshot.table.routes().len() == 100).await;
    house.write([Operation::delete("/vulcand/frontends/f1/frontend")]).await;
    let after = house.until(|snapshot| rule(snapshot, "f1").is_none()).await;
    assert_eq!(after.table.routes().len(), 99, "f10 and its like stay");
    for turns in before.turns.iter().filter(|turns| turns.route.id != "f1@vulcand") {
        let position = after.table.position(&turns.route.id).unwrap();
        assert!(Arc::ptr_eq(turns, &after.turns[position]), "{} was made anew", turns.route.id);
    }
    assert_eq!(house.current.servers.all().iter().filter(|server| server.is_listed()).count(), 99);
}

/// Each source is read by a task of its own: any may be the last, and nothing need change afterwards.
#[tokio::test]
async fn whichever_source_is_read_last_the_table_is_complete_then() {
    for last in Source::ALL {
        for kept in [None, Some(Draft { loaded: true, stale: true, revision: 5, ..Draft::default() })] {
            let is_stale = kept.is_some();
            let current = Arc::new(Current::new());
            let metrics = Arc::new(Metrics::new(current.servers.clone()));
            kept.map(|kept| current.publish(kept, |route| metrics.of_route(route)));
            let challenges = Arc::new(Challenges::new(None));
            let assembler = Assembler::new(current.clone(), metrics, Keeper::new(None), Arc::default(), challenges);
            let (updates, received) = mpsc::channel(1);
            let _assembling = tokio::spawn(assembler.run(received));
            let others = Source::ALL.into_iter().filter(|source| *source != last);
            for source in others.chain([last]) {
                let snapshot = current.load();
                assert_eq!((snapshot.loaded, snapshot.stale), (is_stale, is_stale), "before {source:?}, {last:?} last");
                let key = KeyValue {
                    key: format!("{}a", source.prefix()).into(),
                    value: r#"{"v":0,"rule":"Host(`a`)","servers":[]}"#.into(),
                    ..KeyValue::default()
                };
                let keys = if source == Source::Documents { vec![key] } else { Vec::new() };
                let (held, change) = (!keys.is_empty(), Change::All(keys));
                let update = Update { source, cluster_id: 7, held, revision: 9, change };
                updates.send(update).await.unwrap();
                // It has this thread: what it took is done when it takes the next.
                while updates.capacity() == 0 {
                    tokio::task::yield_now().await;
                }
            }
            let snapshot = current.load();
            assert_eq!((snapshot.loaded, snapshot.stale, snapshot.revision()), (true, false, 9), "{last:?} last");
            assert!(snapshot.of_route("a").is_some(), "{last:?} last");
        }
    }
}

/// `cargo test --release -p edge -- --nocapture of_ten_thousand` shows how long a change takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_ten_thousand_routes_a_change_touches_one() {
    const ROUTES: usize = 10_000;
    // In a debug build each takes a tenth of a second.
    const CHANGES: usize = if cfg!(debug_assertions) { 20 } else { 200 };
    let house = House::new(&frontends(ROUTES)).await;
    let mut before = house.until(|snapshot| snapshot.table.routes().len() == ROUTES).await;
    let mut times = Vec::with_capacity(CHANGES);
    for change in 0..CHANGES {
        let (id, host) = (format!("f{}", change * 7), format!("fresh{change}"));
        let value = frontend("b1", &host);
        let expected = format!("Host(`{host}`)");
        house.write([put(&format!("/vulcand/frontends/{id}/frontend"), &value)]).await;
        let start = Instant::now();
        let after = house.until(|snapshot| rule(snapshot, &id) == Some(expected.as_str())).await;
        times.push(start.elapsed());
        let pairs = before.table.routes().iter().zip(after.table.routes());
        assert_eq!(pairs.filter(|(before, after)| !Arc::ptr_eq(before, after)).count(), 1);
        before = after;
    }
    times.sort_unstable();
    let (median, p99) = (times[CHANGES / 2], times[CHANGES * 99 / 100]);
    println!("from the store's word to the table that serves, of {ROUTES} routes: median {median:?}, p99 {p99:?}");
}
