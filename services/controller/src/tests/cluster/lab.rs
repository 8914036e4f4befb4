//! A cluster on trial.

use crate::cluster::fake_members::FakeMembers;
use crate::cluster::{Cluster, Member, Settings};
use crate::keys;
use crate::service::{Config, start_with_lead};
use crate::term::Lead;
use http::{Method, StatusCode};
use identity::{Authority, Ca, CertificateFiles, Request, Role, Subject, Tls, Token, Verifier};
use lifecycle::{Started, Stop};
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{ClientCredentials, EtcdClient, Operation, Store, TxnRequest};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// A named condition must hold within this time, also on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(30);
const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

pub struct Lab {
    pub ca: Arc<Ca>,
    pub authority: Authority,
    pub members: Arc<FakeMembers>,
    pub store: Arc<dyn Store>,
    store_url: String,
    data: TempDir,
    _store: Started,
    _stop: Stop,
}

pub struct Node {
    pub name: String,
    pub api: SocketAddr,
    pub peers: SocketAddr,
    pub lead: Lead,
    pub admin: web::Client,
    stop: Stop,
    started: Option<Started>,
    runtime: Option<Runtime>,
}

/// What was answered.
pub struct Got {
    pub status: StatusCode,
    pub headers: http::HeaderMap,
    pub body: Value,
}

impl Lab {
    pub async fn open() -> Self {
        let (data, stop) = (tempfile::tempdir().unwrap(), Stop::new());
        let listen = SocketAddr::new(ADDRESS, 0);
        let config = store::Config { listen, data: data.path().join("store"), verifier: Verifier::Open };
        let started = store::start(config, stop.clone()).await.unwrap();
        let store_url = format!("http://{}", started.address("").unwrap());
        let store =
            Arc::new(EtcdClient::connect(std::slice::from_ref(&store_url), ClientCredentials::None, None).unwrap());
        Self {
            ca: Arc::new(Ca::create("lab").unwrap()),
            authority: Authority::generate().unwrap(),
            members: Arc::new(FakeMembers::of(&etcd_peer_url("a"))),
            store,
            store_url,
            data,
            _store: started,
            _stop: stop,
        }
    }

    /// Three controllers that know each other, one of which leads.
    pub async fn with_three() -> (Self, Vec<Node>) {
        Self::with_three_as(|_, _| ()).await
    }

    /// Each with settings of its own, by its name.
    pub async fn with_three_as(configure: fn(&'static str, &mut Config)) -> (Self, Vec<Node>) {
        let lab = Self::open().await;
        let mut nodes = vec![lab.start("a", move |config| configure("a", config)).await];
        until("the founder is written down", || async { lab.store.get(&keys::member("a")).await.unwrap().is_some() })
            .await;
        for name in ["b", "c"] {
            // What a stranger has is revoked at once.
            lab.list_at(name, String::new(), true).await;
            nodes.push(lab.start(name, move |config| configure(name, config)).await);
        }
        for node in &nodes[1..] {
            lab.list(node, true).await;
        }
        until("all know of all", || async {
            let mut known = true;
            for node in &nodes {
                let cluster = node.get("/v1/cluster").await;
                known &= cluster.body["members"].as_array().is_some_and(|members| members.len() == 3);
            }
            known
        })
        .await;
        (lab, nodes)
    }

    /// Writes a machine down as if it had joined.
    pub async fn list(&self, node: &Node, state: bool) {
        self.list_at(&node.name, node.peers.to_string(), state).await;
    }

    /// Before it is known where it will be reached, too.
    pub async fn list_at(&self, name: &str, peers: String, state: bool) {
        let member = Member {
            name: name.to_owned(),
            address: ADDRESS,
            peers,
            state,
            etcd_peer_url: etcd_peer_url(name),
            etcd_client_url: String::new(),
            joined_at: crate::api::now().to_string(),
            version: String::new(),
            join_token: String::new(),
            node_key: String::new(),
        };
        let put = Operation::put(keys::member(name), serde_json::to_vec(&member).unwrap());
        self.store.txn(TxnRequest { success: vec![put], ..TxnRequest::default() }).await.unwrap();
    }

    pub async fn start(&self, name: &str, configure: impl FnOnce(&mut Config) + Send + 'static) -> Node {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let identity = self.certify(name, &[Role::Controller]);
        let tls = Tls::open(&identity, Role::Controller).unwrap();
        let cluster = Cluster {
            node: name.to_owned(),
            address: ADDRESS,
            peers_listen: SocketAddr::new(ADDRESS, 0),
            advertise: String::new(),
            tls,
            candidate: true,
            ca: Some(self.ca.clone()),
            authority: Some(self.authority.clone()),
            members: self.members.clone(),
            etcd_peer_url: etcd_peer_url(name),
            etcd_client_url: String::new(),
            settings: Settings { name: "lab".into(), ..Settings::default() },
            version: "1".into(),
        };
        let verifier = self.authority.identity(Role::Controller).verifier();
        let (store_url, stop) = (self.store_url.clone(), Stop::new());
        let starting = {
            let stop = stop.clone();
            runtime.spawn(async move {
                let store = EtcdClient::connect(&[store_url], ClientCredentials::None, None).unwrap();
                let mut config = Config { cluster: Some(cluster), ..Config::new(Arc::new(store), verifier) };
                configure(&mut config);
                start_with_lead(config, stop).await.unwrap()
            })
        };
        let (started, lead) = starting.await.unwrap();
        let token = self.authority.token(Role::Admin).reveal().to_owned();
        Node {
            name: name.to_owned(),
            api: started.address("").unwrap(),
            peers: started.address("peers").unwrap(),
            lead,
            admin: web::Client::new(web::Credentials::Bearer(token)),
            stop,
            started: Some(started),
            runtime: Some(runtime),
        }
    }

    /// Certificates of a node in a directory.
    pub fn certify(&self, node: &str, roles: &[Role]) -> PathBuf {
        let identity = self.data.path().join(node);
        for role in roles {
            let request = Request::generate().unwrap();
            let subject = Subject { role: *role, node: node.to_owned(), addresses: vec![ADDRESS] };
            let certificate = self.ca.sign(&request.csr_pem, &subject).unwrap();
            let files = CertificateFiles::of(&identity, *role);
            files.install(self.ca.certificate_pem(), &certificate, &request.key_pem).unwrap();
        }
        identity
    }

    pub fn tls(&self, node: &str, role: Role) -> Tls {
        Tls::open(&self.certify(node, &[role]), role).unwrap()
    }

    /// A client that shows a certificate.
    pub fn client(&self, node: &str, role: Role) -> web::Client {
        web::Client::default().with_tls(self.tls(node, role).client(Some(Role::Controller)))
    }

    pub fn token(&self, role: Role) -> &Token {
        self.authority.token(role)
    }

    pub fn path(&self) -> &Path {
        self.data.path()
    }
}

impl Node {
    pub fn leads(&self) -> bool {
        self.lead.term().is_some()
    }

