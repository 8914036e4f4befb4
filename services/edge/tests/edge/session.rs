//! What the edge tells the controller.

use crate::harness::{Edge, Server, eventually, name};
use axum::Router;
use http::Method;
use protocol::sessions_server::{Sessions, SessionsServer};
use protocol::{EdgeState, FromAgent, FromEdge, ToAgent, ToEdge, from_edge};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

/// A controller that only listens.
#[derive(Clone, Default)]
struct Controller {
    hellos: Arc<Mutex<Vec<(String, String)>>>,
    states: Arc<Mutex<Vec<EdgeState>>>,
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
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let this = self.clone();
        tokio::spawn(async move {
            let mut count = 0;
            while let Some(Ok(FromEdge { message: Some(message) })) = messages.next().await {
                match message {
                    from_edge::Message::Hello(hello) => {
                        this.hellos.lock().unwrap().push((hello.edge_id, token.clone()));
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
            drop(sender);
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

impl Controller {
    async fn serve(self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tonic::transport::Server::builder().add_service(SessionsServer::new(self));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        url
    }

    fn last(&self) -> Option<EdgeState> {
        self.states.lock().unwrap().last().cloned()
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
    let (edge_id, token) = controller.hellos.lock().unwrap()[0].clone();
    assert!(edge_id.starts_with("edge-1@127.0.0.1:"), "{edge_id}");
    assert_eq!(token, "Bearer rs_test");
    assert_eq!(controller.last().unwrap().cluster_id, 7);

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
