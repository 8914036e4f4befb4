//! The examples of the specification, what is refused, and properties on any bytes.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use std::net::IpAddr;

fn whole(bytes: &[u8]) -> Header {
    match parse(bytes, Accepted::Either) {
        Ok(Parsed::Complete(header, used)) => {
            assert_eq!(used, bytes.len());
            header
        }
        other => panic!("{other:?}"),
    }
}

fn tcp(source: &str, destination: &str) -> Origin {
    Origin::Tcp(Ends { source: source.parse().unwrap(), destination: destination.parse().unwrap() })
}

#[test]
fn the_lines_of_the_specification_are_read() {
    const FULL: &str = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    for (line, bytes, origin) in [
        (
            "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n".to_owned(),
            56,
            tcp("255.255.255.255:65535", "255.255.255.255:65535"),
        ),
        (
            format!("PROXY TCP6 {FULL} {FULL} 65535 65535\r\n"),
            104,
            tcp(&format!("[{FULL}]:65535"), &format!("[{FULL}]:65535")),
        ),
        ("PROXY UNKNOWN\r\n".to_owned(), 15, Origin::Unknown),
        (format!("PROXY UNKNOWN {FULL} {FULL} 65535 65535\r\n"), 107, Origin::Unknown),
    ] {
        assert_eq!(line.len(), bytes);
        assert_eq!(whole(line.as_bytes()), Header { version: Version::V1, origin, extensions: Vec::new() });
    }
    let request = b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\nGET / HTTP/1.1\r\nHost: 192.168.0.11\r\n\r\n";
    let Ok(Parsed::Complete(header, used)) = parse(request, Accepted::V1) else { panic!("a header") };
    assert_eq!(header.origin, tcp("192.168.0.1:56324", "192.168.0.11:443"));
    assert!(request[used..].starts_with(b"GET / "));
}

/// The signature's bytes are those that section 2.2 prints.
#[test]
fn a_binary_header_is_read_byte_by_byte() {
    let mut bytes = vec![0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A, 0x21, 0x11, 0, 12];
    bytes.extend_from_slice(&[192, 168, 0, 1, 192, 168, 0, 11, 0xDC, 0x04, 0x01, 0xBB]);
    for cut in 0..bytes.len() {
        assert_eq!(parse(&bytes[..cut], Accepted::Either), Ok(Parsed::Partial));
    }
    assert_eq!(whole(&bytes).origin, tcp("192.168.0.1:56324", "192.168.0.11:443"));
    let mut written = Vec::new();
    write_v2(&tcp("192.168.0.1:56324", "192.168.0.11:443"), &[], false, &mut written);
    assert_eq!(written, bytes);
}

fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let mut bytes = [v2::SIGNATURE, &[0x20 | command, family]].concat();
    bytes.extend_from_slice(&(block.len() as u16).to_be_bytes());
    bytes.extend_from_slice(block);
    bytes
}

#[test]
fn who_speaks_for_itself_or_cannot_say_whom_it_speaks_for_names_no_addresses() {
    // The block of a LOCAL is discarded, whatever it is.
    assert_eq!(whole(&v2(0, 0xff, &[1, 2, 3])).origin, Origin::Local);
    assert_eq!(whole(&v2(1, 0x00, &[1, 2, 3])).origin, Origin::Unknown);
    for family in [0x31, 0x32] {
        let mut block = vec![b'/'; 216];
        block[108] = b'@';
        let header = whole(&v2(1, family, &block));
        let mut written = Vec::new();
        write_v2(&header.origin, &[], false, &mut written);
        assert_eq!((written, header.tcp()), (v2(1, family, &block), None));
    }
    assert!(matches!(whole(&v2(1, 0x12, &[0; 12])).origin, Origin::Udp(_)));
}

