//! The head of a request.

use crate::authority::is_authority;
use crate::fields::Fields;
use crate::refusal::{BadHead, BadRequest};
use crate::text::lists;
use crate::{Framing, HEADERS_MAX, Header, Limits, Parsed, Storage, Version, target};
use httparse::{Error, Status};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<'h> {
    /// Any token, in its case.
    pub method: &'h str,
    /// The path with its query, raw; `*` of `OPTIONS`.
    pub target: &'h str,
    pub version: Version,
    /// The authority that the client named, raw; that of the target counts before `Host`. Empty only in HTTP/1.0.
    pub host: &'h str,
    pub framing: Framing,
    /// Whether another request may follow on the connection.
    pub keep_alive: bool,
    pub expects_continue: bool,
    /// The protocols the client would switch to.
    pub upgrade: Option<&'h [u8]>,
    pub(crate) fields: Fields<'h>,
    /// The request line may be copied as it came.
    pub(crate) is_plain: bool,
    line_start: usize,
}

impl<'h> Request<'h> {
    /// Parses the head that `bytes` begin with; they may go on after it.
    pub fn parse<'b: 'h>(
        bytes: &'b [u8],
        storage: &'h mut Storage<'b>,
        limits: &Limits,
    ) -> Result<Parsed<Self>, BadRequest> {
        let window = &bytes[..bytes.len().min(limits.head_bytes_max)];
        let mut found = httparse::Request::new(&mut []);
        let room = &mut storage.0[..limits.headers_max.min(HEADERS_MAX)];
        let head_bytes = match found.parse_with_uninit_headers(window, room) {
            Ok(Status::Complete(head_bytes)) => head_bytes,
            Ok(Status::Partial) => return more(window, limits, found.method.is_some() && found.version.is_none()),
            // What is wrong with a version is known when its line has ended.
            Err(Error::Version) if !first_line(window).1 => return more(window, limits, true),
            Err(error) => return Err(of_syntax(error, window)),
        };
        let (Some(method), Some(raw), Some(minor)) = (found.method, found.path, found.version) else {
            return Err(BadRequest::RequestLine);
        };
        Self::read(method, raw, minor, &window[..head_bytes], found.headers).map(Parsed::Complete)
    }

    #[inline]
    fn read(
        method: &'h str,
        raw: &'h str,
        minor: u8,
        head: &'h [u8],
        headers: &'h [Header<'h>],
    ) -> Result<Self, BadRequest> {
        let line_start = (method.as_ptr() as usize).wrapping_sub(head.as_ptr() as usize);
        if head.iter().take(line_start).step_by(2).any(|byte| *byte != b'\r') {
            return Err(BadHead::LineEnd.into());
        }
        let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
        let fields = Fields::read(head, headers, version)?;
        if method == "CONNECT" {
            return Err(BadRequest::Connect);
        }
        let (authority, target) = target::split(method, raw)?;
        Ok(Self {
            method,
            target,
            version,
            host: host(&fields, version, authority)?,
            framing: fields.framing(version)?.unwrap_or(Framing::None),
            keep_alive: fields.connection.keeps_alive(version),
            expects_continue: fields.expects_continue,
            upgrade: upgrade(&fields, version),
            is_plain: authority.is_none() && version == Version::Http11,
            line_start,
            fields,
        })
    }

    pub fn path(&self) -> &'h str {
        self.target.split_once('?').map_or(self.target, |(path, _)| path)
    }

    /// Without the `?`.
    pub fn query(&self) -> Option<&'h str> {
        self.target.split_once('?').map(|(_, query)| query)
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

    /// RFC 9110 §9.2.2.
    pub fn is_idempotent(&self) -> bool {
        matches!(self.method, "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE")
    }

    /// The request line with its end, without empty lines before it.
    pub(crate) fn line(&self) -> &'h [u8] {
        &self.fields.first_line()[self.line_start..]
    }
}

/// The authority the client named.
#[inline]
fn host<'h>(fields: &Fields<'h>, version: Version, authority: Option<&'h str>) -> Result<&'h str, BadRequest> {
    let host = match (fields.hosts, fields.host.map(|host| host.value)) {
        (0, _) | (1, Some(b"")) if version == Version::Http10 => "",
        (1, Some(host)) => std::str::from_utf8(host).ok().filter(|host| is_authority(host)).ok_or(BadRequest::Host)?,
        _ => return Err(BadRequest::Host),
    };
    // RFC 9112 §3.2.2.
    Ok(authority.unwrap_or(host))
}

/// A tunnel of HTTP/2 would carry requests past the routes: that upgrade is not offered to servers.
#[inline]
fn upgrade<'h>(fields: &Fields<'h>, version: Version) -> Option<&'h [u8]> {
    let asked = version == Version::Http11 && fields.connection.upgrade;
    fields.upgrade.filter(|protocols| asked && !lists(protocols, b"h2c"))
}

fn of_syntax(error: Error, bytes: &[u8]) -> BadRequest {
    match error {
        Error::Version if has_other_version(bytes) => BadRequest::Version,
        Error::HeaderName => BadHead::HeaderName.into(),
        Error::HeaderValue => BadHead::HeaderValue.into(),
        Error::NewLine => BadHead::LineEnd.into(),
        Error::TooManyHeaders => BadHead::TooManyHeaders.into(),
        Error::Token | Error::Version | Error::Status => BadRequest::RequestLine,
    }
}

/// Whether the first line is a request line but for the digits of its version.
fn has_other_version(bytes: &[u8]) -> bool {
    let version = first_line(bytes).0.splitn(3, |byte| *byte == b' ').nth(2).unwrap_or_default();
    matches!(version, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
        if major.is_ascii_digit() && minor.is_ascii_digit())
}

/// The first line that is not empty, and whether it has ended.
fn first_line(bytes: &[u8]) -> (&[u8], bool) {
    let bytes = bytes.trim_ascii_start();
    let end = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
    (&bytes[..end.unwrap_or(bytes.len())], end.is_some())
}

/// Waits for more of a head, as long as it may be longer.
fn more<T>(window: &[u8], limits: &Limits, in_line: bool) -> Result<Parsed<T>, BadRequest> {
    match in_line {
        _ if window.len() < limits.head_bytes_max => Ok(Parsed::Partial),
        true => Err(BadRequest::RequestLineTooLong),
        false => Err(BadHead::TooLong.into()),
    }
}
