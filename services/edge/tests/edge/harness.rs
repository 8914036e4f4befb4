//! An edge on free ports, servers that can be killed, and clients that look closely.

use crate::memory_store::MemoryStore;
use axum::Router;
use axum::extract::Request as AxumRequest;
use bytes::Bytes;
use http::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use lifecycle::{Started, Stop};
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::time::Duration;
use store::Store;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// Nothing a test waits for takes longer.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Waits until `condition` gives something; fails by name.
pub async fn eventually<T, F: Future<Output = Option<T>>>(name: &str, mut condition: impl FnMut() -> F) -> T {
    let attempts = async {
        loop {
            if let Some(value) = condition().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(DEADLINE, attempts).await.unwrap_or_else(|_| panic!("never: {name}"))
}

/// An address for a listener that the store asks for: below the ports that the kernel hands out to everyone else meanwhile
/// (`ip_local_port_range` begins at 32768).
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + (std::process::id() % 100) as u16 * 100;
    let next = || SocketAddr::from(([127, 0, 0, 1], first + NEXT.fetch_add(1, Relaxed) % 100));
    let is_free = |address: &SocketAddr| std::net::TcpListener::bind(address).is_ok();
    std::iter::repeat_with(next).take(100).find(is_free).expect("one of a hundred ports is free")
}

/// An edge on free ports, without a controller.
pub fn config(store: Arc<dyn Store>) -> edge::Config {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    edge::Config {
        listen: vec![any],
        listen_tls: Vec::new(),
        proxies: Vec::new(),
        api: Some(any),
        store,
        controllers: Vec::new(),
        data: None,
        token: Some(identity::Token::from_text("rs_test")),
        tls: None,
        seal_key: None,
        verifier: identity::Verifier::Open,
        edge_id: "edge-1".into(),
        node_id: "node-1".into(),
        client_times: edge::ClientTimes::default(),
        vulcand: edge::Vulcand::default(),
        observation: edge::Observation::default(),
        take_over: false,
        drain: edge::Drain::default(),
    }
}

pub struct Edge {
    pub address: SocketAddr,
    pub api: SocketAddr,
    pub store: Arc<MemoryStore>,
    pub stop: Stop,
    pub started: Started,
    pub client: web::Client,
}

impl Edge {
    pub async fn start() -> Self {
        Self::start_with(None).await
    }

    pub async fn start_with(controller: Option<String>) -> Self {
        let store = Arc::new(MemoryStore::default());
        Self::on(store.clone(), store, controller).await
    }

    pub async fn on(store: Arc<dyn Store>, memory: Arc<MemoryStore>, controller: Option<String>) -> Self {
        let controllers = controller.into_iter().collect();
        Self::of(edge::Config { controllers, ..config(store) }, memory).await
    }

    /// One that keeps what outlives it in a directory.
    pub async fn keeping(data: &Path, store: &Arc<MemoryStore>) -> Self {
        Self::of(edge::Config { data: Some(data.to_owned()), ..config(store.clone()) }, store.clone()).await
    }

    pub async fn of(config: edge::Config, memory: Arc<MemoryStore>) -> Self {
        let stop = Stop::new();
        let started = edge::start(config, stop.clone()).await.unwrap();
        let address = started.address("").unwrap();
        let api = started.address("api").unwrap();
        Self { address, api, store: memory, stop, started, client: web::Client::default() }
    }

    /// `/ready`: its status and what it says.
    pub async fn ready(&self) -> (u16, Value) {
        let response = self.client.get(&format!("http://{}/ready", self.api)).await.unwrap();
        (response.status().as_u16(), json_of(&response))
    }

    /// As a stop does; returns when it has ended.
    pub async fn end(self) {
        self.stop.request();
        tokio::time::timeout(DEADLINE, self.started.finished()).await.unwrap().unwrap();
    }

    /// Serves `Host(host)` from these servers.
    pub async fn route(&self, id: &str, host: &str, servers: &[&Server]) -> i64 {
        let document = document(&format!("Host(`{host}`)"), servers, json!({}));
        let revision = self.store.change(&[(&format!("/roadstead/routes/{id}"), Some(&document))]).await;
        self.applied(revision).await;
        revision
    }

    /// Waits until the table has every change up to a revision.
    pub async fn applied(&self, revision: i64) {
        eventually("the revision is applied", || async {
            let status = self.status_if_told().await?;
            (status["loaded"] == true && status["revision"].as_i64()? >= revision).then_some(())
        })
        .await;
    }

    /// `None`: a process before this one had accepted the question just now, and closed it unanswered.
    pub async fn status_if_told(&self) -> Option<Value> {
        let response = self.client.get(&format!("http://{}/status", self.api)).await.ok()?;
        Some(json_of(&response))
    }

    pub async fn status(&self) -> Value {
        self.client.get_json(&format!("http://{}/status", self.api)).await.unwrap()
    }

    pub async fn metric(&self, line_start: &str) -> f64 {
        let response = self.client.get(&format!("http://{}/metrics", self.api)).await.unwrap();
        let text = String::from_utf8(response.body().to_vec()).unwrap();
        let line = text.lines().find(|line| line.starts_with(line_start));
        line.map_or(0.0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    }

    /// Waits until a metric is this. A request is counted when its answer is out: its client may have that before.
    pub async fn until_metric(&self, line_start: &str, expected: f64) {
        let is_so = || async { (self.metric(line_start).await == expected).then_some(()) };
        eventually(&format!("{line_start} {expected}"), is_so).await;
    }

    pub async fn get(&self, host: &str, path: &str) -> Response<Bytes> {
        self.call(Method::GET, host, path, "").await
    }

    pub async fn call(&self, method: Method, host: &str, path: &str, body: &'static str) -> Response<Bytes> {
        call(&self.client, self.address, method, host, path, body).await.unwrap()
    }
}

/// One request to an address under any Host.
pub async fn call(
    client: &web::Client,
    address: SocketAddr,
    method: Method,
    host: &str,
    path: &str,
    body: &'static str,
) -> Result<Response<Bytes>, web::ClientError> {
    let request = Request::builder().method(method).uri(format!("http://{address}{path}")).header("host", host);
    client.fetch(request.body(web::full_body(body)).unwrap()).await
}

/// A route document.
pub fn document(rule: &str, servers: &[&Server], more: Value) -> String {
    let servers: Vec<Value> =
        servers.iter().map(|server| json!({ "id": server.address.to_string(), "url": server.url() })).collect();
    let mut document = json!({ "v": 0, "rule": rule, "servers": servers });
    document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    document.to_string()
}

/// A server behind the edge.
pub struct Server {
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    /// Answers `200` with its name and what it received, as JSON.
    pub async fn named(name: &'static str) -> Self {
        Self::routing(Router::new().fallback(move |request: AxumRequest| async move {
            let (parts, body) = request.into_parts();
            let body = axum::body::to_bytes(body, 64 << 20).await.unwrap_or_default();
            let headers: Vec<(String, String)> = parts
                .headers
                .iter()
                .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
                .collect();
            axum::Json(json!({
                "name": name, "method": parts.method.as_str(), "target": parts.uri.to_string(), "headers": headers,
                "body_bytes": body.len(),
            }))
        }))
        .await
    }

    pub async fn routing(router: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let service = TowerToHyperService::new(router.clone());
                connections.spawn(async move {
                    let builder = hyper::server::conn::http1::Builder::new();
                    let _closed = builder.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
                });
            }
        });
        Self { address, task }
    }

    /// Handles each connection, numbered from 0, with raw bytes.
    pub async fn raw<F: Future<Output = ()> + Send + 'static>(
        handle: impl Fn(usize, TcpStream) -> F + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            for number in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(handle(number, stream));
            }
        });
        Self { address, task }
    }

    /// Answers nothing, not even a refusal: the queue of connections is full. As a machine that is gone.
    pub async fn black_hole() -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let mut queued = Vec::new();
        while let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_millis(50), TcpStream::connect(address)).await {
            queued.push(stream);
        }
        let hold = async move {
            let _held = (listener, queued);
            std::future::pending().await
        };
        Self { address, task: tokio::spawn(hold) }
    }

    /// Takes connections and ends them. Its port stays its own, unlike that of [`Server::absent`].
    pub async fn hanging_up() -> Self {
        Self::raw(|_, stream| async move { drop(stream) }).await
    }

    /// An address where nobody listens: it is held, so that nobody else does either.
    pub async fn absent() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let hold = async move {
            let _held = socket;
            std::future::pending().await
        };
        Self { address, task: tokio::spawn(hold) }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// As SIGKILL does: the listener and every connection are closed at once.
    pub async fn kill(&self) {
        self.task.abort();
        while !self.task.is_finished() {
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The name of the server that answered.
pub fn name(response: &Response<Bytes>) -> String {
    json_of(response)["name"].as_str().unwrap_or_default().to_owned()
}

pub fn json_of(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap_or_default()
}

/// The values of a header a [`Server::named`] received.
pub fn received(response: &Response<Bytes>, header: &str) -> Vec<String> {
    received_json(response.body(), header)
}

/// The same of its answer's body.
pub fn received_json(body: &[u8], header: &str) -> Vec<String> {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let headers = json["headers"].as_array().cloned().unwrap_or_default();
    headers.iter().filter(|pair| pair[0] == header).map(|pair| pair[1].as_str().unwrap().to_owned()).collect()
}

/// Reads a head, up to its empty line.
pub async fn read_head(stream: &mut TcpStream) -> String {
    read_head_of(stream).await
}

/// The same from any stream.
pub async fn read_head_of(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

/// Sends raw bytes on a connection of its own and reads until it is closed.
pub async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _reset = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer))
        .await
        .unwrap_or_else(|_| panic!("no end of the answer to {request:.80}: {:?}", String::from_utf8_lossy(&answer)));
    String::from_utf8_lossy(&answer).into_owned()
}
