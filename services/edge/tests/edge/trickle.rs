//! Bodies that come a little at a time, for several times as long as anything may idle: on every way that bytes take through
//! the edge they pass whole, and break off where nothing comes for that long.

use crate::harness::{DEADLINE, Edge, Server, config, document, eventually, read_head};
use crate::memory_store::MemoryStore;
use crate::tls::{Authority, https, seal_key};
use axum::Router;
use axum::extract::Request as AxumRequest;
use bytes::Bytes;
use http::{Request, Response};
use serde_json::json;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// All that may idle: a client before its head and while it takes nothing, a response that stands still.
const IDLE: Duration = Duration::from_millis(1500);
/// Between two pieces.
const PAUSE: Duration = Duration::from_millis(150);
const PIECES: usize = 32;
/// In all they are more than goes through the kernel alone (`SPLICE_BYTES_MIN`).
const PIECE_BYTES: usize = 8 * 1024;
const BODY_BYTES: usize = PIECES * PIECE_BYTES;
/// What bodies are made of; no head has it.
const BYTE: u8 = b'~';

/// How a body says where it ends.
#[derive(Clone, Copy)]
enum Form {
    /// Is read by the edge, and written by it.
    Chunked,
    /// Goes through the kernel alone if it is plain on both sides.
    Length,
}

impl Form {
    fn field(self) -> String {
        match self {
            Self::Chunked => "Transfer-Encoding: chunked".to_owned(),
            Self::Length => format!("Content-Length: {BODY_BYTES}"),
        }
    }

    /// Writes a body a piece at a time; halfway comes a pause of its own.
    async fn drip(self, stream: &mut (impl AsyncWrite + Unpin), halfway: Duration) -> io::Result<()> {
        for number in 0..PIECES {
            sleep(if number == PIECES / 2 { halfway } else { PAUSE }).await;
            let piece = [BYTE; PIECE_BYTES];
            match self {
                Self::Chunked => stream.write_all(&[b"2000\r\n", &piece[..], b"\r\n"].concat()).await?,
                Self::Length => stream.write_all(&piece).await?,
            }
        }
        match self {
            Self::Chunked => stream.write_all(b"0\r\n\r\n").await,
            Self::Length => Ok(()),
        }
    }
}

/// Answers a GET with a body that drips.
async fn dripping(form: Form, halfway: Duration) -> Server {
    Server::raw(move |_, mut stream| async move {
        read_head(&mut stream).await;
        let head = format!("HTTP/1.1 200 OK\r\n{}\r\n\r\n", form.field());
        stream.write_all(head.as_bytes()).await.unwrap();
        let _cut = form.drip(&mut stream, halfway).await;
    })
    .await
}

/// Answers with how much came.
async fn counting() -> Server {
    Server::routing(Router::new().fallback(|request: AxumRequest| async move {
        let body = axum::body::to_bytes(request.into_body(), BODY_BYTES).await.unwrap_or_default();
        body.len().to_string()
    }))
    .await
}

/// An edge that has little patience, in the clear and over TLS, and serves `Host(a)` from this server.
async fn impatient(url: &str) -> (Edge, Authority) {
    let (store, any) = (Arc::new(MemoryStore::default()), SocketAddr::from(([127, 0, 0, 1], 0)));
    let client_times = edge::ClientTimes { head: IDLE, stall: IDLE };
    let config =
        edge::Config { listen_tls: vec![any], seal_key: Some(seal_key()), client_times, ..config(store.clone()) };
    let (edge, authority) = (Edge::of(config, store).await, Authority::new());
    let certificate = authority.document(&["a"], true);
    let idle = format!("{}ms", IDLE.as_millis());
    let timeouts = json!([{ "Id": "t", "Type": "timeouts", "Middleware": { "Idle": idle } }]);
    let more = json!({ "servers": [{ "id": "s", "url": url }], "middlewares": timeouts });
    let route = document("Host(`a`)", &[], more);
    let changes = [("/roadstead/routes/a", &*route), ("/roadstead/certificates/a", &certificate)];
    let revision = edge.store.change(&changes.map(|(key, value)| (key, Some(value)))).await;
    edge.applied(revision).await;
    (edge, authority)
}

