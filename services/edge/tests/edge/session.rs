//! What the edge tells the controller.

use crate::harness::{Edge, Server, eventually, name};
use axum::Router;
use http::Method;
use protocol::sessions_server::{Sessions, SessionsServer};
use protocol::{EdgeState, FromAgent, FromEdge, ToAgent, ToEdge, from_edge};
use std::sync::{Arc, Mutex};
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
    assert_eq!(controller.hellos.lock().unwrap()[0], ("edge-1".to_owned(), "Bearer rs_test".to_owned()));
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
