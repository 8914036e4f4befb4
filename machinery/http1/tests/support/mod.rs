//! What the tests of this crate share: a corpus of requests, and messages read whole.
#![allow(dead_code, reason = "each test target uses its part")]

pub mod corpus;
pub mod haproxy;
pub mod responses;

use http1::{Body, Limits, Parsed, Request, Storage};
use proptest::test_runner::Config as ProptestConfig;

pub const LIMITS: Limits = Limits { head_bytes_max: 4096, headers_max: 16 };

/// More random cases than proptest's own count, which `PROPTEST_CASES` sets: a thousand unless it is set.
pub fn many() -> ProptestConfig {
    let usual = ProptestConfig::default();
    ProptestConfig { cases: usual.cases * 4, failure_persistence: None, ..usual }
}

/// A request in its parts, as somebody read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub method: String,
    pub target: String,
    pub host: String,
    /// Lower-case names.
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
}

/// The proxy's own headers, which end or begin at it.
pub const OURS: [&str; 17] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-forwarded-server",
    "x-real-ip",
    "expect",
];

impl Message {
    /// The headers that a proxy passes on.
    pub fn passed_on(&self) -> Vec<(String, Vec<u8>)> {
        let mut headers = self.headers.clone();
        headers.retain(|(name, _)| !OURS.contains(&name.as_str()));
        // Some keep the lines of one name together.
        headers.sort_by(|a, b| a.0.cmp(&b.0));
        headers
    }

    /// What two readers must agree on.
    pub fn essence(&self) -> Self {
        Self { headers: self.passed_on(), ..self.clone() }
    }
}

/// The requests on one connection, and what ended it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    pub messages: Vec<Message>,
    pub end: End,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// After a whole request, which may have been the last by its own word.
    Clean,
    /// In the middle of one.
    Partial,
    Refused(u16),
}

/// Reads requests as this crate does.
pub fn read(bytes: &[u8]) -> Reading {
    read_within(bytes, &LIMITS)
}

pub fn read_within(mut bytes: &[u8], limits: &Limits) -> Reading {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        match read_one(bytes, limits) {
            Ok(Some((message, keep_alive, used))) => {
                messages.push(message);
                bytes = &bytes[used..];
                if !keep_alive {
                    break;
                }
            }
            Ok(None) => return Reading { messages, end: End::Partial },
            Err(status) => return Reading { messages, end: End::Refused(status) },
        }
    }
    Reading { messages, end: End::Clean }
}

/// One request, whether another may follow, and the bytes it had.
fn read_one(bytes: &[u8], limits: &Limits) -> Result<Option<(Message, bool, usize)>, u16> {
    let mut storage = Storage::new();
    let request = match Request::parse(bytes, &mut storage, limits).map_err(|bad| bad.status())? {
        Parsed::Partial => return Ok(None),
        Parsed::Complete(request) => request,
    };
    let mut used = request.head_bytes();
    let mut body = Body::new(request.framing);
    let mut data = Vec::new();
    while !body.is_done() {
        if used == bytes.len() {
            return Ok(None);
        }
        let decoded = body.decode(&bytes[used..]).map_err(|_| 400_u16)?;
        data.extend_from_slice(decoded.data);
        used += decoded.consumed;
    }
    let header = |header: &http1::Header<'_>| (header.name.to_ascii_lowercase(), header.value.to_vec());
    let message = Message {
        method: request.method.to_owned(),
        target: request.target.to_owned(),
        host: request.host.to_owned(),
        headers: request.headers().iter().map(header).collect(),
        body: data,
    };
    Ok(Some((message, request.keep_alive, used)))
}
