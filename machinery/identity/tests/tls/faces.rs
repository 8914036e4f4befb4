//! Who is let in, and how a face over TLS begins and ends.

use crate::cluster::{Cluster, DEADLINE, Face, ask, bearer, client};
use axum::Router;
use axum::routing::get;
use http::Version;
use identity::{ClientCertificates, Peer, Role, Token, Verifier, pinned_client};
use std::sync::Arc;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tonic::transport::Endpoint;
use tower::ServiceExt;
use web::Client;

#[tokio::test]
async fn a_certificate_opens_the_gate_and_says_who_calls() {
    let cluster = Cluster::new("one");
    let face = Face::start(&cluster.tls(Role::Controller, "a"), ClientCertificates::Required).await;
    let edge = client(&cluster.tls(Role::Edge, "b"), Role::Controller);
    let agent = client(&cluster.tls(Role::Agent, "c"), Role::Controller);
    for _ in 0..3 {
        assert_eq!(ask(&edge, &face.url()).await.unwrap(), "b/edge");
        assert_eq!(ask(&agent, &face.url()).await.unwrap(), "c/agent");
    }
    let by_name = format!("https://localhost:{}/", face.address.port());
    assert_eq!(ask(&edge, &by_name).await.unwrap(), "b/edge", "localhost is in every certificate");
}

#[tokio::test]
async fn where_certificates_are_optional_a_token_opens_the_gate_too() {
    let cluster = Cluster::new("one");
    let token = Token::generate().unwrap();
    let verifier = Verifier::Tokens(vec![token.accepted_as(Role::Viewer)]);
    let tls = cluster.tls(Role::Controller, "a");
    let face = Face::with(&tls, ClientCertificates::Optional, verifier, "127.0.0.1:0").await;

    let pinned = pinned_client(&cluster.ca.fingerprint());
    let with_token = Client::new(bearer(&token)).with_tls(pinned.clone());
    assert_eq!(ask(&with_token, &face.url()).await.unwrap(), "viewer");
    let with_nothing = Client::default().with_tls(pinned);
    assert!(ask(&with_nothing, &face.url()).await.unwrap_err().contains("401"));

    let edge = cluster.tls(Role::Edge, "b").client(Some(Role::Controller));
    let with_both = Client::new(bearer(&token)).with_tls(edge);
    assert_eq!(ask(&with_both, &face.url()).await.unwrap(), "b/edge", "the certificate counts");
}

#[tokio::test]
async fn a_grpc_channel_speaks_http2_over_mutual_tls() {
    let cluster = Cluster::new("one");
    let router = Router::new().route(
        "/",
        get(|request: axum::extract::Request| async move {
            let certificate = request.extensions().get::<web::PeerCertificate>().unwrap();
            format!("{:?} {}", request.version(), Peer::of(&certificate.0).unwrap())
        }),
    );
    let tls = cluster.tls(Role::Controller, "a");
    let face = Face::serving(&tls, ClientCertificates::Required, router, "127.0.0.1:0").await;
    let endpoint = Endpoint::from_shared(face.url()).unwrap();
    let tls = cluster.tls(Role::Agent, "b").client(Some(Role::Controller));
    let lazy = web::grpc_channel(&endpoint, Some(tls.clone()));
    let connected = web::grpc_connect(&endpoint, Some(tls)).await.unwrap();
    for channel in [lazy, connected] {
        let answer = channel.oneshot(http::Request::new(tonic::body::Body::empty())).await.unwrap();
        assert_eq!(answer.version(), Version::HTTP_2);
        let body = axum::body::to_bytes(axum::body::Body::new(answer.into_body()), 100).await.unwrap();
        assert_eq!(body, "HTTP/2.0 b/agent");
    }

    let edge = cluster.tls(Role::Agent, "c").client(Some(Role::Edge));
    let refused = web::grpc_connect(&endpoint, Some(edge)).await.unwrap_err();
    let words = lifecycle::ErrorChain(&refused).to_string();
    assert!(words.contains("the server is a/controller, not a edge"), "{words}");
}

