//! The head of a request to a server: from HTTP/1, as the edge wrote it, to HTTP/2.

use crate::fields::to_map;
use http::header::HOST;
use http::uri::Scheme;
use http::{Method, Request, Uri};
use http1::{Limits, Parsed, Storage};
use std::borrow::Cow;
use std::io::{self, ErrorKind};

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
