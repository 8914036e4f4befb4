//! What the edge answers itself: JSON, with vulcand's statuses.

use super::body::ResponseBody;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use std::error::Error;
use std::io::ErrorKind;

/// Why an attempt at a server gave no response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("connect to the server")]
    Dial(#[source] std::io::Error),
    #[error("connect to the server: no answer in time")]
    DialTimeout,
    #[error("the server closed the connection before it answered")]
    Closed(#[source] hyper::Error),
    #[error("the server went silent: what was sent to it was not acknowledged")]
    Silent(#[source] hyper::Error),
    #[error("the server did not answer in time")]
    HeadTimeout,
    #[error("the server's response broke off")]
    ResponseBody(#[source] hyper::Error),
    #[error("the server's response stalled")]
    ResponseStalled,
    #[error("the server switched protocols unasked")]
    Unasked,
    #[error("the request's body is too large")]
    BodyTooLarge,
    #[error("the client's body broke off")]
    ClientBody,
    #[error("the client's body stalled")]
    ClientStalled,
    #[error("build the request to the server")]
    Request(#[source] http::Error),
}

impl Failure {
    /// A connection broke before the response's head.
    pub fn of_connection(error: hyper::Error) -> Self {
        if timed_out(&error) { Self::Silent(error) } else { Self::Closed(error) }
    }

    pub fn status(&self) -> StatusCode {
        match self {
            Self::Dial(_) | Self::Closed(_) | Self::ResponseBody(_) | Self::Unasked => StatusCode::BAD_GATEWAY,
            Self::DialTimeout | Self::Silent(_) | Self::HeadTimeout | Self::ResponseStalled => {
                StatusCode::GATEWAY_TIMEOUT
            }
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::ClientBody => StatusCode::BAD_REQUEST,
            Self::ClientStalled => StatusCode::REQUEST_TIMEOUT,
            Self::Request(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The server may be gone, so others should not be sent there just now.
    pub fn suggests_death(&self) -> bool {
        matches!(self, Self::Dial(_) | Self::DialTimeout | Self::Silent(_) | Self::Closed(_) | Self::ResponseBody(_))
    }

    /// Nobody said a word, not even the kernel of the server's machine.
    pub fn is_silence(&self) -> bool {
        match self {
            Self::DialTimeout | Self::Silent(_) => true,
            Self::Dial(error) => matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::HostUnreachable),
            Self::ResponseBody(error) => timed_out(error),
            _ => false,
        }
    }

    /// No byte of the request went out, so any request may go elsewhere.
    pub fn request_is_untouched(&self) -> bool {
        matches!(self, Self::Dial(_) | Self::DialTimeout)
    }

    pub fn answer(&self) -> Response<ResponseBody> {
        error(self.status(), &self.to_string())
    }
}

/// Whether the kernel gave the connection up: TCP_USER_TIMEOUT, or its keep-alive.
fn timed_out(error: &hyper::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::HostUnreachable);
        }
        cause = error.source();
    }
    false
}

/// `{"error":"…"}`
pub(crate) fn error(status: StatusCode, message: &str) -> Response<ResponseBody> {
    let body = serde_json::json!({ "error": message }).to_string();
    let mut response = Response::new(ResponseBody::whole(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
