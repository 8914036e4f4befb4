//! Responses are encoded on their way.

use super::{field, get, one, serve};
use crate::harness::{DEADLINE, Edge, Server, exchange, read_head};
use serde_json::json;
use std::io::Read;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

fn plain() -> String {
    (0..20_000).map(|line| format!("line {line} of many\n")).collect()
}

fn decoded(encoding: &str, encoded: &[u8]) -> String {
    let mut text = String::new();
    match encoding {
        "gzip" => flate2::read::GzDecoder::new(encoded).read_to_string(&mut text).unwrap(),
        "br" => brotli::Decompressor::new(encoded, 4096).read_to_string(&mut text).unwrap(),
        "zstd" => zstd::stream::read::Decoder::new(encoded).unwrap().read_to_string(&mut text).unwrap(),
        other => panic!("{other:?}"),
    };
    text
}

/// Says the same in every framing: by `/length`, `/chunks` and `/close`.
async fn speaking() -> Server {
    Server::raw(|_, mut stream| async move {
        loop {
            let head = read_head(&mut stream).await;
            let path = head.split(' ').nth(1).unwrap_or_default();
            let text = plain();
            let fields = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nETag: \"a\"\r\n";
            let framing = match path {
                "/length" => format!("Content-Length: {}\r\n", text.len()),
                "/chunks" => "Transfer-Encoding: chunked\r\n".to_owned(),
                "/close" => String::new(),
                _ => return,
            };
            stream.write_all(format!("{fields}{framing}\r\n").as_bytes()).await.unwrap();
            if head.starts_with("HEAD ") {
                continue;
            }
            for piece in text.as_bytes().chunks(7001) {
                let piece = match path {
                    "/chunks" => [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat(),
                    _ => piece.to_vec(),
                };
                stream.write_all(&piece).await.unwrap();
            }
            match path {
                "/chunks" => stream.write_all(b"0\r\nX-Sum: 1\r\n\r\n").await.unwrap(),
                "/close" => return,
                _ => {}
            }
        }
    })
    .await
}

#[tokio::test]
async fn bodies_of_every_framing_come_encoded_as_the_client_likes() {
    let (edge, server) = (Edge::start().await, speaking().await);
    serve(&edge, &[&server], &one("compress", json!({}))).await;
    for path in ["/length", "/chunks", "/close", "/length"] {
        for encoding in ["gzip", "br", "zstd"] {
            let response = get(&edge, path, &[("Accept-Encoding", encoding)]).await;
            assert_eq!(field(&response, "content-encoding"), encoding, "{path}");
            assert_eq!((field(&response, "vary"), field(&response, "etag")), ("Accept-Encoding", "W/\"a\""));
            assert_eq!((field(&response, "content-length"), field(&response, "transfer-encoding")), ("", "chunked"));
            assert!(response.body().len() < plain().len() / 3, "{path} {encoding}: {}", response.body().len());
            assert_eq!(decoded(encoding, response.body()), plain(), "{path} {encoding}");
        }
        let response = get(&edge, path, &[]).await;
        assert_eq!((field(&response, "content-encoding"), field(&response, "vary")), ("", "Accept-Encoding"));
        assert_eq!(response.body(), plain().as_bytes());
    }
}

#[tokio::test]
async fn head_is_left_as_it_is_and_http_1_0_gets_no_chunks() {
    let (edge, server) = (Edge::start().await, speaking().await);
    serve(&edge, &[&server], &one("compress", json!({}))).await;
    let head = "HEAD /length HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n";
    let head = exchange(edge.address, head).await;
    assert!(head.contains(&format!("Content-Length: {}\r\n", plain().len())) && head.ends_with("\r\n\r\n"), "{head}");
    assert!(!head.contains("Content-Encoding"), "{head}");

    let mut client = TcpStream::connect(edge.address).await.unwrap();
    client.write_all(b"GET /chunks HTTP/1.0\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n").await.unwrap();
    let head = read_head(&mut client).await;
    assert!(!head.contains("chunked") && head.contains("Content-Encoding: gzip\r\n"), "{head}");
    let mut body = Vec::new();
    tokio::time::timeout(DEADLINE, client.read_to_end(&mut body)).await.unwrap().unwrap();
    assert_eq!(decoded("gzip", &body), plain());
}

/// Events have to arrive while the server still holds the next.
#[tokio::test]
async fn what_the_server_pauses_after_is_not_held_back() {
    let edge = Edge::start().await;
    let (go, wait) = watch::channel(false);
    let server = Server::raw(move |_, mut stream| {
        let mut wait = wait.clone();
        async move {
            read_head(&mut stream).await;
            let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
            stream.write_all(head).await.unwrap();
            stream.write_all(b"d\r\ndata: first\n\n\r\n").await.unwrap();
            wait.wait_for(|go| *go).await.unwrap();
            stream.write_all(b"e\r\ndata: second\n\n\r\n0\r\n\r\n").await.unwrap();
        }
    })
    .await;
    for encoding in ["gzip", "br", "zstd"] {
        go.send(false).unwrap();
        let settings = json!({ "Types": ["text/event-stream"], "Encodings": [encoding] });
        serve(&edge, &[&server], &one("compress", settings)).await;
        let mut client = TcpStream::connect(edge.address).await.unwrap();
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {encoding}\r\nConnection: close\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let head = tokio::time::timeout(DEADLINE, read_head(&mut client)).await.unwrap();
        assert!(head.contains(&format!("Content-Encoding: {encoding}\r\n")), "{head}");
        let mut body = http1::Body::new(http1::Framing::Chunked);
        let mut encoded = Vec::new();
        let mut take = async |until: &str| {
            let mut buffer = [0; 4096];
            while !begins(encoding, &encoded).contains(until) {
                let read = tokio::time::timeout(DEADLINE, client.read(&mut buffer)).await;
                let mut bytes = &buffer[..read.unwrap_or_else(|_| panic!("{encoding}: {until} is held back")).unwrap()];
                assert!(!bytes.is_empty(), "{encoding}: it ended before {until}");
                while !bytes.is_empty() && !body.is_done() {
                    let piece = body.decode(bytes).unwrap();
                    encoded.extend_from_slice(piece.data);
                    bytes = &bytes[piece.consumed..];
                }
            }
        };
        take("first").await;
        go.send(true).unwrap();
        take("second").await;
    }
}

/// What can be decoded of the beginning of a body.
fn begins(encoding: &str, encoded: &[u8]) -> String {
    let mut text = Vec::new();
    let mut decoder: Box<dyn Read> = match encoding {
        "gzip" => Box::new(flate2::read::GzDecoder::new(encoded)),
        "br" => Box::new(brotli::Decompressor::new(encoded, 1)),
        _ => Box::new(zstd::stream::read::Decoder::new(encoded).unwrap()),
    };
    let mut byte = [0];
    while let Ok(1) = decoder.read(&mut byte) {
        text.push(byte[0]);
    }
    String::from_utf8(text).unwrap()
}
