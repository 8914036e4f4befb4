//! Why a stream or a connection ends before its time.

/// RFC 9113 §7; those that are said or understood here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Reason {
    NoError = 0x0,
    Protocol = 0x1,
    Internal = 0x2,
    FlowControl = 0x3,
    StreamClosed = 0x5,
    FrameSize = 0x6,
    RefusedStream = 0x7,
    Cancel = 0x8,
    Compression = 0x9,
    EnhanceYourCalm = 0xb,
}

/// What a client did wrong (RFC 9113 §5.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Connection(Reason),
    Stream(u32, Reason),
}

/// Why a request is malformed: its stream is reset (RFC 9113 §8.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("a pseudo-header is missing, twice, unknown, forbidden, or behind other headers")]
    Pseudo,
    #[error("the method is no token")]
    Method,
    #[error("the authority is none, or Host names another")]
    Host,
    #[error("the path does not begin with a slash, or has what no path has")]
    Path,
    #[error("the scheme is neither http nor https")]
    Scheme,
    #[error("the protocol is no token, or asked for without CONNECT")]
    Protocol,
    #[error("a header's name or value is forbidden")]
    Header,
    #[error("Content-Length is no number, several, or not the length of the body")]
    ContentLength,
}
