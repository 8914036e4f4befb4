use super::*;
use crate::hpack::Decoder;
use http1::{Answer, Connection, Limits, Parsed, Response, Storage};
use proptest::prelude::*;

const LIMITS: Limits = Limits { head_bytes_max: 64 * 1024, headers_max: 256 };

fn written(lines: &str, asked: Asked) -> Result<Option<(Told, Vec<String>)>, BadAnswer> {
    let mut block = Vec::new();
    let told = put(&mut block, lines.as_bytes(), asked)?;
    Ok(told.map(|told| (told, fields(&block))))
}

fn fields(block: &[u8]) -> Vec<String> {
    let mut fields = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Decoder::new()
        .decode(block, usize::MAX, |field| fields.push(format!("{}: {}", text(field.name), text(field.value))))
        .unwrap();
    fields
}

#[test]
fn what_belongs_to_a_connection_stays_there() {
    let lines = "HTTP/1.1 200 OK\r\nConnection: close\r\nKeep-Alive: 5\r\nTransfer-Encoding: chunked\r\n\
                 Set-Cookie: a=1\r\nSet-Cookie:b=2\r\nX-Empty:\r\n\r\nbody";
    let (told, fields) = written(lines, Asked::default()).unwrap().unwrap();
    assert_eq!(fields, [":status: 200", "set-cookie: a=1", "set-cookie: b=2", "x-empty: "]);
    assert_eq!(told, Told { bytes: lines.len() - 4, status: 200, framing: Framing::Chunked });
}

#[test]
fn a_tunnel_begins_with_200() {
    let lines = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: x\r\nX-A: b\r\n\r\n";
    let (told, fields) = written(lines, Asked { head: false, upgrade: true }).unwrap().unwrap();
    assert_eq!(
        (told.status, told.framing, fields),
        (101, Framing::UntilClose, vec![":status: 200".into(), "x-a: b".into()])
    );
}

#[test]
fn a_part_of_a_head_is_waited_for_and_what_is_none_is_refused() {
    let lines = "HTTP/1.1 404 Not Found\r\nA: b\r\n\r\n";
    for end in 0..lines.len() {
        assert_eq!(written(&lines[..end], Asked::default()), Ok(None), "{end}");
    }
    assert_eq!(written("HTTP/1.0 200 OK\r\n\r\n", Asked::default()), Err(BadAnswer::StatusLine));
    assert_eq!(written("HTTP/1.1 2x0 OK\r\n\r\n", Asked::default()), Err(BadAnswer::StatusLine));
    assert_eq!(written("HTTP/1.1 200 OK\r\nA\r\n\r\n", Asked::default()), Err(BadAnswer::Line));
    assert_eq!(
        written("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", Asked::default()),
        Err(BadAnswer::ContentLength)
    );
}

#[test]
fn trailers_are_fields() {
    let mut block = Vec::new();
    assert!(put_trailers(&mut block, b"Grpc-Status: 0\r\nx-end:yes\r\n\r\n").is_some());
    assert_eq!(fields(&block), ["grpc-status: 0", "x-end: yes"]);
    assert!(put_trailers(&mut Vec::new(), b"\r\n").is_none());
}

proptest! {
    /// What the proxy writes is read here as `http1` reads it.
    #[test]
    fn framings_and_fields_are_those_of_http1(
        status in 200..600_u16,
        pairs in prop::collection::vec(("[A-Za-z-]{2,12}", "[!-~]{0,20}"), 0..8),
        framing in prop_oneof![
            Just(Framing::None), Just(Framing::Chunked), (0..99_u64).prop_map(Framing::Length), Just(Framing::UntilClose)
        ],
        is_head in any::<bool>(),
    ) {
        let is_own = |name: &str| !matches!(field(name.as_bytes()), Own::None);
        let headers: Vec<(&str, &[u8])> = pairs
            .iter()
            .filter(|(name, _)| !is_own(name))
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        let mut lines = Vec::new();
        Answer { status, headers: &headers, connection: Connection::Close }.write_head(&mut lines, framing);
        let (mut storage, asked) = (Storage::new(), Asked { head: is_head, upgrade: false });
        let Ok(Parsed::Complete(read)) = Response::parse(&lines, &mut storage, &LIMITS, asked) else { return Ok(()) };
        let mut block = Vec::new();
        let told = put(&mut block, &lines, asked).unwrap().unwrap();
        prop_assert_eq!(told.framing, read.framing);
        prop_assert_eq!((told.status, told.bytes), (read.status, read.head_bytes()));
        let found = fields(&block);
        prop_assert_eq!(&found[0], &format!(":status: {status}"));
        for (name, value) in headers {
            let line = format!("{}: {}", name.to_lowercase(), String::from_utf8_lossy(value));
            prop_assert!(found.contains(&line), "{}", line);
        }
    }
}
