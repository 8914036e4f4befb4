//! Changes without end while requests run. In a process of its own, whose memory is measured. Sizes are those of every run;
//! `cargo xtask soak edge` runs the same with larger ones, by `ROADSTEAD_CHANGES` and `ROADSTEAD_SCALINGS`.

#[path = "edge/harness.rs"]
#[allow(dead_code, reason = "its other half is for the other tests")]
mod harness;
#[path = "edge/memory_store.rs"]
#[allow(dead_code, reason = "its other half is for the other tests")]
mod memory_store;
#[path = "churn/secure.rs"]
mod secure;
#[path = "edge/tls/client.rs"]
#[allow(dead_code, reason = "its other half is for the other tests")]
mod tls;

use axum::Router;
use axum::body::Bytes;
use harness::{DEADLINE, Edge, Server, call, document, eventually, read_head};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

/// One measures at a time.
static MEASURING: Mutex<()> = Mutex::const_new(());

const CHANGES: usize = 10_000;
/// Routes that are there all the time, each under its own host.
const ROUTES: usize = 50;
/// Servers of which each has some; one changes its place in every tenth change.
const SERVERS: usize = 8;
const CONNECTIONS: usize = 100;
/// What memory may grow by while ten times as many changes come as before it was first looked at. Runs of 10,000 showed up to
/// 1.5 MiB, one of 40,000 no more: allocators keep what they had to take once.
const GROWTH_BYTES_MAX: usize = 3 << 20;
/// What a leak would keep of a change: half of the least route with its counters.
const LEAK_BYTES: usize = 512;

fn size(variable: &str, usual: usize) -> usize {
    std::env::var(variable).map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

/// This process's own memory (proc(5)): what comes from files, code above all, is not in it.
fn own_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Anonymous:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// Numbers in no order, the same in every run.
struct Numbers(u32);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as usize % bound
    }
}

/// Answers `200` with two bytes, as quickly as may be.
async fn server() -> Server {
    Server::raw(|_, mut stream| async move {
        while !read_head(&mut stream).await.is_empty() {
            if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.is_err() {
                return;
            }
        }
    })
    .await
}