async fn over_tls(edge: &Edge, authority: &Authority) -> tokio_rustls::client::TlsStream<TcpStream> {
    let client = authority.client();
    eventually("the certificate is shown", || async { client.connect(https(edge), "a").await.ok() }).await.0
}

type Sender = h2::client::SendRequest<Bytes>;

async fn by_http2(edge: &Edge) -> (Sender, JoinHandle<Result<(), h2::Error>>) {
    let stream = TcpStream::connect(edge.address).await.unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    (sender, tokio::spawn(connection))
}

/// Bytes of the body that came until the connection ended.
async fn get(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> usize {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // An end that is not announced is seen by what came.
    let _end = timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("an end");
    answer.iter().filter(|byte| **byte == BYTE).count()
}

/// The same by HTTP/2.
async fn get_by_http2(edge: &Edge) -> usize {
    let (mut sender, _connection) = by_http2(edge).await;
    let (response, _) = sender.send_request(Request::get("http://a/").body(()).unwrap(), true).unwrap();
    let mut body = timeout(DEADLINE, response).await.expect("a head").unwrap().into_body();
    let mut came = 0;
    while let Some(Ok(data)) = timeout(DEADLINE, body.data()).await.expect("an end") {
        came += data.len();
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    came
}

/// Sends a body that drips; what the server says of it.
async fn put(mut stream: impl AsyncRead + AsyncWrite + Unpin, form: Form) -> String {
    let head = format!("PUT / HTTP/1.1\r\nHost: a\r\n{}\r\nConnection: close\r\n\r\n", form.field());
    stream.write_all(head.as_bytes()).await.unwrap();
    form.drip(&mut stream, PAUSE).await.unwrap();
    let mut answer = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut answer)).await.expect("an answer").unwrap();
    answer.rsplit("\r\n").next().unwrap().to_owned()
}

/// Runs it, and sees that it took as long as it should.
async fn long<T>(way: impl Future<Output = T>) -> T {
    let begun = Instant::now();
    let out = way.await;
    assert!(begun.elapsed() > 3 * IDLE, "it was over after {:?}", begun.elapsed());
    out
}

#[tokio::test]
async fn a_response_that_is_copied_may_take_longer_than_anything_idles() {
    let server = dripping(Form::Chunked, PAUSE).await;
    let (edge, _) = impatient(&server.url()).await;
    assert_eq!(long(get(TcpStream::connect(edge.address).await.unwrap())).await, BODY_BYTES);
}

#[tokio::test]
async fn a_response_that_goes_through_the_kernel_alone_may_take_longer_than_anything_idles() {
    let server = dripping(Form::Length, PAUSE).await;
    let (edge, _) = impatient(&server.url()).await;
    assert_eq!(long(get(TcpStream::connect(edge.address).await.unwrap())).await, BODY_BYTES);
}

#[tokio::test]
async fn a_response_over_tls_may_take_longer_than_anything_idles() {
    let server = dripping(Form::Length, PAUSE).await;
    let (edge, authority) = impatient(&server.url()).await;
    let stream = over_tls(&edge, &authority).await;
    assert_eq!(long(get(stream)).await, BODY_BYTES);
}

#[tokio::test]
async fn a_response_by_http2_may_take_longer_than_anything_idles() {
    let server = dripping(Form::Length, PAUSE).await;
    let (edge, _) = impatient(&server.url()).await;
    assert_eq!(long(get_by_http2(&edge)).await, BODY_BYTES);
}

#[tokio::test]
async fn a_response_of_a_server_of_http2_may_take_longer_than_anything_idles() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("h2c://{}", listener.local_addr().unwrap());
    let _serving = tokio::spawn(async move {
        // Each thread of the edge makes its own.
        while let Ok((stream, _)) = listener.accept().await {
            let mut link = h2::server::handshake(stream).await.unwrap();
            tokio::spawn(async move {
                while let Some(Ok((_, mut respond))) = link.accept().await {
                    tokio::spawn(async move {
                        let mut stream = respond.send_response(Response::new(()), false).unwrap();
                        for _ in 0..PIECES {
                            sleep(PAUSE).await;
                            stream.send_data(Bytes::from_static(&[BYTE; PIECE_BYTES]), false).unwrap();
                        }
                        stream.send_data(Bytes::new(), true).unwrap();
                    });
                }
            });
        }
    });
    let (edge, _) = impatient(&url).await;
    let (plain, http2) = (TcpStream::connect(edge.address).await.unwrap(), get_by_http2(&edge));
    assert_eq!(tokio::join!(long(get(plain)), long(http2)), (BODY_BYTES, BODY_BYTES));
}