    pub async fn get(&self, path: &str) -> Got {
        self.call(Method::GET, path, None).await
    }

    /// Tasks of its runtime that have not ended.
    pub fn tasks_alive(&self) -> usize {
        self.runtime.as_ref().map_or(0, |runtime| runtime.metrics().num_alive_tasks())
    }

    /// As the administrator, on the API's own address.
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Got {
        call(&self.admin, method, &format!("http://{}{path}", self.api), body).await
    }

    /// On the peers' address.
    pub async fn call_peers(&self, client: &web::Client, method: Method, path: &str, body: Option<Value>) -> Got {
        call(client, method, &format!("https://{}{path}", self.peers), body).await
    }

    /// Everything of it ends at once, as by SIGKILL.
    pub fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            self.started = None;
            runtime.shutdown_background();
        }
    }

    /// Ends in order.
    pub async fn end(mut self) {
        self.stop.request();
        let started = self.started.take().expect("it has not ended yet");
        tokio::time::timeout(DEADLINE, started.finished()).await.expect("it ends in time").unwrap();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

pub async fn call(client: &web::Client, method: Method, uri: &str, body: Option<Value>) -> Got {
    let body = body.map(|body| web::full_body(body.to_string())).unwrap_or_else(web::empty_body);
    let response = client.call(method, uri, Some("application/json"), body).await;
    let (head, body) = response.unwrap_or_else(|error| panic!("{}", lifecycle::ErrorChain(&error))).into_parts();
    let body = serde_json::from_slice(&body).unwrap_or_else(|_| String::from_utf8_lossy(&body).into());
    Got { status: head.status, headers: head.headers, body }
}

/// The one that leads, once exactly one of these does.
pub async fn leader(nodes: &[Node]) -> usize {
    let leading = || nodes.iter().positions(Node::leads);
    until("one leads", || async { leading().len() == 1 }).await;
    leading()[0]
}

trait Positions {
    type Item;
    fn positions(self, is: impl Fn(&Self::Item) -> bool) -> Vec<usize>;
}

impl<'a, I: Iterator<Item = &'a Node>> Positions for I {
    type Item = Node;

    fn positions(self, is: impl Fn(&Node) -> bool) -> Vec<usize> {
        self.enumerate().filter(|(_, node)| is(node)).map(|(index, _)| index).collect()
    }
}

/// Waits for a named condition; how long it took.
pub async fn until<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) -> Duration {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < DEADLINE, "timed out: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    start.elapsed()
}

/// Whether a promise of time is kept; on a busy machine one of some attempts is enough.
pub async fn within(limit: Duration, attempt: impl AsyncFn() -> Duration) {
    const ATTEMPTS_MAX: usize = 5;
    let mut times = Vec::new();
    while times.last().is_none_or(|took| *took >= limit) {
        assert!(times.len() < ATTEMPTS_MAX, "never within {limit:?}: {times:?}");
        times.push(attempt().await);
    }
}

pub fn etcd_peer_url(node: &str) -> String {
    format!("https://{node}:2380")
}
