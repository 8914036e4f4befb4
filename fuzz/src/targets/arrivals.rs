//! What is read of a connection before anybody knows what it will carry: PROXY headers, and the name in a TLS handshake.

use clienthello::{BYTES_MAX, Said, look};
use proxyprotocol::{Accepted, Header, Origin, Parsed, parse, write_v1, write_v2};

pub const PROXY_WORDS: &[&str] = &[
    "PROXY ",
    "TCP4 ",
    "TCP6 ",
    "UNKNOWN",
    "\r\n",
    " ",
    "192.0.2.1 ",
    "2001:db8::1 ",
    "::ffff:1.2.3.4 ",
    "0 ",
    "65535",
    "65536",
    "00",
    "\r\n\r\n\0\r\nQUIT\n",
    "\x21\x11\0\x0c",
    "\x21\x21\0\x24",
    "\x21\x31",
    "\x20\0\0\0",
    "\x01\0\x02h2",
    "\x02\0\x01a",
    "\x03\0\x04",
    "\x04\0\x01\0",
    "\x05\0\x01u",
    "\x20\0\x05\x01\0\0\0\0",
];

pub const HELLO_WORDS: &[&str] = &[
    "\x16\x03\x01",
    "\x16\x03\x03",
    "\x01\0\0",
    "\x03\x03",
    "\0\0",
    "\0\x01",
    "\x01\0",
    "\x13\x01",
    "\0\x0e\0\x0c\0\0\x09",
    "a.example",
    "\0\x10",
    "\x02h2",
    "\0\x05",
    "\x40\0",
    "\x40\x01",
];

const ACCEPTED: [Accepted; 3] = [Accepted::Either, Accepted::V1, Accepted::V2];

pub fn proxy_header(bytes: &[u8]) {
    let whole = parse(bytes, Accepted::Either);
    for accepted in ACCEPTED {
        if let Ok(read) = parse(bytes, accepted) {
            assert_eq!(Ok(&read), whole.as_ref(), "who awaits one version reads it otherwise");
        }
    }
    if let Ok(Parsed::Complete(_, used)) = &whole {
        assert!(*used <= bytes.len());
        assert_eq!(parse(&bytes[..*used], Accepted::Either), whole, "what follows it is no part of it");
    }
    let step = bytes.len() / 200 + 1;
    for length in (0..bytes.len()).step_by(step) {
        match (parse(&bytes[..length], Accepted::Either), &whole) {
            (Ok(Parsed::Partial), Ok(Parsed::Complete(_, used))) => assert!(length < *used, "it was whole"),
            (Ok(Parsed::Partial), _) => {}
            (Ok(complete), whole) => assert_eq!(Ok(&complete), whole.as_ref(), "after {length} bytes"),
            (Err(_), whole) => assert!(whole.is_err(), "refused after {length} bytes, then {whole:?}"),
        }
    }
    if let Ok(Parsed::Complete(header, _)) = &whole {
        written(header);
    }
}

/// What is said on is read as it was said.
fn written(header: &Header) {
    let read = |bytes: &[u8]| match parse(bytes, Accepted::Either) {
        Ok(Parsed::Complete(again, used)) => {
            assert_eq!(used, bytes.len());
            again
        }
        other => panic!("{other:?}: {}", bytes.escape_ascii()),
    };
    let mut line = Vec::new();
    write_v1(&header.origin, &mut line);
    match (&header.origin, read(&line).origin) {
        (Origin::Tcp(ends), Origin::Tcp(again)) if ends.source.is_ipv4() == ends.destination.is_ipv4() => {
            assert_eq!((again.source.ip(), again.destination.ip()), (ends.source.ip(), ends.destination.ip()));
            assert_eq!((again.source.port(), again.destination.port()), (ends.source.port(), ends.destination.port()));
        }
        (_, again) => assert_eq!(again, Origin::Unknown),
    }
    for with_checksum in [false, true] {
        let mut binary = Vec::new();
        write_v2(&header.origin, &header.extensions, with_checksum, &mut binary);
        let again = read(&binary);
        assert_eq!(again.origin, header.origin);
        // With a checksum beside them they may be one too many.
        assert!(header.extensions.starts_with(&again.extensions));
    }
}

pub fn client_hello(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(BYTES_MAX - 1)];
    let whole = look(bytes);
    if let Said::Name(name) = &whole {
        assert!(!name.is_empty() && name.is_ascii());
    }
    let step = bytes.len() / 200 + 1;
    for length in (0..bytes.len()).step_by(step) {
        let part = look(&bytes[..length]);
        assert!(part == Said::Partial || part == whole, "{part:?} after {length} bytes, then {whole:?}");
    }
    // One record, cut into others: the same.
    let [22, 3, _, high, low, message @ ..] = bytes else { return };
    if usize::from(u16::from_be_bytes([*high, *low])) == message.len() && !message.is_empty() {
        let record = |part: &[u8]| [&[22, 3, 1, 0, part.len() as u8], part].concat();
        let cut: Vec<u8> = message.chunks(101).flat_map(record).collect();
        assert!(cut.len() >= BYTES_MAX || look(&cut) == whole, "{whole:?} in one record, {:?} in many", look(&cut));
    }
}