#[tokio::test]
async fn an_upload_may_take_longer_than_anything_idles() {
    let server = counting().await;
    let (edge, authority) = impatient(&server.url()).await;
    let plain = async |form| put(TcpStream::connect(edge.address).await.unwrap(), form).await;
    let tls = async { put(over_tls(&edge, &authority).await, Form::Length).await };
    let http2 = async {
        let (mut sender, _connection) = by_http2(&edge).await;
        let (response, mut body) = sender.send_request(Request::put("http://a/").body(()).unwrap(), false).unwrap();
        for _ in 0..PIECES {
            sleep(PAUSE).await;
            body.send_data(Bytes::from_static(&[BYTE; PIECE_BYTES]), false).unwrap();
        }
        body.send_data(Bytes::new(), true).unwrap();
        let mut body = timeout(DEADLINE, response).await.expect("an answer").unwrap().into_body();
        String::from_utf8(timeout(DEADLINE, body.data()).await.unwrap().unwrap().unwrap().to_vec()).unwrap()
    };
    let (chunked, length, tls, http2) =
        tokio::join!(long(plain(Form::Chunked)), long(plain(Form::Length)), long(tls), long(http2));
    for (came, way) in [(chunked, "copied"), (length, "through the kernel"), (tls, "TLS"), (http2, "HTTP/2")] {
        assert_eq!(came, BODY_BYTES.to_string(), "{way}");
    }
}

/// The proof that the tests above can fail.
#[tokio::test]
async fn a_response_that_stands_still_for_too_long_breaks_off() {
    let longer = 4 * IDLE;
    let (copied, length) = (dripping(Form::Chunked, longer).await, dripping(Form::Length, longer).await);
    let (first, authority) = impatient(&copied.url()).await;
    let (second, _) = impatient(&length.url()).await;
    let tls = over_tls(&first, &authority).await;
    let plain = async |edge: &Edge| get(TcpStream::connect(edge.address).await.unwrap()).await;
    let came = tokio::join!(plain(&first), plain(&second), get(tls), get_by_http2(&second));
    let half = BODY_BYTES / 2;
    assert_eq!(came, (half, half, half, half));
}

/// A client that takes what comes more slowly than the server sends it.
#[tokio::test]
async fn a_client_that_takes_its_response_slowly_is_not_cut() {
    const AT_ONCE: usize = 256 * 1024;
    let endless = Server::raw(|_, mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n").await.unwrap();
        while stream.write_all(&[BYTE; 64 * 1024]).await.is_ok() {}
    })
    .await;
    let (edge, authority) = impatient(&endless.url()).await;
    let take = async |mut stream: Box<dyn Stream>| {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let (begun, mut block) = (Instant::now(), vec![0; AT_ONCE]);
        while begun.elapsed() <= 3 * IDLE {
            sleep(PAUSE / 3).await;
            timeout(DEADLINE, stream.read_exact(&mut block)).await.expect("more comes").expect("it is not cut");
        }
    };
    // That has room for little, so that it is the edge that waits.
    let narrow = async |address| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(64 * 1024).unwrap();
        socket.connect(address).await.unwrap()
    };
    over_tls(&edge, &authority).await.shutdown().await.unwrap();
    let (name, stream) = ("a".try_into().unwrap(), narrow(https(&edge)).await);
    let tls = tokio_rustls::TlsConnector::from(authority.client().0).connect(name, stream).await.unwrap();
    let plain = narrow(edge.address).await;
    tokio::join!(take(Box::new(plain)), take(Box::new(tls)));
}

trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}