#[tokio::test]
async fn a_client_with_tls_sends_nothing_in_the_clear() {
    let cluster = Cluster::new("one");
    let client = client(&cluster.tls(Role::Edge, "b"), Role::Controller);
    let refused = ask(&client, "http://127.0.0.1:1/").await.unwrap_err();
    assert!(refused.contains("speaks TLS only"), "{refused}");
}

#[tokio::test]
async fn peers_that_dawdle_over_their_handshake_hold_up_nobody_and_are_dropped() {
    let cluster = Cluster::new("one");
    let face = Face::start(&cluster.tls(Role::Controller, "a"), ClientCertificates::Required).await;
    let mut dawdlers = Vec::new();
    for _ in 0..200 {
        dawdlers.push(TcpStream::connect(face.address).await.unwrap());
    }
    let edge = client(&cluster.tls(Role::Edge, "b"), Role::Controller);
    let quick = tokio::time::timeout(web::HANDSHAKE_TIMEOUT / 2, ask(&edge, &face.url())).await;
    assert_eq!(quick.expect("answered while others dawdle").unwrap(), "b/edge");

    let dropped = tokio::time::timeout(DEADLINE, dawdlers[0].read(&mut [0])).await.expect("dropped in time");
    assert!(matches!(dropped, Ok(0) | Err(_)));
}

/// A face for joining is open to anybody: whoever fills it without a certificate holds up nobody that has one.
#[tokio::test]
async fn strangers_leave_places_for_those_with_a_certificate() {
    let cluster = Cluster::new("lab");
    let (server, edge) = (cluster.tls(Role::Controller, "a"), cluster.tls(Role::Edge, "b"));
    let router = Router::new().route("/", get(|| async { "in" }));
    let bounds = web::Bounds { connections_max: 16, ..web::Bounds::default() };
    let face = Face::bounded(&server, ClientCertificates::Optional, router, "127.0.0.1:0", bounds).await;
    let config = identity::pinned_client(&cluster.ca.fingerprint());
    let connector = tokio_rustls::TlsConnector::from(config);
    let mut strangers = Vec::new();
    for _ in 0..bounds.connections_max {
        let stream = TcpStream::connect(face.address).await.unwrap();
        let name = rustls::pki_types::ServerName::try_from("127.0.0.1").unwrap();
        strangers.push(connector.connect(name, stream).await.unwrap());
    }
    assert_eq!(ask(&client(&edge, Role::Controller), &face.url()).await, Ok("in".to_owned()));
    let mut oldest = strangers.remove(0);
    let read = tokio::time::timeout(DEADLINE, oldest.read(&mut [0; 1])).await.expect("the oldest gave way");
    assert!(!matches!(read, Ok(1..)), "{read:?}");
}

#[tokio::test]
async fn a_request_in_flight_over_tls_ends_after_the_stop() {
    let cluster = Cluster::new("one");
    let (entered, leave) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let handler = {
        let (entered, leave) = (entered.clone(), leave.clone());
        move || async move {
            entered.add_permits(1);
            leave.acquire().await.unwrap().forget();
            "done"
        }
    };
    let tls = cluster.tls(Role::Controller, "a");
    let router = Router::new().route("/", get(handler));
    let face = Face::serving(&tls, ClientCertificates::Required, router, "127.0.0.1:0").await;
    let edge = client(&cluster.tls(Role::Edge, "b"), Role::Controller);
    let _dawdler = TcpStream::connect(face.address).await.unwrap();

    let url = face.url();
    let asked = tokio::spawn(async move { ask(&edge, &url).await });
    entered.acquire().await.unwrap().forget();
    face.stop.request();
    leave.add_permits(1);
    assert_eq!(asked.await.unwrap().unwrap(), "done");
    let ended = tokio::time::timeout(web::HANDSHAKE_TIMEOUT / 2, face.served).await;
    ended.expect("a handshake under way does not hold up the end").unwrap();
    assert!(TcpStream::connect(face.address).await.is_err());
}
