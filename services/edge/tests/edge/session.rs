//! What the edge tells the controller.

use crate::harness::{Edge, Server, eventually, name};
use axum::Router;
use http::Method;
use protocol::sessions_server::{Sessions, SessionsServer};
use protocol::{
    Controllers, EdgeHello, EdgeState, FromAgent, FromEdge, NodeStanding, ToAgent, ToEdge, from_edge, to_edge,
};
use serde_json::json;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use store::Store;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

/// The controller's end of a session.
type Link = mpsc::Sender<Result<ToEdge, Status>>;

/// A controller that mostly listens.
#[derive(Clone, Default)]
pub struct Controller {
    hellos: Arc<Mutex<Vec<(EdgeHello, String)>>>,
    sessions: Arc<Mutex<Vec<Link>>>,
    pub states: Arc<Mutex<Vec<EdgeState>>>,
    /// Sessions are ended after this many states.
    patience: Option<usize>,
}

#[tonic::async_trait]
impl Sessions for Controller {
    type AgentStream = ReceiverStream<Result<ToAgent, Status>>;
    type EdgeStream = ReceiverStream<Result<ToEdge, Status>>;

    async fn agent(&self, _request: Request<Streaming<FromAgent>>) -> Result<Response<Self::AgentStream>, Status> {
        Err(Status::unimplemented("edges only"))
    }

