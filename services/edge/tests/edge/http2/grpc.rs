//! gRPC from end to end: a client and a server of tonic, with the edge between them.

use super::agreed::Speaker;
use crate::harness::{DEADLINE, Edge};
use crate::tls::Authority;
use futures::Stream;
use http::uri::PathAndQuery;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tonic::body::Body;
use tonic::client::Grpc as Client;
use tonic::server::{Grpc as Server, NamedService};
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::service_fn;

type Codec = ProstCodec<String, String>;
type Words = Pin<Box<dyn Stream<Item = Result<String, Status>> + Send>>;

#[derive(Clone)]
struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "test.Echo";
}

impl tower::Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let path = request.uri().path().to_owned();
        let mut server = Server::new(Codec::default());
        Box::pin(async move {
            Ok(match path.as_str() {
                "/test.Echo/Unary" => server.unary(service_fn(unary), request).await,
                "/test.Echo/Down" => server.server_streaming(service_fn(down), request).await,
                "/test.Echo/Up" => server.client_streaming(service_fn(up), request).await,
                _ => server.streaming(service_fn(both), request).await,
            })
        })
    }
}

async fn unary(request: Request<String>) -> Result<Response<String>, Status> {
    let deadline = request.metadata().get("grpc-timeout").map(|value| value.to_str().unwrap().to_owned());
    match request.get_ref().as_str() {
        "fail" => Err(Status::with_details(Code::NotFound, "there is no such thing", b"details"[..].into())),
        "deadline" => Ok(Response::new(deadline.unwrap_or_default())),
        text => {
            let mut response = Response::new(text.to_uppercase());
            response.metadata_mut().insert("x-meta", "data".parse().unwrap());
            Ok(response)
        }
    }
}

/// As many words as it says.
async fn down(request: Request<String>) -> Result<Response<Words>, Status> {
    let count: usize = request.get_ref().parse().unwrap();
    let words = (0..count).map(|number| Ok(format!("word {number}")));
    let failed = Err(Status::resource_exhausted("no more words"));
    Ok(Response::new(Box::pin(tokio_stream::iter(words.chain([failed])))))
}

async fn up(request: Request<Streaming<String>>) -> Result<Response<String>, Status> {
    let mut words = request.into_inner();
    let mut all = String::new();
    while let Some(word) = words.message().await? {
        all.push_str(&word);
    }
    Ok(Response::new(all))
}

/// A word for a word, as it comes.
async fn both(request: Request<Streaming<String>>) -> Result<Response<Words>, Status> {
    let words = request.into_inner().map(|word| word.map(|word| word.chars().rev().collect()));
    Ok(Response::new(Box::pin(words)))
}

async fn served() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tonic::transport::Server::builder().add_service(Echo);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

async fn client(edge: &Edge) -> Client<Channel> {
    client_to(edge, &format!("h2c://{}", served().await), json!({})).await
}

async fn client_to(edge: &Edge, url: &str, tls: Value) -> Client<Channel> {
    let servers = json!([{ "id": "s", "url": url }]);
    let document = json!({ "v": 0, "rule": "PathPrefix(`/test.Echo/`)", "servers": servers, "server_tls": tls });
    let revision = edge.store.change(&[("/roadstead/routes/grpc", Some(&document.to_string()))]).await;
    edge.applied(revision).await;
    let channel = Channel::from_shared(format!("http://{}", edge.address)).unwrap().connect().await.unwrap();
    let mut client = Client::new(channel);
    client.ready().await.unwrap();
    client
}

fn path(method: &'static str) -> PathAndQuery {
    PathAndQuery::from_static(method)
}

