//! The same bytes to hyper's server: what is accepted here, hyper reads as the same requests.

mod support;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use support::corpus::{self, nearly_requests};
use support::{Message, read};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PIPE_BYTES: usize = 64 * 1024;

/// The requests that hyper reads whole.
fn hyper_reads(bytes: &[u8]) -> Vec<Message> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (client, server) = tokio::io::duplex(PIPE_BYTES);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let record = service_fn(|request| note(request, seen.clone()));
        let connection =
            hyper::server::conn::http1::Builder::new().half_close(true).serve_connection(TokioIo::new(server), record);
        let (mut from, mut to) = tokio::io::split(client);
        let send = async {
            to.write_all(bytes).await.unwrap();
            to.shutdown().await.unwrap();
        };
        let mut answers = Vec::new();
        let (_how_it_ended, (), _) = tokio::join!(connection, send, from.read_to_end(&mut answers));
        let seen = seen.lock().unwrap();
        seen.clone()
    })
}

async fn note(
    request: Request<Incoming>,
    seen: Arc<Mutex<Vec<Message>>>,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    if let Ok(body) = body.collect().await {
        let named = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
        let host = named.or(parts.headers.get("host").map(|host| host.as_bytes())).unwrap_or_default();
        let message = Message {
            method: parts.method.as_str().to_owned(),
            target: parts.uri.path_and_query().map_or("", |target| target.as_str()).to_owned(),
            host: String::from_utf8_lossy(host).into_owned(),
            headers: parts.headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect(),
            body: body.to_bytes().to_vec(),
        };
        seen.lock().unwrap().push(message);
    }
    Ok(Response::new(Empty::new()))
}

/// Where hyper differs, each for a reason.
fn is_exception(message: &Message) -> bool {
    let (path, query) = message.target.split_once('?').unwrap_or((&message.target, ""));
    // It refuses these two, and takes them in the other part; here both parts have the same characters.
    path.contains('`') || query.contains('"')
        // An absolute URL without path means the server as a whole (RFC 9112 §3.2.4), not its path `/`.
        || message.method == "OPTIONS" && message.target == "*"
}

fn differences(bytes: &[u8]) -> Result<(), String> {
    let (ours, hypers) = (read(bytes), hyper_reads(bytes));
    for (index, message) in ours.messages.iter().enumerate() {
        if is_exception(message) {
            return Ok(());
        }
        let theirs = hypers.get(index);
        if theirs.map(Message::essence) != Some(message.essence()) {
            return Err(format!("here: {message:?}\nhyper: {theirs:?}"));
        }
    }
    Ok(())
}

#[test]
fn what_is_accepted_hyper_reads_the_same() {
    let differences: Vec<String> = corpus::cases()
        .iter()
        .filter_map(|case| differences(&case.bytes).err().map(|difference| format!("{}: {difference}", case.what)))
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}

/// Each of the characters that a target may have here.
#[test]
fn hyper_takes_the_same_targets() {
    let characters = (0..=0x7f_u8).map(char::from);
    let differences: Vec<String> = characters
        .flat_map(|character| [format!("/a{character}b"), format!("/a?b{character}c")])
        .filter_map(|target| {
            let bytes = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            differences(bytes.as_bytes()).err().map(|_| target)
        })
        .collect();
    assert!(differences.is_empty(), "{differences:?}");
}

proptest! {
    #![proptest_config(support::many())]

    #[test]
    fn random_requests_are_read_the_same_by_hyper(bytes in nearly_requests()) {
        if let Err(difference) = differences(&bytes) {
            return Err(TestCaseError::fail(difference));
        }
    }
}
