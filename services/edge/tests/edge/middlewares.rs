//! What middlewares do to requests that pass the edge, over real sockets.

mod access;
mod breaker;
mod changes;
mod compress;
mod limits;
mod sources;

use crate::harness::{Edge, Server, document};
use bytes::Bytes;
use http::{Method, Request, Response};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// A list of one middleware.
fn one(kind: &str, settings: Value) -> Value {
    json!([{ "Id": kind, "Type": kind, "Middleware": settings }])
}

/// Serves `Host(a)` from these servers, through these middlewares.
async fn serve(edge: &Edge, servers: &[&Server], middlewares: &Value) {
    let document = document("Host(`a`)", servers, json!({ "middlewares": middlewares }));
    let revision = edge.store.change(&[("/roadstead/routes/a", Some(&document))]).await;
    edge.applied(revision).await;
}

/// An edge with one server, which says what it received, behind these middlewares.
async fn behind(middlewares: Value) -> (Edge, Server) {
    let (edge, server) = (Edge::start().await, Server::named("one").await);
    serve(&edge, &[&server], &middlewares).await;
    (edge, server)
}

async fn ask(edge: &Edge, method: Method, target: &str, headers: &[(&str, &str)]) -> Response<Bytes> {
    let mut request =
        Request::builder().method(method).uri(format!("http://{}{target}", edge.address)).header("host", "a");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    edge.client.fetch(request.body(web::empty_body()).unwrap()).await.unwrap()
}

async fn get(edge: &Edge, target: &str, headers: &[(&str, &str)]) -> Response<Bytes> {
    ask(edge, Method::GET, target, headers).await
}

async fn status(edge: &Edge, headers: &[(&str, &str)]) -> u16 {
    get(edge, "/", headers).await.status().as_u16()
}

fn field<'a>(response: &'a Response<Bytes>, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

fn text(response: &Response<Bytes>) -> &str {
    std::str::from_utf8(response.body()).unwrap()
}

/// A server that answers with what `answer` makes of the request's number, and how many came.
async fn counting(
    answer: impl Fn(usize) -> Response<String> + Clone + Send + Sync + 'static,
) -> (Server, Arc<AtomicUsize>) {
    let count = Arc::<AtomicUsize>::default();
    let counted = count.clone();
    let router = axum::Router::new().fallback(move || {
        let response = answer(counted.fetch_add(1, SeqCst));
        async move { response }
    });
    (Server::routing(router).await, count)
}

/// An address nobody listens at.
async fn nobody() -> SocketAddr {
    Server::absent().await.address
}
