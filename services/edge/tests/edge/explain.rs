//! What an explanation says of a request, beside where that request then goes.

use crate::harness::{Edge, Server, document, eventually, read_head};
use axum::Router;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

const REQUESTS: usize = 40;
const SERVERS: usize = 5;
const EVEN: [usize; SERVERS] = [1; SERVERS];

/// Answers with its address.
async fn server() -> Server {
    Server::raw(|_, mut stream| async move {
        let body = stream.local_addr().unwrap().to_string();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        while !read_head(&mut stream).await.is_empty() {
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    })
    .await
}

async fn servers() -> Vec<Server> {
    let mut servers = Vec::new();
    for _ in 0..SERVERS {
        servers.push(server().await);
    }
    servers
}

/// Serves `Host(a)` from these servers with these weights, balanced so.
async fn route(edge: &Edge, servers: &[Server], weights: [usize; SERVERS], balance: Value) {
    let server = |(index, server): (usize, &Server)| json!({ "id": index.to_string(), "url": server.url(), "weight": weights[index] });
    let servers: Vec<Value> = servers.iter().enumerate().map(server).collect();
    let document = document("Host(`a`)", &[], json!({ "servers": servers, "balance": balance }));
    let revision = edge.store.change(&[("/roadstead/routes/a", Some(&document))]).await;
    edge.applied(revision).await;
}

/// Which server each thread of the edge would send it to, once so many requests are in flight: a client has its answer a moment
/// before the edge counts it as over.
async fn explained_beside(edge: &Edge, in_flight: u64, headers: &[&str]) -> Vec<String> {
    eventually("the last request is over", || async {
        let routes: Value = edge.client.get_json(&format!("http://{}/routes", edge.api)).await.ok()?;
        let servers = routes["routes"][0]["servers"].as_array()?;
        let counted: u64 = servers.iter().filter_map(|server| server["in_flight"].as_u64()).sum();
        (counted == in_flight).then_some(())
    })
    .await;
    let mut url = format!("http://{}/explain?method=GET&url=http://a/", edge.api);
    for header in headers {
        url.push_str("&header=");
        url.push_str(&header.replace(' ', "%20").replace('=', "%3D").replace(';', "%3B"));
    }
    let answer: Value = edge.client.get_json(&url).await.unwrap();
    assert_eq!(answer["winner"], "a");
    let mut picks = vec![String::new(); std::thread::available_parallelism().unwrap().get()];
    for state in answer["states"].as_array().unwrap() {
        for thread in state["picked_by"].as_array().unwrap() {
            picks[thread.as_u64().unwrap() as usize] = state["url"].as_str().unwrap().to_owned();
        }
    }
    assert!(picks.iter().all(|pick| !pick.is_empty()), "each thread has a pick: {answer}");
    picks
}

async fn explained(edge: &Edge, headers: &[&str]) -> Vec<String> {
    explained_beside(edge, 0, headers).await
}

/// A client on one connection, whose requests all come to one thread.
struct Client {
    stream: TcpStream,
    /// Threads that would have sent each request so far to where it went.
    threads: BTreeSet<usize>,
}

impl Client {
    async fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        Self { stream, threads: (0..std::thread::available_parallelism().unwrap().get()).collect() }
    }

    /// The server that answers, and the response's head.
    async fn get(&mut self, headers: &[&str]) -> (String, String) {
        let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
        self.stream.write_all(format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").as_bytes()).await.unwrap();
        let head = read_head(&mut self.stream).await;
        assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        self.stream.read_exact(&mut body).await.unwrap();
        (format!("http://{}", String::from_utf8(body).unwrap()), head)
    }

    /// Asks for an explanation, then sends the request; where it went, and the head of the response.
    async fn follow(&mut self, edge: &Edge, headers: &[&str]) -> (String, String) {
        self.follow_beside(edge, 0, headers).await
    }

    async fn follow_beside(&mut self, edge: &Edge, in_flight: u64, headers: &[&str]) -> (String, String) {
        let picks = explained_beside(edge, in_flight, headers).await;
        let (went, head) = self.get(headers).await;
        self.threads.retain(|thread| picks[*thread] == went);
        assert!(!self.threads.is_empty(), "it went to {went}, which no thread had picked each time: {picks:?}");
        (went, head)
    }
}

/// In turn, by weights, and where ties of least connections are broken in turn.
#[tokio::test]
async fn an_explained_pick_is_where_the_next_request_of_its_thread_goes() {
    let (edge, servers) = (Edge::start().await, servers().await);
    let weighted = [5, 1, 3, 2, 1];
    for (weights, balance) in [
        (EVEN, json!({})),
        (weighted, json!({})),
        (EVEN, json!({ "policy": "least_connections" })),
        (weighted, json!({ "canary": { "percent": 30, "servers": [{ "id": "c", "url": servers[4].url() }] } })),
    ] {
        let listed = if balance["canary"].is_null() { SERVERS } else { SERVERS - 1 };
        route(&edge, &servers[..listed], weights, balance.clone()).await;
        // Two, so that with luck both are not of the same thread.
        let mut clients = [Client::new(edge.address).await, Client::new(edge.address).await];
        let mut met = BTreeSet::new();
        for number in 0..REQUESTS {
            met.insert(clients[number % 2].follow(&edge, &[]).await.0);
        }
        assert_eq!(met.len(), SERVERS, "{balance}");
    }
}

#[tokio::test]
async fn an_explained_key_or_cookie_goes_where_it_is_said() {
    let (edge, servers) = (Edge::start().await, servers().await);
    route(&edge, &servers, EVEN, json!({ "policy": "hash", "hash_on": "header:x-user" })).await;
    let (mut client, mut met) = (Client::new(edge.address).await, BTreeSet::new());
    for user in 0..REQUESTS {
        let header = format!("X-User: {user}");
        let picks = explained(&edge, &[&header]).await;
        assert!(picks.iter().all(|pick| *pick == picks[0]), "every thread knows where a key belongs: {picks:?}");
        met.insert(client.follow(&edge, &[&header]).await.0);
    }
    assert_eq!(met.len(), SERVERS);

    route(&edge, &servers, EVEN, json!({ "sticky": { "cookie": "at" } })).await;
    let mut client = Client::new(edge.address).await;
    for _ in 0..SERVERS {
        let (first, head) = client.follow(&edge, &[]).await;
        let set = head.lines().find_map(|line| line.strip_prefix("Set-Cookie: ")).unwrap();
        let header = format!("Cookie: {}", set.split(';').next().unwrap());
        assert!(explained(&edge, &[&header]).await.iter().all(|pick| *pick == first));
        assert_eq!(client.follow(&edge, &[&header]).await.0, first);
    }
}

#[tokio::test]
async fn an_explanation_passes_by_who_is_busy_or_failed_as_the_next_request_does() {
    let (allowed, asked) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let (waits, counted) = (allowed.clone(), asked.clone());
    let busy = Server::routing(Router::new().fallback(move || {
        let (waits, counted) = (waits.clone(), counted.clone());
        async move {
            counted.fetch_add(1, SeqCst);
            waits.acquire().await.unwrap().forget();
        }
    }))
    .await;
    let (edge, mut servers) = (Edge::start().await, vec![busy, server().await]);
    let least = json!({ "policy": "least_connections" });
    route(&edge, &servers[..1], EVEN, least.clone()).await;
    let pending = async { edge.get("a", "/").await.status() };
    let others = async {
        eventually("it is busy", || async { (asked.load(SeqCst) == 1).then_some(()) }).await;
        route(&edge, &servers, EVEN, least).await;
        let mut client = Client::new(edge.address).await;
        for _ in 0..10 {
            assert!(explained_beside(&edge, 1, &[]).await.iter().all(|pick| *pick == servers[1].url()));
            assert_eq!(client.follow_beside(&edge, 1, &[]).await.0, servers[1].url());
        }
        allowed.add_permits(1);
    };
    assert_eq!(tokio::join!(pending, others).0, 200);

    servers.remove(0);
    servers.insert(0, Server::absent().await);
    route(&edge, &servers, EVEN, json!({})).await;
    let mut client = Client::new(edge.address).await;
    // A server that failed is passed over for a second: a busy machine may need more than one try to ask in time.
    let mut picks = Vec::new();
    for _ in 0..20 {
        // One of the two was sent there first, and had to go on.
        for _ in 0..2 {
            assert_eq!(client.get(&[]).await.0, servers[1].url());
        }
        picks = explained(&edge, &[]).await;
        if picks.iter().all(|pick| *pick == servers[1].url()) {
            return;
        }
    }
    panic!("who failed is not passed over: {picks:?}");
}

/// Where none is sent on nobody is picked.
#[tokio::test]
async fn an_explanation_of_a_route_that_refuses_says_why_and_picks_nobody() {
    let (edge, server) = (Edge::start().await, server().await);
    let more = json!({ "middlewares": [{ "Id": "m", "Type": "nonsense", "Middleware": {} }] });
    edge.store.change(&[("/roadstead/routes/a", Some(&document("Host(`a`)", &[&server], more)))]).await;
    eventually("it refuses", || async { (edge.get("a", "/").await.status() == 503).then_some(()) }).await;
    let answer: Value =
        edge.client.get_json(&format!("http://{}/explain?method=GET&url=http://a/", edge.api)).await.unwrap();
    assert!(answer["refused"].as_str().unwrap().contains("nonsense"), "{answer}");
    assert_eq!(answer["states"][0]["picked_by"], json!([]));
}
