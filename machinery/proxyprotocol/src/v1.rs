//! Version 1: `PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n`.

use crate::{Bad, Ends, Header, Origin, Parsed, Version};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub(crate) const SIGNATURE: &[u8] = b"PROXY ";
/// Of a line, with its CR LF: the worst case of section 2.1.
pub const V1_BYTES_MAX: usize = 107;

pub(crate) fn parse(bytes: &[u8]) -> Result<Parsed, Bad> {
    let window = &bytes[..bytes.len().min(V1_BYTES_MAX)];
    let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < V1_BYTES_MAX { Ok(Parsed::Partial) } else { Err(Bad::LineTooLong) };
    };
    let origin = origin(&window[SIGNATURE.len().min(end)..end])?;
    Ok(Parsed::Complete(Header { version: Version::V1, origin, extensions: Vec::new() }, end + 2))
}

/// Of what is behind `PROXY `, without the line's end.
fn origin(rest: &[u8]) -> Result<Origin, Bad> {
    let mut fields = rest.split(|byte| *byte == b' ');
    let protocol = fields.next().unwrap_or_default();
    // Whatever follows UNKNOWN is ignored (section 2.1).
    if protocol == b"UNKNOWN" {
        return Ok(Origin::Unknown);
    }
    let mut next = || fields.next().unwrap_or_default();
    let texts = [next(), next(), next(), next()];
    if let Some(more) = fields.next() {
        return Err(bad("end", more));
    }
    let [source, destination, source_port, destination_port] = texts;
    let address = match protocol {
        b"TCP4" => v4,
        b"TCP6" => v6,
        other => return Err(bad("protocol", other)),
    };
    let (source, destination) = (address("source", source)?, address("destination", destination)?);
    Ok(Origin::Tcp(Ends {
        source: SocketAddr::new(source, port("source port", source_port)?),
        destination: SocketAddr::new(destination, port("destination port", destination_port)?),
    }))
}

fn v4(field: &'static str, text: &[u8]) -> Result<IpAddr, Bad> {
    let parsed = std::str::from_utf8(text).ok().and_then(|text| text.parse::<Ipv4Addr>().ok());
    parsed.map(IpAddr::V4).ok_or_else(|| bad(field, text))
}

fn v6(field: &'static str, text: &[u8]) -> Result<IpAddr, Bad> {
    let parsed = std::str::from_utf8(text).ok().and_then(|text| text.parse::<Ipv6Addr>().ok());
    parsed.map(IpAddr::V6).ok_or_else(|| bad(field, text))
}

/// Decimal, without a sign or leading zeros.
fn port(field: &'static str, text: &[u8]) -> Result<u16, Bad> {
    let is_plain = text.iter().all(u8::is_ascii_digit) && (text.len() == 1 || !text.starts_with(b"0"));
    let parsed = std::str::from_utf8(text).ok().filter(|_| is_plain).and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| bad(field, text))
}

fn bad(field: &'static str, text: &[u8]) -> Bad {
    Bad::Line { field, found: String::from_utf8_lossy(text).into_owned() }
}

pub(crate) fn write(origin: &Origin, to: &mut Vec<u8>) {
    let written = match origin {
        Origin::Tcp(Ends { source, destination }) if source.is_ipv4() == destination.is_ipv4() => {
            let protocol = if source.is_ipv4() { "TCP4" } else { "TCP6" };
            let (from, at) = (source.ip(), destination.ip());
            write!(to, "PROXY {protocol} {from} {at} {} {}\r\n", source.port(), destination.port())
        }
        _ => write!(to, "PROXY UNKNOWN\r\n"),
    };
    written.expect("writing to a vector cannot fail");
}
