//! Why a message is refused, in words for who sent it.

use crate::fields::CONNECTION_MEMBERS_MAX;

/// What is wrong with a head, request or response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadHead {
    #[error("a line of a head ends in CR LF")]
    LineEnd,
    #[error("a header's name is a token with a colon right behind it, and its line is not folded")]
    HeaderName,
    #[error("a header's value has no control characters")]
    HeaderValue,
    #[error("the head has too many headers")]
    TooManyHeaders,
    #[error("the head is too long")]
    TooLong,
    #[error("Content-Length comes once and is a decimal number of at most 19 digits")]
    ContentLength,
    #[error("Transfer-Encoding comes once, in HTTP/1.1, and is chunked")]
    TransferEncoding,
    #[error("of the transfer codings only chunked is understood")]
    TransferCoding,
    #[error("a message has Content-Length or Transfer-Encoding, not both")]
    Framing,
    #[error("Connection has at most {CONNECTION_MEMBERS_MAX} members")]
    Connection,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    #[error(transparent)]
    Head(#[from] BadHead),
    #[error("a request line is a method, a target and a version, with one space between them")]
    RequestLine,
    #[error("the request line is too long")]
    RequestLineTooLong,
    #[error("the version of HTTP is not 1.0 or 1.1")]
    Version,
    #[error("CONNECT is not served")]
    Connect,
    #[error("a target has visible ASCII characters only, and no fragment")]
    TargetBytes,
    #[error("a target is a path, an absolute http URL with a path, or * of OPTIONS")]
    Target,
    #[error("the authority of a target is a host and a port")]
    Authority,
    #[error("a request of HTTP/1.1 has one Host, which is a host and a port")]
    Host,
}

impl BadRequest {
    /// The status that answers it.
    pub fn status(self) -> u16 {
        match self {
            Self::Connect => 405,
            Self::RequestLineTooLong => 414,
            Self::Head(BadHead::TooLong | BadHead::TooManyHeaders) => 431,
            Self::Head(BadHead::TransferCoding) => 501,
            Self::Version => 505,
            _ => 400,
        }
    }
}

/// Why a response is refused; the client is answered 502.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadResponse {
    #[error(transparent)]
    Head(#[from] BadHead),
    #[error("a status line is HTTP/1.0 or HTTP/1.1, a status of three digits and a reason")]
    StatusLine,
    #[error("the server switched protocols unasked")]
    Unasked,
}

/// Why a chunked body is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadChunk {
    #[error("a chunk's size is 1 to 16 hexadecimal digits, then CR LF or an extension")]
    Size,
    #[error("a chunk's extension has no control characters and ends in CR LF")]
    Extension,
    #[error("the chunks' extensions are too long")]
    ExtensionsTooLong,
    #[error("a chunk's data is followed by CR LF")]
    DataEnd,
    #[error("a trailer is a name, a colon and a value, and ends in CR LF")]
    Trailer,
    #[error("a header of this name is no trailer")]
    TrailerName,
    #[error("the trailers are too long")]
    TrailersTooLong,
}
