//! Messages between the two versions of HTTP on their way to servers, without I/O: a head of HTTP/1, as a proxy wrote it,
//! becomes a request of HTTP/2; the fields of a response become lines; trailers are what follows a chunked body. The way
//! to clients is in `http2`.

mod fields;
mod request;

pub use fields::{put_line, put_lines, put_trailers, to_map, trailers};
pub use request::{ToServer, read};
