//! What the shell shows: a request, a response, the time.

use std::net::IpAddr;
use std::time::Duration;

/// The time, told by the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Now {
    /// Monotonic, since any fixed moment of this process.
    pub nanos: u64,
    /// Since the Unix epoch: tokens carry dates.
    pub unix_seconds: u64,
}

impl Now {
    pub fn since(self, earlier: Now) -> Duration {
        Duration::from_nanos(self.nanos.saturating_sub(earlier.nanos))
    }
}

/// Looks at header fields.
pub trait Headers {
    /// The first value of a field; case does not matter in `name`.
    fn first(&self, name: &str) -> Option<&[u8]>;
    /// Every field, in order.
    fn each(&self, visit: &mut dyn FnMut(&str, &[u8]));
}

/// Pairs of name and value.
impl Headers for &[(&str, &str)] {
    fn first(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_bytes())
    }

    fn each(&self, visit: &mut dyn FnMut(&str, &[u8])) {
        self.iter().for_each(|(name, value)| visit(name, value.as_bytes()));
    }
}

impl<const N: usize> Headers for [(&str, &str); N] {
    fn first(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_bytes())
    }

    fn each(&self, visit: &mut dyn FnMut(&str, &[u8])) {
        self.as_slice().each(visit);
    }
}

/// A request as the client sent it.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub method: &'a str,
    /// `http` or `https`: the client's, as far as the edge trusts what it was told.
    pub scheme: &'a str,
    /// The authority the client named, as it came.
    pub host: &'a str,
    /// Path and query, raw.
    pub target: &'a str,
    /// The client's own address: the peer's, or what a trusted proxy in front says.
    pub client: IpAddr,
    pub headers: &'a dyn Headers,
    /// Length of the body; none when it comes in chunks.
    pub body_bytes: Option<u64>,
    pub tls: Option<Tls<'a>>,
}

/// How the client's connection is encrypted.
#[derive(Clone, Copy, Debug)]
pub struct Tls<'a> {
    pub version: &'a str,
    pub resumed: bool,
    pub cipher_suite: &'a str,
    pub server_name: &'a str,
}

/// The head of a response on its way to the client.
#[derive(Clone, Copy)]
pub struct Response<'a> {
    pub status: u16,
    pub headers: &'a dyn Headers,
    /// Length of the body; none when it is not known.
    pub body_bytes: Option<u64>,
    /// Whether the edge made it itself (502, 504, …): nothing is there to be compressed.
    pub is_own: bool,
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Finish {
    /// Bytes of the request's body that came.
    pub request_body_bytes: u64,
    /// Bytes of the response's body that were sent.
    pub response_body_bytes: u64,
}
