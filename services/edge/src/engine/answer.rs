//! What the edge answers itself: JSON, with vulcand's statuses.

use super::http2::Reset;
use crate::spool::SpoolError;
use http1::{Answer, BadChunk, BadResponse, Framing};
use std::io::{self, ErrorKind};

/// Why an attempt at a server gave no response.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("connect to the server")]
    Dial(#[source] io::Error),
    #[error("connect to the server: no answer in time")]
    DialTimeout,
    #[error("speak TLS with the server")]
    Handshake(#[source] io::Error),
    #[error("the server closed the connection before it answered")]
    Closed(#[source] io::Error),
    #[error("the server went silent: what was sent to it was not acknowledged")]
    Silent(#[source] io::Error),
    #[error("the server did nothing of the request")]
    Unprocessed(#[source] io::Error),
    #[error("the server reset the request")]
    Reset(#[source] io::Error),
    #[error("the server's streams are all taken")]
    Crowded,
    #[error("the request cannot be said in HTTP/2, which is what the server speaks")]
    Unsayable(#[source] io::Error),
    #[error("the response cannot be said in HTTP/2, which is what the client speaks")]
    Untold(#[source] io::Error),
    #[error("the server did not answer in time")]
    HeadTimeout,
    #[error("the server's interim responses do not end")]
    Interim,
    #[error("the server switched protocols before it had the whole request")]
    EarlySwitch,
    #[error("the server's response is not understood")]
    Head(#[source] BadResponse),
    #[error("the server's response broke off")]
    Body(#[source] io::Error),
    #[error("the server's response is not framed as it says")]
    Chunk(#[source] BadChunk),
    #[error("the server's response stalled")]
    BodyTimeout,
    #[error("the request's body is too large")]
    RequestTooLarge,
    #[error("the client's body broke off")]
    RequestBody,
    #[error("the client's body is not framed as it says")]
    RequestChunk(#[source] BadChunk),
    #[error("the client's body stalled")]
    RequestTimeout,
    #[error("the exchange took longer than its route allows")]
    Deadline,
    #[error("the request's body cannot be kept")]
    Spool(#[source] SpoolError),
}

impl Failure {
    /// A connection broke before the response's head.
    pub fn before_head(error: io::Error) -> Self {
        match Reset::of(&error) {
            Some(reset) if reset.is_unprocessed => Self::Unprocessed(error),
            Some(_) => Self::Reset(error),
            None if timed_out(&error) => Self::Silent(error),
            None => Self::Closed(error),
        }
    }

    pub fn status(&self) -> u16 {
        match self {
            Self::Dial(_)
            | Self::Handshake(_)
            | Self::Closed(_)
            | Self::Unprocessed(_)
            | Self::Reset(_)
            | Self::Head(_)
            | Self::Interim
            | Self::EarlySwitch
            | Self::Body(_)
            | Self::Chunk(_)
            | Self::Untold(_) => 502,
            Self::DialTimeout | Self::Silent(_) | Self::HeadTimeout | Self::BodyTimeout | Self::Deadline => 504,
            Self::RequestTooLarge | Self::Spool(SpoolError::TooLarge) => 413,
            Self::Spool(_) | Self::Crowded => 503,
            Self::RequestBody | Self::RequestChunk(_) | Self::Unsayable(_) => 400,
            Self::RequestTimeout => 408,
        }
    }

    /// What the client sends next may belong to the request that failed.
    pub fn is_in_request(&self) -> bool {
        matches!(self, Self::RequestTooLarge | Self::RequestBody | Self::RequestChunk(_) | Self::RequestTimeout)
    }

    /// The server may be gone, so others should not be sent there just now.
    pub fn suggests_death(&self) -> bool {
        match self {
            Self::Body(error) if Reset::of(error).is_some() => false,
            Self::Dial(_)
            | Self::DialTimeout
            | Self::Handshake(_)
            | Self::Silent(_)
            | Self::Closed(_)
            | Self::Body(_) => true,
            Self::Head(bad) => *bad != BadResponse::Unasked,
            _ => false,
        }
    }

    /// Nobody said a word, not even the kernel of the server's machine.
    pub fn is_silence(&self) -> bool {
        match self {
            Self::DialTimeout | Self::Silent(_) => true,
            Self::Dial(error) | Self::Body(error) => timed_out(error),
            _ => false,
        }
    }

    /// Neither the client's doing nor the edge's own.
    pub fn is_servers(&self) -> bool {
        self.status() >= 500 && !matches!(self, Self::Spool(_) | Self::Untold(_))
    }

    /// No byte of the request was looked at, so any request may go elsewhere.
    pub fn request_is_untouched(&self) -> bool {
        matches!(self, Self::Dial(_) | Self::DialTimeout | Self::Handshake(_) | Self::Crowded | Self::Unprocessed(_))
    }

    /// The connection was closed by then, which one that was kept may be at any time.
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed(_))
    }
}

/// Whether the kernel gave the connection up: TCP_USER_TIMEOUT, or its keep-alive.
fn timed_out(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::HostUnreachable)
}

/// `{"error":"…"}`; without its body to HEAD.
pub(super) fn error(status: u16, message: &str, connection: http1::Connection<'_>, to_head: bool) -> Vec<u8> {
    let headers: [(&str, &[u8]); 1] = [("Content-Type", b"application/json")];
    given(status, &headers, error_body(message).as_bytes(), connection, to_head)
}

pub(super) fn error_body(message: &str) -> String {
    serde_json::json!({ "error": message }).to_string()
}

/// Without its body to HEAD, and where the status has none (RFC 9110 §15.3.5, §15.4.5).
pub(super) fn given(
    status: u16,
    headers: &[(&str, &[u8])],
    body: &[u8],
    connection: http1::Connection<'_>,
    to_head: bool,
) -> Vec<u8> {
    let answer = Answer { status, headers, connection };
    let mut bytes = Vec::new();
    match status {
        204 | 304 => answer.write_head(&mut bytes, Framing::None),
        _ if to_head => answer.write_head(&mut bytes, Framing::Length(body.len() as u64)),
        _ => answer.write(&mut bytes, body),
    }
    bytes
}