/// Asks on one connection until it is over; returns how often, or what went wrong.
async fn ask(
    address: std::net::SocketAddr,
    first: usize,
    over: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
) -> Result<(), String> {
    let mut stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    for number in first.. {
        if over.load(SeqCst) {
            break;
        }
        let request = format!("GET / HTTP/1.1\r\nHost: h{}\r\n\r\n", number % ROUTES);
        stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
        let head = tokio::time::timeout(DEADLINE, read_head(&mut stream)).await.map_err(|_| "no answer".to_owned())?;
        if !head.starts_with("HTTP/1.1 200 ") {
            return Err(format!("{request:?}: {head:?}"));
        }
        stream.read_exact(&mut [0; 2]).await.map_err(|error| error.to_string())?;
        answered.fetch_add(1, SeqCst);
        // Each its turn: the test, too, has only so many cores.
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// A route's next document: other servers, another weight, priority, policy or middleware.
fn next(numbers: &mut Numbers, host: &str, servers: &[Server]) -> String {
    let first = numbers.below(servers.len());
    let chosen: Vec<Value> = (0..=numbers.below(3))
        .map(|number| &servers[(first + number) % servers.len()])
        .map(|server| json!({ "id": server.address.to_string(), "url": server.url(), "weight": 1 + numbers.below(5) }))
        .collect();
    let mut more = json!({ "servers": chosen });
    match numbers.below(6) {
        0 => more["priority"] = json!(numbers.below(9)),
        1 => more["balance"] = json!({ "policy": (["least_connections", "two_choices"][numbers.below(2)]) }),
        2 => {
            let settings = json!({ "Request": { "Set": { "X-Change": numbers.below(1000).to_string() } } });
            more["middlewares"] = json!([{ "Id": "h", "Type": "headers", "Middleware": settings }]);
        }
        3 => more["failover_predicate"] = json!("IsNetworkError() && Attempts() < 3"),
        _ => {}
    }
    document(&format!("Host(`{host}`)"), &[], more)
}

/// Makes changes while connections ask, a tenth of them before memory is first looked at; by how many bytes it grew since. Of
/// each change so many bytes are kept for ever.
async fn churn(changes: usize, leaked_bytes: usize) -> usize {
    let _alone = MEASURING.lock().await;
    let (edge, mut numbers) = (Edge::start().await, Numbers(1));
    let mut servers = Vec::new();
    for _ in 0..SERVERS {
        servers.push(server().await);
    }
    let key = |name: &str| format!("/roadstead/routes/{name}");
    for number in 0..ROUTES {
        let host = format!("h{number}");
        edge.store.change(&[(&key(&host), Some(&next(&mut numbers, &host, &servers)))]).await;
    }
    edge.applied(edge.store.revision()).await;
    let (over, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let asking = |first| tokio::spawn(ask(edge.address, first, over.clone(), answered.clone()));
    let clients: Vec<_> = (0..CONNECTIONS).map(asking).collect();

    // Beside those that are asked for, some come and go.
    let (mut written, mut guests) = (vec![String::new(); ROUTES], BTreeSet::new());
    let (warm_up, mut before) = (changes / 10, 0);
    for change in 0..warm_up + changes {
        vec![1_u8; leaked_bytes].leak();
        if numbers.below(4) == 0 {
            let guest = format!("guest{}", numbers.below(200));
            let value = guests.insert(guest.clone()).then(|| next(&mut numbers, &guest, &servers));
            if value.is_none() {
                guests.remove(&guest);
            }
            edge.store.change(&[(&key(&guest), value.as_deref())]).await;
        } else {
            let number = numbers.below(ROUTES);
            written[number] = next(&mut numbers, &format!("h{number}"), &servers);
            edge.store.change(&[(&key(&format!("h{number}")), Some(&written[number]))]).await;
        }
        // So that what is written is also served: tables are made of all that came meanwhile.
        if change % 20 == 0 {
            edge.applied(edge.store.revision()).await;
        }
        if change == warm_up {
            before = own_bytes();
        }
    }
    edge.applied(edge.store.revision()).await;
    let grown = own_bytes().saturating_sub(before);
    over.store(true, SeqCst);
    for client in clients {
        client.await.unwrap().expect("no request fails");
    }
    assert!(answered.load(SeqCst) >= changes / 10, "there was load: {answered:?} requests");
    println!("{changes} changes, {answered:?} requests, {grown} bytes more than {before}");

    // Each change is visible in the end.
    let routes: Value = edge.client.get_json(&format!("http://{}/routes", edge.api)).await.unwrap();
    let routes = routes["routes"].as_array().unwrap();
    assert_eq!(routes.len(), ROUTES + guests.len());
    for guest in &guests {
        assert!(routes.iter().any(|route| route["id"] == **guest), "{guest}");
    }
    for (number, text) in written.iter().enumerate().filter(|(_, text)| !text.is_empty()) {
        let expected: Value = serde_json::from_str(text).unwrap();
        let route = routes.iter().find(|route| route["id"] == format!("h{number}")).unwrap();
        let urls = |servers: &Value| -> Vec<(String, u64)> {
            let server =
                |server: &Value| (server["url"].as_str().unwrap().to_owned(), server["weight"].as_u64().unwrap());
            servers.as_array().unwrap().iter().map(server).collect()
        };
        assert_eq!(urls(&route["servers"]), urls(&expected["servers"]));
        assert_eq!(route["priority"], expected["priority"]);
    }
    let draining = || async { (edge.status().await["draining"] == json!([])).then_some(()) };
    eventually("nobody drains", draining).await;
    grown
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_changes_cost_no_request_and_no_memory() {
    let changes = size("ROADSTEAD_CHANGES", CHANGES);
    let grown = churn(changes, 0).await;
    assert!(grown < GROWTH_BYTES_MAX, "{grown} bytes more after {changes} changes");
}

/// The proof that the test above can fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leak_of_half_a_route_for_each_change_is_seen_in_memory() {
    let grown = churn(CHANGES, LEAK_BYTES).await;
    assert!(grown > GROWTH_BYTES_MAX, "{grown} bytes more");
}

// ---- scaling --------------------------------------------------------------------------------------------------------

const SCALINGS: usize = 1;
const INSTANCES_MAX: usize = 50;
const POSTERS: usize = 16;

/// Takes a moment, as work does, so that requests are in flight when it leaves.
async fn worker() -> Server {
    Server::routing(Router::new().fallback(|body: Bytes| async move {
        tokio::time::sleep(Duration::from_millis(2)).await;
        body
    }))
    .await
}

/// From one server to fifty and back, under POSTs, which no failover may replay. Each that leaves is killed: once the edge
/// says that it is done with it, or at once. Returns how many requests were lost, and how many were answered.
async fn scale(times: usize, waits_for_the_drain: bool) -> (usize, usize) {
    let edge = Edge::start().await;
    let mut servers = vec![worker().await];
    edge.route("a", "a", &[&servers[0]]).await;
    let (over, lost, answered) =
        (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let mut clients = Vec::new();
    for _ in 0..POSTERS {
        let (over, lost, answered, address) = (over.clone(), lost.clone(), answered.clone(), edge.address);
        clients.push(tokio::spawn(async move {
            let client = web::Client::default();
            while !over.load(SeqCst) {
                match call(&client, address, Method::POST, "a", "/", "body").await {
                    Ok(response) if response.status() == StatusCode::OK && &response.body()[..] == b"body" => &answered,
                    _ => &lost,
                }
                .fetch_add(1, SeqCst);
            }
        }));
    }
    for _ in 0..times {
        while servers.len() < INSTANCES_MAX {
            for _ in 0..7 {
                servers.push(worker().await);
            }
            edge.route("a", "a", &servers.iter().collect::<Vec<_>>()).await;
            let target = answered.load(SeqCst) + 20;
            eventually("load goes on", || async { (answered.load(SeqCst) > target).then_some(()) }).await;
        }
        while servers.len() > 1 {
            let leaving = servers.remove(0);
            let listed: Vec<&Server> = servers.iter().collect();
            let revision =
                edge.store.change(&[("/roadstead/routes/a", Some(&document("Host(`a`)", &listed, json!({}))))]).await;
            if waits_for_the_drain {
                let url = leaving.url();
                let is_let_go = || async {
                    let status = edge.status().await;
                    let is_applied = status["revision"].as_i64()? >= revision;
                    (is_applied && !status["draining"].to_string().contains(&url)).then_some(())
                };
                eventually("the edge is done with it", is_let_go).await;
            }
            leaving.kill().await;
        }
    }
    over.store(true, SeqCst);
    for client in clients {
        client.await.unwrap();
    }
    (lost.load(SeqCst), answered.load(SeqCst))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scaling_to_fifty_and_back_loses_nothing() {
    let _alone = MEASURING.lock().await;
    let times = size("ROADSTEAD_SCALINGS", SCALINGS);
    let (lost, answered) = scale(times, true).await;
    println!("scaled {times} times: {answered} answered, {lost} lost");
    assert_eq!(lost, 0, "of {answered}");
    assert!(answered > 100 * times);
}

/// The proof that the test above can fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scaling_without_waiting_for_the_drain_loses_requests() {
    let _alone = MEASURING.lock().await;
    let (lost, answered) = scale(1, false).await;
    assert!(lost > 0, "all {answered} were answered");
}
