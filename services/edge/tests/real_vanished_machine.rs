//! The machine of some servers vanishes: its link is cut, so that nothing comes back from it, not even a refusal. What the
//! edge's clients see, between network namespaces on this machine. Needs root.

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use http::{Method, Request, StatusCode};
use lifecycle::Stop;
use netlab::{Lab, Node};
use serde_json::json;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};
use store::{Embedded, Store};
use tokio::runtime::{Builder, Runtime};

const PORT: u16 = 8080;
const DEADLINE: Duration = Duration::from_secs(20);
/// How long a request that is acknowledged takes to be answered.
const SLOW: Duration = Duration::from_secs(1);
/// A GET on a kept connection learns of it after `UNACKED_MAX`, and then another server answers; some room for two busy cores.
const GET_MAX: Duration = Duration::from_secs(3);
/// After this time whoever asks is no longer sent there: the one answer each pause lets through is late, not lost.
const SETTLED: Duration = Duration::from_secs(1);

/// A node and a runtime whose threads live in it.
struct Machine {
    node: Node,
    runtime: Runtime,
}

impl Machine {
    fn new(node: Node) -> Self {
        let inside = node.clone();
        let enter = move || inside.enter().expect("a thread of root's enters a namespace");
        let runtime =
            Builder::new_multi_thread().worker_threads(2).enable_all().on_thread_start(enter).build().unwrap();
        Self { node, runtime }
    }

    /// Runs a future inside.
    async fn run<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        self.runtime.spawn(future).await.unwrap()
    }

    fn url(&self) -> String {
        format!("http://{}:{PORT}", self.node.address())
    }
}

/// Answers with its name; `/slow` a while later.
async fn serve(name: &'static str, slow_begun: Arc<AtomicUsize>) {
    let slow = |State(begun): State<Arc<AtomicUsize>>| async move {
        begun.fetch_add(1, SeqCst);
        tokio::time::sleep(SLOW).await;
        "slow"
    };
    let router = Router::new().route("/slow", get(slow)).fallback(move || async move { name }).with_state(slow_begun);
    let listener = web::bind(SocketAddr::from(([0, 0, 0, 0], PORT))).await.unwrap();
    tokio::spawn(web::serve(listener, router, web::Bounds::default(), Stop::new()));
}

async fn call(client: &web::Client, edge: SocketAddr, method: Method, path: &str) -> (StatusCode, String, Duration) {
    let begun = Instant::now();
    let body = if method == Method::POST { web::full_body("body") } else { web::empty_body() };
    let request = Request::builder().method(method).uri(format!("http://{edge}{path}")).header("host", "a");
    let response = client.fetch(request.body(body).unwrap()).await.unwrap();
    (response.status(), String::from_utf8_lossy(response.body()).into_owned(), begun.elapsed())
}

/// What clients saw from the cut on: when each request began, how long it took, and how it ended.
type Seen = Vec<(Duration, Duration, StatusCode)>;

/// Eight clients, one request after the other, until `over`.
fn load(
    machine: &Machine,
    edge: SocketAddr,
    method: Method,
    over: &Arc<AtomicBool>,
) -> Vec<tokio::task::JoinHandle<Seen>> {
    let begun = Instant::now();
    let client = || {
        let (over, method, client) = (over.clone(), method.clone(), web::Client::default());
        machine.runtime.spawn(async move {
            let mut seen = Vec::new();
            while !over.load(SeqCst) {
                let at = begun.elapsed();
                let (status, _, took) = call(&client, edge, method.clone(), "/").await;
                seen.push((at, took, status));
            }
            seen
        })
    };
    (0..8).map(|_| client()).collect()
}

async fn eventually<T, F: Future<Output = Option<T>>>(name: &str, mut condition: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < deadline, "never: {name}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn a_machine_that_vanishes_costs_no_get_and_no_later_request() {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let lab = Lab::new("edge").await.unwrap();
        let mut machines = Vec::new();
        for (index, name) in ["proxy", "one", "two"].into_iter().enumerate() {
            let address = IpAddr::from([10, 99, 7, 1 + index as u8]);
            machines.push(Machine::new(lab.node(name, (address, 24)).await.unwrap()));
        }
        let [proxy, one, two] = <[Machine; 3]>::try_from(machines).unwrap_or_else(|_| unreachable!("three"));
        story(&proxy, &one, &two).await;
        for machine in [proxy, one, two] {
            machine.runtime.shutdown_background();
        }
        lab.remove().await.unwrap();
    });
}