#[test]
fn what_is_no_header_is_refused_with_its_reason() {
    let line = |field, found: &str| Bad::Line { field, found: found.to_owned() };
    for (text, expected) in [
        ("GET / HTTP/1.1\r\n", Bad::NoHeader),
        ("PROXY\r\n", Bad::NoHeader),
        ("PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n", line("protocol", "TCP5")),
        ("PROXY TCP4 1.2.3.4 1.2.3.04 1 2\r\n", line("destination", "1.2.3.04")),
        ("PROXY TCP4 ::1 ::1 1 2\r\n", line("source", "::1")),
        ("PROXY TCP6 1.2.3.4 ::1 1 2\r\n", line("source", "1.2.3.4")),
        ("PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n", line("end", "2")),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n", line("source port", "65536")),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 02\r\n", line("destination port", "02")),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n", line("source port", "+1")),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", line("destination port", "")),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n\r\n", line("destination port", "2\n")),
    ] {
        assert_eq!(parse(text.as_bytes(), Accepted::Either), Err(expected), "{text:?}");
    }
    let endless = format!("PROXY UNKNOWN {}", "x".repeat(V1_BYTES_MAX));
    assert_eq!(parse(&endless.as_bytes()[..V1_BYTES_MAX - 1], Accepted::Either), Ok(Parsed::Partial));
    assert_eq!(parse(endless.as_bytes(), Accepted::Either), Err(Bad::LineTooLong));

    let mut third = v2(1, 0x11, &[0; 12]);
    third[12] = 0x31;
    let mut long = v2(1, 0x11, &[]);
    long[14..16].copy_from_slice(&(V2_LENGTH_MAX as u16 + 1).to_be_bytes());
    for (bytes, expected) in [
        (third, Bad::UnknownVersion(3)),
        (v2(2, 0x11, &[0; 12]), Bad::Command(2)),
        (v2(1, 0x41, &[0; 12]), Bad::Family(0x41)),
        (v2(1, 0x13, &[0; 12]), Bad::Family(0x13)),
        (v2(1, 0x21, &[0; 12]), Bad::TooShort { bytes: 12, needed: 36 }),
        (long, Bad::TooLong { bytes: V2_LENGTH_MAX + 1 }),
        (v2(1, 0x11, &[&[0; 12][..], &[1, 0, 2, 7]].concat()), Bad::Extension { kind: 1 }),
        (v2(1, 0x11, &[&[0; 12][..], &[5, 0]].concat()), Bad::Extension { kind: 5 }),
        (v2(1, 0x11, &[&[0; 12][..], &[0x20, 0, 1, 7]].concat()), Bad::Extension { kind: 0x20 }),
        (v2(1, 0x11, &[&[0; 12][..], &[3, 0, 4, 0, 0, 0, 0]].concat()), Bad::Checksum),
    ] {
        assert_eq!(parse(&bytes, Accepted::Either), Err(expected));
    }
}

#[test]
fn only_the_version_that_is_awaited_is_read() {
    let binary = v2(0, 0, &[]);
    let awaited = |found, awaited| Err(Bad::Version { found, awaited });
    assert_eq!(parse(b"PROXY UNKNOWN\r\n", Accepted::V2), awaited(Version::V1, Version::V2));
    assert_eq!(parse(&binary, Accepted::V1), awaited(Version::V2, Version::V1));
    assert!(parse(&binary, Accepted::V2).is_ok() && parse(b"P", Accepted::V1).is_ok());
}

#[test]
fn addresses_are_written_in_one_family() {
    let address = |text: &str| text.parse::<SocketAddr>().unwrap();
    let line = |source, destination| {
        let mut line = Vec::new();
        write_v1(&Origin::tcp(address(source), address(destination)), &mut line);
        String::from_utf8(line).unwrap()
    };
    assert_eq!(line("[::ffff:10.0.0.1]:1", "10.0.0.2:2"), "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n");
    assert_eq!(line("10.0.0.1:1", "[::1]:2"), "PROXY TCP6 ::ffff:10.0.0.1 ::1 1 2\r\n");
}