    async fn edge(&self, request: Request<Streaming<FromEdge>>) -> Result<Response<Self::EdgeStream>, Status> {
        let token = request.metadata().get("authorization").unwrap().to_str().unwrap().to_owned();
        let mut messages = request.into_inner();
        let (sender, receiver) = mpsc::channel(1);
        let this = self.clone();
        tokio::spawn(async move {
            let mut count = 0;
            while let Some(Ok(FromEdge { message: Some(message) })) = messages.next().await {
                match message {
                    from_edge::Message::Hello(hello) => {
                        this.hellos.lock().unwrap().push((hello, token.clone()));
                        this.sessions.lock().unwrap().push(sender.clone());
                    }
                    from_edge::Message::State(state) => {
                        this.states.lock().unwrap().push(state);
                        count += 1;
                    }
                }
                if this.patience.is_some_and(|patience| count >= patience) {
                    break;
                }
            }
            this.sessions.lock().unwrap().retain(|session| !session.same_channel(&sender));
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

impl Controller {
    pub async fn serve(self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tonic::transport::Server::builder().add_service(SessionsServer::new(self));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        url
    }

    async fn say(&self, message: to_edge::Message) {
        let session = eventually("a session", || async { self.sessions.lock().unwrap().last().cloned() }).await;
        session.send(Ok(ToEdge { message: Some(message) })).await.unwrap();
    }

    pub fn last(&self) -> Option<EdgeState> {
        self.states.lock().unwrap().last().cloned()
    }
}

#[tokio::test]
async fn the_controller_hears_as_of_when_challenges_are_answered() {
    let controller = Controller::default();
    let edge = Edge::start_with(Some(controller.clone().serve().await)).await;
    for token in ["one", "two"] {
        let key = format!("/roadstead/acme/challenges/http/{token}");
        let revision = edge.store.change(&[(&key, Some("thumb"))]).await;
        eventually("the challenge is acknowledged", || async {
            (controller.last()?.challenges_revision >= revision).then_some(())
        })
        .await;
        let path = format!("/.well-known/acme-challenge/{token}");
        assert_eq!(edge.get("a.example", &path).await.body().as_ref(), b"thumb", "what is acknowledged is answered");
    }
}

#[tokio::test]
async fn the_controller_hears_of_revisions_and_of_the_last_request_of_a_server_that_left() {
    let controller = Controller::default();
    let edge = Edge::start_with(Some(controller.clone().serve().await)).await;
    let (go, wait) = tokio::sync::watch::channel(false);
    let slow = Server::routing(Router::new().fallback(move || {
        let mut wait = wait.clone();
        async move { wait.wait_for(|go| *go).await.map(|_| "done").unwrap() }
    }))
    .await;
    let next = Server::named("next").await;
    let revision = edge.route("a", "a", &[&slow]).await;
    eventually("the revision is reported", || async {
        (controller.last()?.applied_revision >= revision).then_some(())
    })
    .await;
    // With its address: another edge of this host is another edge.
    let (hello, token) = controller.hellos.lock().unwrap()[0].clone();
    assert!(hello.edge_id.starts_with("edge-1@127.0.0.1:"), "{hello:?}");
    assert_eq!((hello.node_id.as_str(), token.as_str()), ("node-1", "Bearer rs_test"));
    assert_eq!(controller.last().unwrap().cluster_id, edge.store.cluster_id().await.unwrap());

    let (address, client) = (edge.address, edge.client.clone());
    let pending =
        tokio::spawn(async move { crate::harness::call(&client, address, Method::GET, "a", "/", "").await.unwrap() });
    eventually("the request is in flight", || async {
        (edge.metric("edge_requests_in_flight ").await == 1.0).then_some(())
    })
    .await;
    let revision = edge.route("a", "a", &[&next]).await;
    let state = eventually("the change is reported", || async {
        controller.last().filter(|state| state.applied_revision >= revision)
    })
    .await;
    assert_eq!(state.busy.len(), 1);
    assert_eq!((state.busy[0].url.as_str(), state.busy[0].in_flight), (slow.url().as_str(), 1));
    assert_eq!(name(&edge.get("a", "/").await), "next");
    go.send(true).unwrap();
    assert_eq!(&pending.await.unwrap().body()[..], b"done");
    eventually("the end of the last request is reported", || async {
        controller.last().filter(|state| state.applied_revision >= revision && state.busy.is_empty())
    })
    .await;
}

#[tokio::test]
async fn the_revision_moves_on_with_keys_that_are_not_routes() {
    let controller = Controller::default();
    let edge = Edge::start_with(Some(controller.clone().serve().await)).await;
    edge.applied(0).await;
    let revision = edge.store.change(&[("/roadstead/apps/x", Some("{}"))]).await;
    eventually("the revision is reported", || async {
        (controller.last()?.applied_revision >= revision).then_some(())
    })
    .await;
    assert!(edge.store.revision() >= revision);
}

#[tokio::test]
async fn a_session_that_ends_is_opened_again() {
    let controller = Controller { patience: Some(2), ..Controller::default() };
    let _edge = Edge::start_with(Some(controller.clone().serve().await)).await;
    eventually("three sessions", || async { (controller.hellos.lock().unwrap().len() >= 3).then_some(()) }).await;
}

#[tokio::test]
async fn an_edge_of_a_draining_node_serves_on_and_is_not_ready() {
    let controller = Controller::default();
    let (edge, server) = (Edge::start_with(Some(controller.clone().serve().await)).await, Server::named("one").await);
    edge.route("a", "a", &[&server]).await;
    eventually("ready", || async { (edge.ready().await.0 == 200).then_some(()) }).await;
    let standing = |draining| to_edge::Message::Node(NodeStanding { draining });
    controller.say(standing(true)).await;
    let said =
        eventually("not ready", || async { Some(edge.ready().await).filter(|(status, _)| *status == 503) }).await;
    assert_eq!(said.1["reason"], json!("draining"));
    assert_eq!(name(&edge.get("a", "/").await), "one");
    controller.say(standing(false)).await;
    eventually("ready again", || async { (edge.ready().await.0 == 200).then_some(()) }).await;
}

#[tokio::test]
async fn an_edge_finds_the_controllers_it_was_told_of_after_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let (first, second) = (Controller::default(), Controller::default());
    let (first_url, second_url) = (first.clone().serve().await, second.clone().serve().await);
    let memory = Arc::new(crate::memory_store::MemoryStore::default());
    let started = |controllers| edge::Config {
        controllers,
        data: Some(data.path().to_owned()),
        ..crate::harness::config(memory.clone())
    };
    let edge = Edge::of(started(vec![first_url]), memory.clone()).await;
    let address = second_url.trim_start_matches("http://").to_owned();
    first.say(to_edge::Message::Controllers(Controllers { addresses: vec![address] })).await;
    let file = data.path().join("controllers.json");
    eventually("it is written down", || async { file.exists().then_some(()) }).await;
    edge.end().await;
    let edge = Edge::of(started(vec![]), memory.clone()).await;
    eventually("a session with the other", || async { second.last() }).await;
    edge.end().await;
}

/// Takes a moment, as work does, so that requests are in flight when a server leaves.
async fn worker() -> Server {
    Server::routing(Router::new().fallback(|body: axum::body::Bytes| async move {
        tokio::time::sleep(Duration::from_millis(3)).await;
        body
    }))
    .await
}

/// Rolls through servers under POSTs, which no failover may replay: each time a new server is listed, the old one leaves,
/// and is killed, with or without waiting for the edge's word. Returns how many requests were lost.
async fn roll_under_posts(rounds: usize, wait_for_the_word: bool) -> usize {
    let controller = Controller::default();
    let edge = Edge::start_with(Some(controller.clone().serve().await)).await;
    let mut server = worker().await;
    edge.route("a", "a", &[&server]).await;
    let (over, lost, answered) =
        (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let mut clients = Vec::new();
    for _ in 0..8 {
        let (over, lost, answered, address) = (over.clone(), lost.clone(), answered.clone(), edge.address);
        clients.push(tokio::spawn(async move {
            let client = web::Client::default();
            while !over.load(SeqCst) {
                let response = crate::harness::call(&client, address, Method::POST, "a", "/", "body").await;
                match response {
                    Ok(response) if &response.body()[..] == b"body" => answered.fetch_add(1, SeqCst),
                    _ => lost.fetch_add(1, SeqCst),
                };
            }
        }));
    }
    for _ in 0..rounds {
        let target = answered.load(SeqCst) + 30;
        eventually("load goes on", || async { (answered.load(SeqCst) > target).then_some(()) }).await;
        let next = worker().await;
        let revision = edge.route("a", "a", &[&next]).await;
        let old = std::mem::replace(&mut server, next);
        if wait_for_the_word {
            eventually("the edge says that the old server is drained", || async {
                let state = controller.last()?;
                let busy = state.busy.iter().any(|busy| busy.url == old.url());
                (state.applied_revision >= revision && !busy).then_some(())
            })
            .await;
        }
        old.kill().await;
    }
    over.store(true, SeqCst);
    for client in clients {
        client.await.unwrap();
    }
    lost.load(SeqCst)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_killed_on_the_edges_word_loses_nothing() {
    assert_eq!(roll_under_posts(20, true).await, 0);
}

/// The proof that the test above can fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_killed_without_waiting_loses_requests() {
    assert!(roll_under_posts(20, false).await > 0);
}
