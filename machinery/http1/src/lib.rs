//! HTTP/1.1 as a proxy needs it (RFC 9112), without I/O: bytes in, bytes out.
//!
//! A head is parsed where it lies in the reader's buffer and borrowed from there; nothing is allocated. [`Request::parse`]
//! and [`Response::parse`] look at every header once, by the length of its name first, and note in bit sets which lines
//! end here. `write` then copies the lines in between as they came, run by run: a head of twenty headers of which three
//! are not passed on costs four copies. [`Body`] follows the framing of one message through whatever pieces it comes in.
//!
//! # One reading of every message
//! Two parsers that read one message differently are a hole (request smuggling), and a proxy never knows the second one.
//! So what can be read in two ways is refused, even where RFC 9112 lets a recipient repair it; and what is passed on is
//! written in the one form that everybody reads alike. `httparse` finds the pieces; it is lenient in places, and what it
//! lets through is checked again here. `tests/support/corpus.rs` has a request for each line,
//! and `tests/support/haproxy.rs` says which of them HAProxy passes on.
//!
//! | in a request | answer |
//! |---|---|
//! | a line that ends in LF without CR; CR without LF; an empty line of LF before the request line | 400 |
//! | NUL, control characters or DEL anywhere in a head (HTAB in values excepted) | 400 |
//! | whitespace around a header's name; folded lines (obs-fold); no name; no colon | 400 |
//! | a method that is no token; `CONNECT` | 400; 405 |
//! | a target with a fragment, whitespace, `<`, `>` or bytes beyond ASCII | 400 |
//! | a target that is neither a path, an absolute `http(s)` URL with a path (or none at all), nor `*` of `OPTIONS` | 400 |
//! | a version `HTTP/d.d` other than 1.0 and 1.1; any other text in its place | 505; 400 |
//! | no `Host` or an empty one in 1.1; several | 400 |
//! | a `Host` or authority with userinfo, `%`, `,`, `/` or anything else no host has; a port that is no number | 400 |
//! | `Content-Length` and `Transfer-Encoding` | 400 |
//! | several `Content-Length`, equal or not; a list (`5, 5`); a sign; anything but 1 to 19 digits | 400 |
//! | several `Transfer-Encoding`; one that does not end in `chunked`, or names it twice; one in HTTP/1.0 | 400 |
//! | a `Transfer-Encoding` of other codings before `chunked` | 501 |
//! | more than [`CONNECTION_MEMBERS_MAX`] members in `Connection` | 400 |
//! | a request line longer than the limit; a head longer than the limit, or with more headers | 414; 431 |
//!
//! Of a response the same is refused (the proxy answers 502), and besides: a status below 100, an empty line before the
//! status line, and 101 when nobody asked for it. A 204 or 1xx that claims a body has none, and its connection is not used
//! again.
//!
//! | in a chunked body | |
//! |---|---|
//! | a size without digits, of more than 16, with a sign, `0x` or spaces (`;` may follow spaces) | refused |
//! | a line that ends in LF without CR, CR without LF, control characters in an extension | refused |
//! | data not followed by CR LF | refused |
//! | extensions of more than [`EXTENSION_BYTES_MAX`] in one body, trailers of more than [`TRAILER_BYTES_MAX`] | refused |
//! | a trailer of a forbidden name (see below), without name or colon, folded | refused |
//!
//! Trailers that would change the message's framing, route or sender if somebody merged them into the head are refused:
//! `Content-Length`, `Host`, `Authorization`, `X-Forwarded-For` and the like (RFC 9110 §6.5.1).
//!
//! What is accepted and does not go on as it came:
//! * spaces and tabs around a value: one space before it remains;
//! * leading zeros of `Content-Length`;
//! * headers whose names are those of the proxy with `_` for `-`, which gateways to CGI and its heirs cannot tell apart;
//! * hop-by-hop headers, and those that `Connection` names (RFC 9110 §7.6.1), except the ones that say what the message
//!   is: `Host`, `Content-Length`, `Transfer-Encoding`, `TE`, `Expect`;
//! * `Upgrade: h2c`: requests in a tunnel of HTTP/2 would pass by the routes;
//! * `Expect` of HTTP/1.0 (RFC 9110 §10.1.1);
//! * empty lines (CR LF) before a request line, and the absolute form of a target: its authority becomes `Host`.

mod answer;
mod authority;
mod body;
mod chunk;
mod coding;
mod edit;
mod fields;
mod forward;
mod framing;
mod mask;
mod names;
mod refusal;
mod reply;
mod request;
mod response;
mod target;
mod text;
mod trailer;

pub use answer::{Answer, reason};
pub use body::{Body, Decoded};
pub use chunk::{ChunkHead, EXTENSION_BYTES_MAX, LAST_CHUNK, TRAILER_BYTES_MAX};
pub use coding::{Coded, Coding};
pub use edit::Edit;
pub use fields::CONNECTION_MEMBERS_MAX;
pub use forward::{Forward, Forwarded, Scheme};
pub use refusal::{BadChunk, BadHead, BadRequest, BadResponse};
pub use reply::{Connection, Reply};
pub use request::Request;
pub use response::{Asked, Response};
pub use target::Target;
pub use trailer::may_be_trailer;

use std::mem::MaybeUninit;

/// Headers of one head, at most. Who takes fewer from others has room for the lines it adds, when it reads its own heads.
pub const HEADERS_MAX: usize = 512;

/// What one head may be; `headers_max` counts at most [`HEADERS_MAX`].
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub head_bytes_max: usize,
    pub headers_max: usize,
}

/// A header as it came: any case of the name, the value without the whitespace around it.
pub type Header<'b> = httparse::Header<'b>;

/// Room for the headers of one head, on the caller's stack. It costs nothing to make: make one for each parse, so that it
/// does not hold the borrow of the bytes.
pub struct Storage<'b>([MaybeUninit<Header<'b>>; HEADERS_MAX]);

impl Storage<'_> {
    #[inline]
    pub fn new() -> Self {
        Self([const { MaybeUninit::uninit() }; HEADERS_MAX])
    }
}

impl Default for Storage<'_> {
    fn default() -> Self {
        Self::new()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed<T> {
    /// No error so far; more bytes are needed.
    Partial,
    Complete(T),
}

/// How a message's body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// No body, or one of no bytes.
    None,
    /// Never 0.
    Length(u64),
    Chunked,
    /// With the connection; responses only.
    UntilClose,
}

/// The minor version of HTTP/1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    Http10,
    Http11,
}

/// Whether a head may end in `bytes[from..]`: whoever got [`Parsed::Partial`] for `bytes[..from]` need not parse again
/// before. So a head that comes byte by byte is not parsed for each of them.
pub fn head_may_end(bytes: &[u8], from: usize) -> bool {
    let tail = &bytes[from.saturating_sub(b"\n\r".len()).min(bytes.len())..];
    tail.windows(2).any(|pair| pair == b"\n\n") || tail.windows(3).any(|three| three == b"\n\r\n")
}
