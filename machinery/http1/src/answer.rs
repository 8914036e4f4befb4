//! Responses of the proxy itself.

use crate::framing::{self, put_length};
use crate::reply::put_status_line;
use crate::text::put_line;
use crate::{Connection, Framing};

/// A response with its whole body, or the head of one that streams.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    pub status: u16,
    pub headers: &'a [(&'a str, &'a [u8])],
    pub connection: Connection<'a>,
}

impl Answer<'_> {
    /// Writes head and body.
    pub fn write(&self, out: &mut Vec<u8>, body: &[u8]) {
        self.put_start(out);
        put_length(out, body.len() as u64);
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(body);
    }

    /// Writes the head only: for HEAD, with the framing that the body would have, for bodies that stream, and for statuses
    /// without body ([`Framing::None`]).
    pub fn write_head(&self, out: &mut Vec<u8>, framing: Framing) {
        self.put_start(out);
        framing::put_line(out, framing);
        out.extend_from_slice(b"\r\n");
    }

    fn put_start(&self, out: &mut Vec<u8>) {
        put_status_line(out, self.status, reason(self.status));
        for (name, value) in self.headers {
            put_line(out, name, value);
        }
        self.connection.put(out);
    }
}

/// The phrase of a status (RFC 9110 §15, RFC 6585).
pub fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        511 => "Network Authentication Required",
        _ => "",
    }
}
