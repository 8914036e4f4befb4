//! The edge on real etcd, told what to serve by real `etcdctl`.

#[path = "edge/harness.rs"]
#[allow(dead_code, reason = "its other half is for the other tests")]
mod harness;
#[path = "edge/memory_store.rs"]
#[allow(dead_code, reason = "its other half is for the other tests")]
mod memory_store;
#[path = "edge/scenarios.rs"]
mod scenarios;

use harness::free_address;
use http::{Request, StatusCode};
use lifecycle::Stop;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};

/// How long a change may take to be served.
const PROPAGATION_MAX: Duration = Duration::from_secs(1);
/// On a busy machine one that takes longer may be made again, so often.
const ROUNDS_MAX: u32 = 10;
/// Less than the edge takes to find out without its watch.
const DEADLINE: Duration = Duration::from_secs(20);

struct Etcd {
    data: tempfile::TempDir,
    client_url: String,
    peer_url: String,
    child: Child,
}

impl Etcd {
    async fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let (client_url, peer_url) = (format!("http://{}", free_address()), format!("http://{}", free_address()));
        let child = Self::spawn(&data, &client_url, &peer_url);
        let etcd = Self { data, client_url, peer_url, child };
        etcd.healthy().await;
        etcd
    }

    fn spawn(data: &tempfile::TempDir, client_url: &str, peer_url: &str) -> Child {
        Command::new("etcd")
            .args(["--data-dir", data.path().to_str().unwrap(), "--name", "one"])
            .args(["--listen-client-urls", client_url, "--advertise-client-urls", client_url])
            .args(["--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url])
            .args(["--initial-cluster", &format!("one={peer_url}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("etcd (Debian: etcd-server) is needed")
    }

    async fn restart(&mut self) {
        self.child.kill().await.unwrap();
        self.child = Self::spawn(&self.data, &self.client_url, &self.peer_url);
        self.healthy().await;
    }

    async fn healthy(&self) {
        eventually("etcd is healthy", DEADLINE, || async { self.try_ctl(&["endpoint", "health"]).await.map(|_| ()) })
            .await;
    }

    async fn try_ctl(&self, arguments: &[&str]) -> Option<String> {
        let output = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &self.client_url])
            .args(arguments)
            .output()
            .await
            .expect("etcdctl (Debian: etcd-client) is needed");
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }

    async fn ctl(&self, arguments: &[&str]) -> String {
        self.try_ctl(arguments).await.unwrap_or_else(|| panic!("etcdctl {arguments:?}"))
    }

    async fn put(&self, key: &str, value: &Value) {
        self.ctl(&["put", key, &value.to_string()]).await;
    }
}

async fn eventually<T, F: Future<Output = Option<T>>>(
    name: &str,
    limit: Duration,
    mut condition: impl FnMut() -> F,
) -> Duration {
    let started = Instant::now();
    while condition().await.is_none() {
        assert!(started.elapsed() < limit, "not within {limit:?}: {name}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    started.elapsed()
}

async fn server(name: &'static str) -> SocketAddr {
    let listener = web::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = axum::Router::new().fallback(move || async move { name });
    tokio::spawn(web::serve(listener, router, web::Bounds::default(), Stop::new()));
    address
}

struct Edge {
    address: SocketAddr,
    api: SocketAddr,
    client: web::Client,
    _stop: Stop,
}

impl Edge {
    async fn start(etcd: &Etcd) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let endpoints = [etcd.client_url.clone()];
        let store = store::EtcdClient::connect(&endpoints, store::ClientCredentials::None, None).unwrap();
        let config = edge::Config {
            listen: vec![any],
            listen_tls: Vec::new(),
            proxies: Vec::new(),
            api: Some(any),
            store: Arc::new(store),
            controllers: Vec::new(),
            data: None,
            token: None,
            tls: None,
            seal_key: None,
            verifier: identity::Verifier::Open,
            edge_id: "edge-1".into(),
            node_id: String::new(),
            client_times: edge::ClientTimes::default(),
            vulcand: edge::Vulcand::default(),
            observation: edge::Observation::default(),
            take_over: false,
            drain: edge::Drain::default(),
        };
        let stop = Stop::new();
        let started = edge::start(config, stop.clone()).await.unwrap();
        let (address, api) = (started.address("").unwrap(), started.address("api").unwrap());
        Self { address, api, client: web::Client::default(), _stop: stop }
    }

    /// Status and body for a Host.
    async fn get(&self, host: &str) -> (StatusCode, String) {
        let request = Request::get(format!("http://{}/", self.address)).header("host", host);
        let response = self.client.fetch(request.body(web::empty_body()).unwrap()).await.unwrap();
        (response.status(), String::from_utf8(response.body().to_vec()).unwrap())
    }

    async fn serves(&self, host: &str, name: &str) -> Option<()> {
        (self.get(host).await == (StatusCode::OK, name.to_owned())).then_some(())
    }

    async fn loaded(&self) {
        let url = format!("http://{}/status", self.api);
        eventually("the routes are loaded", DEADLINE, || async {
            let status: Value = self.client.get_json(&url).await.unwrap();
            (status["loaded"] == true).then_some(())
        })
        .await;
    }
}

/// `etcdctl put` makes a service reachable, moves it and takes it away, each within a second and without a reload.
#[tokio::test]
async fn etcdctl_put_makes_a_service_reachable_within_a_second() {
    let etcd = Etcd::start().await;
    let edge = Edge::start(&etcd).await;
    edge.loaded().await;
    assert_eq!(edge.get("v.example").await.0, StatusCode::NOT_FOUND);
    let (one, two) = (server("one").await, server("two").await);
    for prefix in ["/vulcand", "vulcand"] {
        let round = async || {
            let frontend = json!({ "Type": "http", "BackendId": "b1", "Route": "Host(`v.example`)" });
            etcd.put(&format!("{prefix}/backends/b1/backend"), &json!({ "Type": "http" })).await;
            etcd.put(&format!("{prefix}/backends/b1/servers/s1"), &json!({ "URL": format!("http://{one}") })).await;
            etcd.put(&format!("{prefix}/frontends/f1/frontend"), &frontend).await;
            let put = eventually("put", DEADLINE, || edge.serves("v.example", "one")).await;
            etcd.put(&format!("{prefix}/backends/b1/servers/s1"), &json!({ "URL": format!("http://{two}") })).await;
            let moved = eventually("move", DEADLINE, || edge.serves("v.example", "two")).await;
            etcd.ctl(&["del", &format!("{prefix}/frontends/f1/frontend")]).await;
            let is_gone = || async { (edge.get("v.example").await.0 == StatusCode::NOT_FOUND).then_some(()) };
            let deleted = eventually("delete", DEADLINE, is_gone).await;
            println!("{prefix}: after etcdctl returned put {put:?}, moved {moved:?}, deleted {deleted:?}");
            put.max(moved).max(deleted)
        };
        let mut rounds = 1;
        while round().await > PROPAGATION_MAX {
            assert!(rounds < ROUNDS_MAX, "{prefix}: a change never took less than {PROPAGATION_MAX:?}");
            rounds += 1;
        }
    }
}

/// A server kept alive by a lease, as mesos-era registrators do, leaves with it.
#[tokio::test]
async fn a_server_leaves_with_its_lease() {
    let etcd = Etcd::start().await;
    let edge = Edge::start(&etcd).await;
    let one = server("one").await;
    let lease = etcd.ctl(&["lease", "grant", "600"]).await;
    let lease = lease.split_whitespace().nth(1).unwrap().to_owned();
    let url = json!({ "URL": format!("http://{one}") }).to_string();
    etcd.ctl(&["put", "--lease", &lease, "/vulcand/backends/b1/servers/s1", &url]).await;
    etcd.put(
        "/vulcand/frontends/f1/frontend",
        &json!({ "Type": "http", "BackendId": "b1", "Route": "Host(`v.example`)" }),
    )
    .await;
    eventually("put", DEADLINE, || edge.serves("v.example", "one")).await;
    etcd.ctl(&["lease", "revoke", &lease]).await;
    eventually("the server is gone", DEADLINE, || async {
        (edge.get("v.example").await.0 == StatusCode::SERVICE_UNAVAILABLE).then_some(())
    })
    .await;
}

/// While etcd is away the last table serves; when it is back, compacted meanwhile, what changed is served.
#[tokio::test]
async fn a_restart_and_a_compaction_lose_nothing() {
    let mut etcd = Etcd::start().await;
    let edge = Edge::start(&etcd).await;
    let (one, two) = (server("one").await, server("two").await);
    let document = |address: SocketAddr| json!({ "v": 0, "rule": "Host(`r.example`)", "servers": [{ "id": "s", "url": format!("http://{address}") }] });
    etcd.put("/roadstead/routes/r", &document(one)).await;
    eventually("put", DEADLINE, || edge.serves("r.example", "one")).await;
    etcd.child.kill().await.unwrap();
    for _ in 0..20 {
        assert!(edge.serves("r.example", "one").await.is_some());
    }
    etcd.restart().await;
    let answer = etcd.ctl(&["put", "/roadstead/routes/r", &document(two).to_string(), "-w", "json"]).await;
    let answer: Value = serde_json::from_str(&answer).unwrap();
    etcd.ctl(&["compact", &answer["header"]["revision"].to_string()]).await;
    eventually("the change is served", DEADLINE, || edge.serves("r.example", "two")).await;
}

macro_rules! one_after_the_other {
    ($($scenario:ident),* $(,)?) => {
        /// The scenarios of vulcand's suites, which every run of the tests tries on the embedded store.
        #[tokio::test]
        async fn vulcands_suites_hold_on_etcd() {
            let etcd = Etcd::start().await;
            let endpoints = [etcd.client_url.clone()];
            let client = store::EtcdClient::connect(&endpoints, store::ClientCredentials::None, None).unwrap();
            let store: Arc<dyn store::Store> = Arc::new(client);
            $(
                println!(stringify!($scenario));
                let scene = scenarios::Scene::on(store.clone()).await;
                scenarios::$scenario(&scene).await;
                scene.edge.end().await;
            )*
        }
    };
}

scenarios::each!(one_after_the_other);
