//! The head of a request, from HTTP/2 to HTTP/1 and back.
//!
//! What HTTP/2 forbids is refused by the frame layer (`h2`): unknown, repeated or late pseudo-headers, names in upper case,
//! headers of a connection, `TE` other than `trailers`, CR, LF and NUL in values, data that does not add up to
//! `content-length`. What is left is refused here or, once it is a head of HTTP/1, by the same reading as any other.

use crate::Coding;
use crate::fields::{put_line, put_lines, to_map};
use http::header::{CONTENT_LENGTH, HOST};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, Method, Request, Uri};
use http1::{Limits, Parsed, Storage};
use std::borrow::Cow;
use std::io::{self, ErrorKind};

/// Why a request is malformed: its stream is reset (RFC 9113 §8.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("the authority and Host name different hosts")]
    Host,
    #[error("the path does not begin with a slash")]
    Path,
    #[error("the scheme is neither http nor https")]
    Scheme,
    #[error("the protocol is no token")]
    Protocol,
}

/// Writes the head that HTTP/1 has for a request; how its body is to be framed. `protocol` is what the stream would become
/// (RFC 8441); `has_more` is whether anything follows the head; `websocket_key` is for a websocket, which HTTP/2 needs none
/// for.
pub fn write(
    out: &mut Vec<u8>,
    request: &Request<impl Sized>,
    protocol: Option<&str>,
    has_more: bool,
    websocket_key: &str,
) -> Result<Coding, Malformed> {
    let (method, uri, fields) = (request.method(), request.uri(), request.headers());
    if uri.scheme().is_some_and(|scheme| *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS) {
        return Err(Malformed::Scheme);
    }
    if protocol.is_some_and(|protocol| HeaderName::from_bytes(protocol.as_bytes()).is_err()) {
        return Err(Malformed::Protocol);
    }
    let named = uri.authority().map(Authority::as_str);
    if let Some(named) = named
        && fields.get_all(HOST).iter().any(|host| !host.as_bytes().eq_ignore_ascii_case(named.as_bytes()))
    {
        return Err(Malformed::Host);
    }
    let is_tunnel = method == Method::CONNECT && protocol.is_none();
    let target = match uri.path_and_query().map(PathAndQuery::as_str) {
        // It is refused as any other CONNECT.
        _ if is_tunnel => named.unwrap_or_default(),
        Some(target) if target.starts_with('/') || target == "*" => target,
        _ => return Err(Malformed::Path),
    };
    let method = if protocol.is_some() { "GET" } else { method.as_str() };
    out.extend_from_slice(method.as_bytes());
    out.push(b' ');
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    // Which host is meant is said once.
    match named {
        Some(named) => {
            put_line(out, "host", named.as_bytes());
            put_all_but_host(out, fields);
        }
        None => put_lines(out, fields),
    }
    if let Some(protocol) = protocol {
        out.extend_from_slice(b"connection: upgrade\r\n");
        put_line(out, "upgrade", protocol.as_bytes());
        if protocol == "websocket" {
            put_line(out, "sec-websocket-key", websocket_key.as_bytes());
        }
    }
    let coding = match (fields.contains_key(CONTENT_LENGTH), has_more && protocol.is_none()) {
        (false, true) => {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
            Coding::Chunked
        }
        (false, false) if matches!(method, "POST" | "PUT" | "PATCH") => {
            // Some servers insist (411).
            out.extend_from_slice(b"content-length: 0\r\n");
            Coding::Plain
        }
        _ => Coding::Plain,
    };
    out.extend_from_slice(b"\r\n");
    Ok(coding)
}

fn put_all_but_host(out: &mut Vec<u8>, fields: &HeaderMap) {
    if !fields.contains_key(HOST) {
        return put_lines(out, fields);
    }
    let mut others = fields.clone();
    others.remove(HOST);
    put_lines(out, &others);
}

/// A request as the edge wrote it for a server.
pub struct ToServer {
    pub request: Request<()>,
    pub framing: http1::Framing,
    pub head_bytes: usize,
    /// It would become a websocket (its stream is to say so), and this is its key.
    pub upgrade: Option<Vec<u8>>,
}

/// Reads the head of a request that the edge wrote; `None` if it is not whole. `can_upgrade`: the server takes websockets
/// (RFC 8441); else it is not told that the client wants one, and answers as any request.
pub fn read(bytes: &[u8], limits: &Limits, scheme: Scheme, can_upgrade: bool) -> io::Result<Option<ToServer>> {
    let unfit = |why: &str| io::Error::new(ErrorKind::InvalidData, why.to_owned());
    let mut storage = Storage::new();
    let head = match http1::Request::parse(bytes, &mut storage, limits) {
        Ok(Parsed::Complete(head)) => head,
        Ok(Parsed::Partial) => return Ok(None),
        Err(bad) => return Err(io::Error::new(ErrorKind::InvalidData, bad)),
    };
    let upgrade = can_upgrade && head.upgrade.is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"websocket"));
    // Clients send these two as they are, and browsers do not mind; URIs have them encoded only (RFC 3986 §2.1).
    let target = match head.target.contains(['"', '`']) {
        true => Cow::Owned(head.target.replace('"', "%22").replace('`', "%60")),
        false => Cow::Borrowed(head.target),
    };
    let uri = Uri::builder().scheme(scheme).authority(head.host).path_and_query(&*target).build();
    let mut request = Request::new(());
    *request.uri_mut() = uri.map_err(|_| unfit("the target is no URI of HTTP/2"))?;
    *request.method_mut() = match upgrade {
        true => Method::CONNECT,
        false => Method::from_bytes(head.method.as_bytes()).map_err(|_| unfit("the method is none"))?,
    };
    let mut fields = to_map(&bytes[..head.head_bytes()], head.headers()).ok_or_else(|| unfit("a header is none"))?;
    fields.remove(HOST);
    let mut key = None;
    if upgrade {
        key = Some(fields.remove("sec-websocket-key").map(|key| key.as_bytes().to_vec()).unwrap_or_default());
    }
    *request.headers_mut() = fields;
    Ok(Some(ToServer { request, framing: head.framing, head_bytes: head.head_bytes(), upgrade: key }))
}

#[cfg(test)]
mod tests;