async fn story(proxy: &Machine, one: &Machine, two: &Machine) {
    let slow_begun = Arc::new(AtomicUsize::new(0));
    one.run(serve("one", slow_begun.clone())).await;
    two.run(serve("two", slow_begun.clone())).await;
    let data = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(Embedded::open(data.path().to_owned()).await.unwrap());
    let servers = [one, two].map(|machine| json!({ "id": machine.url(), "url": machine.url() }));
    let document = json!({ "v": 0, "rule": "Host(`a`)", "servers": servers });
    store.put("/roadstead/routes/a", document.to_string().into()).await.unwrap();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = edge::Config {
        listen: vec![any],
        listen_tls: Vec::new(),
        proxies: Vec::new(),
        api: None,
        store,
        controllers: Vec::new(),
        data: None,
        token: None,
        tls: None,
        seal_key: None,
        verifier: identity::Verifier::Open,
        edge_id: "edge".into(),
        node_id: String::new(),
        client_times: edge::ClientTimes::default(),
        vulcand: edge::Vulcand::default(),
        observation: edge::Observation::default(),
        take_over: false,
        drain: edge::Drain::default(),
    };
    let stop = Stop::new();
    let stopping = stop.clone();
    let started = proxy.run(async move { edge::start(config, stopping).await.unwrap() }).await;
    let edge = started.address("").unwrap();
    let client = web::Client::default();
    let answers = async |expected: &str| {
        let client = client.clone();
        let (status, body, _) = proxy.run(async move { call(&client, edge, Method::GET, "/").await }).await;
        (status == StatusCode::OK && body == expected).then_some(())
    };
    eventually("one answers", || answers("one")).await;
    eventually("two answers", || answers("two")).await;

    let over = Arc::new(AtomicBool::new(false));
    let warm: Vec<_> =
        [Method::GET, Method::POST].map(|method| load(proxy, edge, method, &over)).into_iter().flatten().collect();
    // Acknowledged by both machines, answered by neither yet.
    let slow: Vec<_> = (0..4)
        .map(|_| {
            let client = web::Client::default();
            proxy.runtime.spawn(async move { call(&client, edge, Method::GET, "/slow").await })
        })
        .collect();
    eventually("four wait for their answers", || async { (slow_begun.load(SeqCst) == 4).then_some(()) }).await;
    over.store(true, SeqCst);
    for client in warm {
        let seen = client.await.unwrap();
        assert!(seen.iter().all(|(_, _, status)| *status == StatusCode::OK));
    }

    one.node.cut().await.unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let (gets, posts) = (load(proxy, edge, Method::GET, &over), load(proxy, edge, Method::POST, &over));
    for answer in slow {
        let (status, body, took) = answer.await.unwrap();
        assert_eq!((status, body.as_str()), (StatusCode::OK, "slow"));
        assert!(took < 2 * (SLOW + GET_MAX), "{took:?}");
    }
    let cut = Instant::now();
    eventually("some seconds of load", || async { (cut.elapsed() > Duration::from_secs(2)).then_some(()) }).await;
    over.store(true, SeqCst);
    let (mut slowest, mut count) = (Duration::ZERO, 0);
    for client in gets {
        for (at, took, status) in client.await.unwrap() {
            assert_eq!(status, StatusCode::OK, "a GET that began {at:?} after the cut, after {took:?}");
            slowest = slowest.max(took);
            count += 1;
        }
    }
    let mut failed = Vec::new();
    for client in posts {
        for (at, took, status) in client.await.unwrap() {
            assert!(took < GET_MAX, "a POST took {took:?}");
            if status != StatusCode::OK {
                failed.push(at);
            }
        }
    }
    eprintln!("{count} GETs, none lost, the slowest {slowest:?}; {} POSTs sent into the cut were lost", failed.len());
    assert!(slowest < GET_MAX, "{slowest:?}");
    assert!(failed.len() <= 8 && failed.iter().all(|at| *at < SETTLED), "{failed:?}");

    one.node.heal().await.unwrap();
    eventually("one answers again", || answers("one")).await;
    stop.request();
    proxy.run(started.finished()).await.unwrap();
}
