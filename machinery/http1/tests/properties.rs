//! What holds of all messages, tried on random ones.

mod support;

use http1::{
    Asked, BadChunk, Body, ChunkHead, Connection, Forward, Forwarded, Framing, LAST_CHUNK, Parsed, Reply, Request,
    Response, Scheme, Storage, head_may_end,
};
use proptest::collection::vec;
use proptest::prelude::*;
use support::corpus::{self, nearly_requests};
use support::{End, LIMITS, read};

const FORWARD: Forward<'static> = Forward {
    authority: "server:1",
    keeps_host: true,
    target: None,
    forwarded: Forwarded { trusted: false, client: "192.0.2.7", scheme: Scheme::Http, server: "edge" },
    framing: None,
    edits: &[],
};

/// Lines as clients send them, whitespace included.
fn lines() -> impl Strategy<Value = Vec<(String, String, String)>> {
    let name = "[a-z][a-z0-9-]{0,20}".prop_filter("the proxy's", |name| !support::OURS.contains(&name.as_str()));
    vec((name, "[ \t]{0,2}", "([!-~]([ -~\t]{0,30}[!-~])?)?"), 0..8)
}

fn requests() -> impl Strategy<Value = Vec<u8>> {
    let body = prop_oneof![Just(None), vec(any::<u8>(), 0..40).prop_map(Some)];
    ("(GET|POST|PURGE)", "/[a-z0-9/?=&%.]{0,20}", lines(), body).prop_map(|(method, target, lines, body)| {
        let mut text = format!("{method} {target} HTTP/1.1\r\n");
        for (index, (name, space, value)) in lines.iter().enumerate() {
            if index == lines.len() / 2 {
                text += "Host: a.example\r\n";
            }
            text += &format!("{name}:{space}{value}{space}\r\n");
        }
        if lines.is_empty() {
            text += "host:a.example\r\n";
        }
        let body = match body {
            Some(body) => {
                text += &format!("Content-Length: {}\r\n", body.len());
                body
            }
            None => Vec::new(),
        };
        [text.as_bytes(), b"\r\n", &body].concat()
    })
}

