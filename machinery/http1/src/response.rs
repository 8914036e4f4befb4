//! The head of a response.

use crate::fields::Fields;
use crate::refusal::{BadHead, BadResponse};
use crate::{Framing, HEADERS_MAX, Header, Limits, Parsed, Storage, Version};
use httparse::{Error, ParserConfig, Status};

/// What a response depends on in its request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asked {
    /// With HEAD: there is no body.
    pub head: bool,
    /// To switch protocols.
    pub upgrade: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response<'h> {
    /// 100 to 999.
    pub status: u16,
    /// Empty if it is missing or not ASCII.
    pub reason: &'h str,
    pub version: Version,
    /// Of 101: what follows is no longer HTTP, and this says nothing.
    pub framing: Framing,
    /// Whether another request may follow on the connection, once the body was read.
    pub keep_alive: bool,
    /// Of 101: the protocol that the server switched to.
    pub upgrade: Option<&'h [u8]>,
    pub(crate) fields: Fields<'h>,
}

impl<'h> Response<'h> {
    /// Parses the head that `bytes` begin with; they may go on after it.
    pub fn parse<'b: 'h>(
        bytes: &'b [u8],
        storage: &'h mut Storage<'b>,
        limits: &Limits,
        asked: Asked,
    ) -> Result<Parsed<Self>, BadResponse> {
        // httparse skips empty lines before a head; before a response they are what is left of another one.
        if bytes.first().is_some_and(|first| *first != b'H') {
            return Err(BadResponse::StatusLine);
        }
        let window = &bytes[..bytes.len().min(limits.head_bytes_max)];
        let mut found = httparse::Response::new(&mut []);
        let room = &mut storage.0[..limits.headers_max.min(HEADERS_MAX)];
        let parsed = ParserConfig::default().parse_response_with_uninit_headers(&mut found, window, room);
        let head_bytes = match parsed {
            Ok(Status::Complete(head_bytes)) => head_bytes,
            Ok(Status::Partial) if window.len() < limits.head_bytes_max => return Ok(Parsed::Partial),
            Ok(Status::Partial) => return Err(BadHead::TooLong.into()),
            Err(error) => return Err(of_syntax(error)),
        };
        let (Some(status), Some(reason), Some(minor)) = (found.code, found.reason, found.version) else {
            return Err(BadResponse::StatusLine);
        };
        Self::read(status, reason, minor, &window[..head_bytes], found.headers, asked).map(Parsed::Complete)
    }

    #[inline]
    fn read(
        status: u16,
        reason: &'h str,
        minor: u8,
        head: &'h [u8],
        headers: &'h [Header<'h>],
        asked: Asked,
    ) -> Result<Self, BadResponse> {
        let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
        let fields = Fields::read(head, headers, version)?;
        if status < 100 {
            return Err(BadResponse::StatusLine);
        }
        let switches = status == 101;
        if switches && !(asked.upgrade && version == Version::Http11) {
            return Err(BadResponse::Unasked);
        }
        let claimed = fields.framing(version)?;
        let never_has_body = never_has_body(status);
        let framing = match claimed {
            _ if asked.head || never_has_body || status == 304 => Framing::None,
            Some(framing) => framing,
            None => Framing::UntilClose,
        };
        let is_lying = never_has_body && claimed.is_some_and(|claimed| claimed != Framing::None);
        let keep_alive =
            fields.connection.keeps_alive(version) && framing != Framing::UntilClose && !is_lying && !switches;
        let upgrade = fields.upgrade.filter(|_| switches);
        Ok(Self { status, reason, version, framing, keep_alive, upgrade, fields })
    }

    pub fn headers(&self) -> &'h [Header<'h>] {
        self.fields.headers()
    }

    /// The value of the first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&'h [u8]> {
        self.fields.first(name)
    }

    /// Where the head ends and the body begins.
    pub fn head_bytes(&self) -> usize {
        self.fields.head_bytes()
    }

    pub(crate) fn never_has_body(&self) -> bool {
        never_has_body(self.status)
    }

    /// Whether the response proper is still to come (RFC 9110 §15.2).
    pub fn is_interim(&self) -> bool {
        matches!(self.status, 100 | 102..=199)
    }
}

/// RFC 9112 §6.3, item 1.
fn never_has_body(status: u16) -> bool {
    matches!(status, 100..=199 | 204)
}

fn of_syntax(error: Error) -> BadResponse {
    match error {
        Error::HeaderName => BadHead::HeaderName.into(),
        Error::HeaderValue => BadHead::HeaderValue.into(),
        Error::NewLine => BadHead::LineEnd.into(),
        Error::TooManyHeaders => BadHead::TooManyHeaders.into(),
        Error::Token | Error::Version | Error::Status => BadResponse::StatusLine,
    }
}