fn origins() -> impl Strategy<Value = Origin> {
    let pair = || (any::<u16>(), any::<u16>(), any::<bool>());
    let v4 = (any::<[[u8; 4]; 2]>(), pair()).prop_map(|([a, b], pair)| (IpAddr::from(a), IpAddr::from(b), pair));
    let v6 = (any::<[[u8; 16]; 2]>(), pair()).prop_map(|([a, b], pair)| (IpAddr::from(a), IpAddr::from(b), pair));
    let socket = prop_oneof![v4, v6].prop_map(|(source, destination, (from, to, is_tcp))| {
        let ends = Ends { source: SocketAddr::new(source, from), destination: SocketAddr::new(destination, to) };
        if is_tcp { Origin::Tcp(ends) } else { Origin::Udp(ends) }
    });
    prop_oneof![socket, Just(Origin::Unknown), Just(Origin::Local)]
}

fn extensions() -> impl Strategy<Value = Vec<Extension>> {
    let bytes = || vec(any::<u8>(), 0..40);
    let tls = (any::<u8>(), any::<u32>(), vec((any::<u8>(), bytes()), 0..3));
    let extension = prop_oneof![
        bytes().prop_map(Extension::Alpn),
        ".{0,20}".prop_map(Extension::Authority),
        bytes().prop_map(Extension::UniqueId),
        tls.prop_map(|(client, verify, details)| Extension::Tls(Tls { client, verify, details })),
        (0x30..=u8::MAX, bytes()).prop_map(|(kind, value)| Extension::Other(kind, value)),
    ];
    vec(extension, 0..4)
}

proptest! {
    #[test]
    fn what_is_written_is_read_again_whole_and_in_pieces(
        origin in origins(), given in extensions(), with_checksum in any::<bool>(), tail in vec(any::<u8>(), 0..8)
    ) {
        let mut bytes = Vec::new();
        write_v2(&origin, &given, with_checksum, &mut bytes);
        for cut in 0..bytes.len() {
            prop_assert_eq!(parse(&bytes[..cut], Accepted::Either), Ok(Parsed::Partial));
        }
        let extensions = if matches!(origin, Origin::Local | Origin::Unknown) { Vec::new() } else { given };
        let expected = Header { version: Version::V2, origin: origin.clone(), extensions };
        let length = bytes.len();
        bytes.extend_from_slice(&tail);
        prop_assert_eq!(parse(&bytes, Accepted::V2), Ok(Parsed::Complete(expected, length)));

        let mut line = Vec::new();
        write_v1(&origin, &mut line);
        prop_assert!(line.len() <= V1_BYTES_MAX);
        let origin = if matches!(origin, Origin::Tcp(_)) { origin } else { Origin::Unknown };
        let expected = Header { version: Version::V1, origin, extensions: Vec::new() };
        for cut in 0..line.len() {
            prop_assert_eq!(parse(&line[..cut], Accepted::Either), Ok(Parsed::Partial));
        }
        let length = line.len();
        line.extend_from_slice(&tail);
        prop_assert_eq!(parse(&line, Accepted::V1), Ok(Parsed::Complete(expected, length)));
    }

    #[test]
    fn a_flipped_bit_behind_the_length_is_seen_by_the_checksum(bit in 0..8u8, at in any::<prop::sample::Index>()) {
        let mut bytes = Vec::new();
        let origin = tcp("192.168.0.1:56324", "192.168.0.11:443");
        write_v2(&origin, &[Extension::Authority("a.example".into())], true, &mut bytes);
        // Not the checksum's own type: then it is none.
        let at = 16 + at.index(bytes.len() - 16);
        prop_assume!(at != bytes.len() - 7);
        bytes[at] ^= 1 << bit;
        prop_assert!(parse(&bytes, Accepted::Either).is_err());
    }

    #[test]
    fn no_bytes_panic(bytes in vec(any::<u8>(), 0..300), family in any::<u8>(), line in "PROXY [ -~\r\n]{0,110}") {
        for bytes in [bytes.clone(), v2(1, family, &bytes), line.into_bytes()] {
            if let Ok(Parsed::Complete(_, used)) = parse(&bytes, Accepted::Either) {
                prop_assert!(used <= bytes.len());
            }
        }
    }
}