fn encode(chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in chunks {
        out.extend_from_slice(ChunkHead::new(chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(LAST_CHUNK);
    out
}

/// All the data of a chunked body that comes in pieces, and how many bytes it had.
fn decode(pieces: &[&[u8]]) -> Result<(Vec<u8>, usize, bool), BadChunk> {
    let mut body = Body::new(Framing::Chunked);
    let (mut data, mut used) = (Vec::new(), 0);
    for piece in pieces {
        let mut at = 0;
        while at < piece.len() && !body.is_done() {
            let decoded = body.decode(&piece[at..])?;
            data.extend_from_slice(decoded.data);
            at += decoded.consumed;
        }
        used += at;
    }
    assert_eq!(body.data_bytes(), data.len() as u64);
    Ok((data, used, body.is_done()))
}

proptest! {
    #![proptest_config(support::many())]

    #[test]
    fn no_bytes_panic(bytes in vec(any::<u8>(), 0..300), head in any::<bool>(), upgrade in any::<bool>()) {
        let _any = read(&bytes);
        let _any = Response::parse(&bytes, &mut Storage::new(), &LIMITS, Asked { head, upgrade });
        let _any = decode(&[&bytes]);
    }

    #[test]
    fn what_is_nearly_a_request_is_written_so_that_it_reads_the_same(bytes in nearly_requests()) {
        let mut storage = Storage::new();
        if let Ok(Parsed::Complete(request)) = Request::parse(&bytes, &mut storage, &LIMITS) {
            let mut out = Vec::new();
            request.write(&mut out, &FORWARD);
            let wide = http1::Limits { head_bytes_max: 8192, headers_max: 64 };
            let mut storage = Storage::new();
            let Ok(Parsed::Complete(again)) = Request::parse(&out, &mut storage, &wide) else {
                return Err(TestCaseError::fail(format!("{:?}", String::from_utf8_lossy(&out))));
            };
            prop_assert_eq!(again.head_bytes(), out.len());
            prop_assert_eq!((again.method, again.target, again.framing), (request.method, request.target, request.framing));
            prop_assert_eq!(again.upgrade, request.upgrade);
            if !request.host.is_empty() {
                prop_assert_eq!(again.host, request.host);
            }
        }
    }

    #[test]
    fn a_written_request_reads_the_same(bytes in requests()) {
        let before = read(&bytes);
        prop_assert_eq!(&before.end, &End::Clean);
        let mut storage = Storage::new();
        let Ok(Parsed::Complete(request)) = Request::parse(&bytes, &mut storage, &LIMITS) else { unreachable!() };
        let mut out = Vec::new();
        request.write(&mut out, &Forward { ..FORWARD });
        out.extend_from_slice(&bytes[request.head_bytes()..]);
        let after = read(&out);
        prop_assert_eq!(&after.end, &End::Clean);
        let (before, after) = (&before.messages[0], &after.messages[0]);
        prop_assert_eq!(before.passed_on(), after.passed_on());
        prop_assert_eq!(
            (&before.method, &before.target, &before.host, &before.body),
            (&after.method, &after.target, &after.host, &after.body)
        );
        let forwarded: Vec<_> = after.headers.iter().filter(|(name, _)| name == "x-forwarded-for").collect();
        prop_assert_eq!(forwarded.len(), 1);
        prop_assert_eq!(&forwarded[0].1, b"192.0.2.7");
    }

    #[test]
    fn the_pieces_in_which_bytes_come_change_nothing(bytes in nearly_requests()) {
        let whole = Request::parse(&bytes, &mut Storage::new(), &LIMITS).map(|parsed| match parsed {
            Parsed::Complete(request) => Some(request.head_bytes()),
            Parsed::Partial => None,
        });
        let mut parsed_until = 0;
        for length in 1..=bytes.len() {
            let mut storage = Storage::new();
            let part = Request::parse(&bytes[..length], &mut storage, &LIMITS);
            match part {
                Ok(Parsed::Partial) => prop_assert!(length < bytes.len() || whole == Ok(None)),
                Ok(Parsed::Complete(request)) => {
                    prop_assert!(head_may_end(&bytes[..length], parsed_until));
                    prop_assert_eq!(whole, Ok(Some(request.head_bytes())));
                    break;
                }
                Err(bad) => {
                    prop_assert_eq!(whole, Err(bad));
                    break;
                }
            }
            parsed_until = length;
        }
    }

    #[test]
    fn chunks_come_out_as_they_went_in(
        chunks in vec(vec(any::<u8>(), 1..50), 0..6),
        cuts in vec(any::<prop::sample::Index>(), 0..6),
        after in vec(any::<u8>(), 0..5),
    ) {
        let encoded = encode(&chunks);
        let bytes = [encoded.as_slice(), &after].concat();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).chain([0, bytes.len()]).collect();
        cuts.sort();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        prop_assert_eq!(decode(&pieces), Ok((chunks.concat(), encoded.len(), true)));
        let mut body = Body::new(Framing::Chunked);
        let advanced: usize = pieces.iter().map(|piece| body.advance(piece).expect("what was encoded is read")).sum();
        prop_assert_eq!((advanced, body.is_done(), body.data_bytes()), (encoded.len(), true, chunks.concat().len() as u64));
    }

    #[test]
    fn a_chunked_body_ends_or_fails_at_the_same_byte_in_any_pieces(
        case in 0..corpus::cases().len(),
        cut in any::<prop::sample::Index>(),
        noise in (any::<prop::sample::Index>(), any::<u8>()),
    ) {
        let case = &corpus::cases()[case];
        let Some(start) = case.bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(()) };
        let mut bytes = case.bytes[start + 2..].to_vec();
        bytes[..2].copy_from_slice(b"0;");
        let at = noise.0.index(bytes.len());
        bytes[at] = noise.1;
        let (first, second) = bytes.split_at(cut.index(bytes.len()));
        prop_assert_eq!(decode(&[first, second]), decode(&[&bytes]));
    }

    #[test]
    fn a_written_response_reads_the_same(
        status in 200_u16..600,
        lines in lines(),
        framing in prop_oneof![Just(""), Just("Content-Length: 007\r\n"), Just("Transfer-Encoding:chunked\r\n")],
        head in any::<bool>(),
    ) {
        let mut text = format!("HTTP/1.1 {status} Some reason\r\n{framing}");
        for (name, space, value) in &lines {
            text += &format!("{name}:{space}{value}{space}\r\n");
        }
        text += "Connection: close\r\nKeep-Alive: 5\r\n\r\n";
        let asked = Asked { head, upgrade: false };
        let mut storage = Storage::new();
        let Ok(Parsed::Complete(response)) = Response::parse(text.as_bytes(), &mut storage, &LIMITS, asked) else {
            return Err(TestCaseError::fail(text));
        };
        let mut out = Vec::new();
        response.write(&mut out, &Reply { connection: Connection::Stays, framing: None, date: None, edits: &[] });
        let mut storage = Storage::new();
        let Ok(Parsed::Complete(again)) = Response::parse(&out, &mut storage, &LIMITS, asked) else {
            return Err(TestCaseError::fail(String::from_utf8_lossy(&out).into_owned()));
        };
        prop_assert_eq!(again.head_bytes(), out.len());
        prop_assert_eq!((again.status, again.reason, again.framing), (status, "Some reason", response.framing));
        prop_assert!(again.header("connection").is_none() && again.header("keep-alive").is_none());
        for (name, _, value) in &lines {
            let count = |response: &Response<'_>| {
                response.headers().iter().filter(|header| header.name == name && header.value == value.as_bytes()).count()
            };
            prop_assert_eq!(count(&again), count(&response));
        }
    }
}
