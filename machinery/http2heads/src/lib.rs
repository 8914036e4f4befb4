//! Messages between the two versions of HTTP, without I/O: what a proxy has to translate whose language is HTTP/1. A request
//! of HTTP/2 becomes the head that HTTP/1 has for it, and back; header fields become lines, and back; trailers are what
//! follows a chunked body.
//!
//! A stream of HTTP/2 is one request, whatever is in it. A head of HTTP/1 is where its reader finds the end, so nothing may
//! be written that ends it earlier or later, or frames another body: what is written is read once more, as any head is.

mod fields;
mod request;

pub use fields::{put_line, put_lines, put_trailers, to_map, trailers};
pub use request::{Malformed, ToServer, read, write};

/// How the bytes of a body are framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// Not at all: the head told their number, or they are those of a tunnel. Trailers have no place in it.
    Plain,
    Chunked,
}