#[tokio::test]
async fn calls_of_one_message_and_their_failures_go_through() {
    let edge = Edge::start().await;
    let mut client = client(&edge).await;
    let answer = client.unary(Request::new("hello".to_owned()), path("/test.Echo/Unary"), Codec::default()).await;
    let answer = answer.unwrap();
    assert_eq!(
        (answer.get_ref().as_str(), answer.metadata().get("x-meta").unwrap().as_bytes()),
        ("HELLO", &b"data"[..])
    );

    client.ready().await.unwrap();
    let failed =
        client.unary(Request::new("fail".to_owned()), path("/test.Echo/Unary"), Codec::default()).await.unwrap_err();
    assert_eq!(
        (failed.code(), failed.message(), failed.details()),
        (Code::NotFound, "there is no such thing", &b"details"[..])
    );

    client.ready().await.unwrap();
    let mut hurried = Request::new("deadline".to_owned());
    hurried.set_timeout(Duration::from_secs(7));
    let answer = client.unary(hurried, path("/test.Echo/Unary"), Codec::default()).await.unwrap();
    assert_eq!(answer.get_ref(), "7000000u");
}

#[tokio::test]
async fn streams_go_down_and_up_and_both_ways_at_once() {
    let edge = Edge::start().await;
    let mut client = client(&edge).await;
    let down =
        client.server_streaming(Request::new("2000".to_owned()), path("/test.Echo/Down"), Codec::default()).await;
    let mut down = down.unwrap().into_inner();
    for number in 0..2000 {
        assert_eq!(timeout(DEADLINE, down.message()).await.unwrap().unwrap(), Some(format!("word {number}")));
    }
    assert_eq!(timeout(DEADLINE, down.message()).await.unwrap().unwrap_err().code(), Code::ResourceExhausted);

    client.ready().await.unwrap();
    let words = tokio_stream::iter((0..2000).map(|number| format!("{number},")));
    let up: Response<String> =
        client.client_streaming(Request::new(words), path("/test.Echo/Up"), Codec::default()).await.unwrap();
    assert_eq!(up.get_ref().split(',').count(), 2001);

    client.ready().await.unwrap();
    let (say, said) = mpsc::unbounded_channel();
    let said = Request::new(UnboundedReceiverStream::new(said));
    say.send("first".to_owned()).unwrap();
    let both = client.streaming(said, path("/test.Echo/Both"), Codec::default());
    let mut both = timeout(DEADLINE, both).await.unwrap().unwrap().into_inner();
    assert_eq!(timeout(DEADLINE, both.message()).await.unwrap().unwrap().as_deref(), Some("tsrif"));
    // The next word is said only once the answer to the one before is here.
    for _ in 0..100 {
        say.send("again".to_owned()).unwrap();
        assert_eq!(timeout(DEADLINE, both.message()).await.unwrap().unwrap().as_deref(), Some("niaga"));
    }
    drop(say);
    assert_eq!(timeout(DEADLINE, both.message()).await.unwrap().unwrap(), None);
}

/// The server has TLS in front of it, and speaks HTTP/2 only.
#[tokio::test]
async fn calls_go_to_a_server_over_tls_with_their_trailers() {
    let (edge, authority) = (Edge::start().await, Authority::new());
    let behind = served().await;
    let server = Speaker::start(&authority, &[b"h2"], move |_, mut stream| async move {
        let mut behind = TcpStream::connect(behind).await.unwrap();
        let _ended = copy_bidirectional(&mut stream, &mut behind).await;
    })
    .await;
    let mut client = client_to(&edge, &server.url, json!({ "authorities": authority.pem() })).await;
    for _ in 0..10 {
        let call = client.unary(Request::new("hello".to_owned()), path("/test.Echo/Unary"), Codec::default());
        assert_eq!(timeout(DEADLINE, call).await.unwrap().unwrap().get_ref(), "HELLO");
        client.ready().await.unwrap();
    }
    let down = client.server_streaming(Request::new("20".to_owned()), path("/test.Echo/Down"), Codec::default());
    let mut down = down.await.unwrap().into_inner();
    for number in 0..20 {
        assert_eq!(timeout(DEADLINE, down.message()).await.unwrap().unwrap(), Some(format!("word {number}")));
    }
    assert_eq!(timeout(DEADLINE, down.message()).await.unwrap().unwrap_err().code(), Code::ResourceExhausted);
    assert_eq!(server.heard(), (1, 0), "one connection");
}
