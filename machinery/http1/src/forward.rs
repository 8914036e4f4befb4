//! A request's head as a server receives it.

use crate::edit::{self, Edit};
use crate::mask::Mask;
use crate::names::{Known, known};
use crate::text::{is_value, put_line};
use crate::{Framing, Request, Target, authority};

/// Room for what is written beside the client's own lines, so that the buffer grows once.
const ADDED_BYTES: usize = 512;

/// How a request goes on.
#[derive(Debug, Clone, Copy)]
pub struct Forward<'a> {
    /// The server's own name: its `Host`, unless the client's is kept and named one.
    pub authority: &'a str,
    pub keeps_host: bool,
    /// Instead of the client's.
    pub target: Option<Target<'a>>,
    pub forwarded: Forwarded<'a>,
    /// How the body is framed now; `None`: as it came.
    pub framing: Option<Framing>,
    pub edits: &'a [Edit<'a>],
}

/// What the server is told about the client, in `X-Forwarded-*` and `X-Real-Ip`.
#[derive(Debug, Clone, Copy)]
pub struct Forwarded<'a> {
    /// What the client says of itself is kept and added to; else it ends here.
    pub trusted: bool,
    /// The client's address as text.
    pub client: &'a str,
    /// How the client reached us.
    pub scheme: Scheme,
    /// Who we are; left out if it is no header's value.
    pub server: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

impl Request<'_> {
    /// Writes the head that a server receives, in HTTP/1.1, with its empty line.
    pub fn write(&self, out: &mut Vec<u8>, forward: &Forward<'_>) {
        out.reserve(self.head_bytes() + ADDED_BYTES);
        self.put_request_line(out, forward.target);
        let keeps_host = forward.keeps_host && !self.host.is_empty();
        put_line(out, "Host", if keeps_host { self.host } else { forward.authority }.as_bytes());

        let mut dropped = self.fields.hop();
        if let Some(host) = self.fields.host {
            dropped.insert(host.index);
        }
        edit::put(forward.edits, out, &self.fields, &mut dropped);
        self.fields.put_framing(out, &mut dropped, forward.framing);
        self.put_forwarded(out, forward, &mut dropped);
        if let Some(protocols) = self.upgrade {
            out.extend_from_slice(b"Connection: upgrade\r\n");
            put_line(out, "Upgrade", protocols);
        }
        if self.fields.takes_trailers {
            out.extend_from_slice(b"TE: trailers\r\n");
        }
        self.fields.copy(out, self.fields.lines_start, &dropped);
        out.extend_from_slice(b"\r\n");
    }

    #[inline]
    fn put_request_line(&self, out: &mut Vec<u8>, target: Option<Target<'_>>) {
        if self.is_plain && target.is_none() {
            out.extend_from_slice(self.line());
            return;
        }
        out.extend_from_slice(self.method.as_bytes());
        out.push(b' ');
        out.extend_from_slice(target.map_or(self.target, Target::as_str).as_bytes());
        out.extend_from_slice(b" HTTP/1.1\r\n");
    }

    #[inline]
    fn put_forwarded(&self, out: &mut Vec<u8>, forward: &Forward<'_>, dropped: &mut Mask) {
        let Forwarded { trusted, client, scheme, server } = forward.forwarded;
        let kept = if trusted { self.kept(out, forward, dropped) } else { Kept::default() };
        if !trusted {
            *dropped = dropped.union(&self.fields.forwarded);
        }
        let mut put = |name: &'static str, value: &str| {
            if forward.edits.is_empty() || !edit::replace(forward.edits, name) {
                put_line(out, name, value.as_bytes());
            }
        };
        if !kept.chain {
            put("X-Forwarded-For", client);
        }
        if !kept.address {
            put("X-Real-Ip", client);
        }
        if !kept.proto {
            put("X-Forwarded-Proto", self.proto(scheme));
        }
        if !kept.host && !self.host.is_empty() {
            put("X-Forwarded-Host", self.host);
        }
        if !kept.port {
            put("X-Forwarded-Port", authority::port(self.host).unwrap_or(scheme.port()));
        }
        if is_value(server.as_bytes()) {
            put("X-Forwarded-Server", server);
        }
    }

    /// Finds what a trusted client says of its own clients, and writes the chain of addresses with its own added.
    #[cold]
    fn kept(&self, out: &mut Vec<u8>, forward: &Forward<'_>, dropped: &mut Mask) -> Kept {
        let mut kept = Kept::default();
        let is_edited = edit::replace(forward.edits, "X-Forwarded-For");
        for index in self.fields.positions(|_| true).filter(|index| self.fields.forwarded.contains(*index)) {
            let header = &self.headers()[index];
            match known(header.name.as_bytes()) {
                Some(Known::ForwardedFor) => {
                    dropped.insert(index);
                    if !is_edited {
                        out.extend_from_slice(if kept.chain { b", " } else { b"X-Forwarded-For: " });
                        out.extend_from_slice(header.value);
                    }
                    kept.chain = true;
                }
                Some(Known::ForwardedServer) => dropped.insert(index),
                Some(Known::ForwardedHost) => kept.host = true,
                Some(Known::ForwardedPort) => kept.port = true,
                Some(Known::ForwardedProto) => kept.proto = true,
                Some(Known::RealIp) => kept.address = true,
                _ => {}
            }
        }
        if kept.chain && !is_edited {
            out.extend_from_slice(b", ");
            out.extend_from_slice(forward.forwarded.client.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        kept
    }

    fn proto(&self, scheme: Scheme) -> &'static str {
        let is_web_socket = self.upgrade.is_some_and(|to| to.eq_ignore_ascii_case(b"websocket"));
        match (scheme, is_web_socket) {
            (Scheme::Http, false) => "http",
            (Scheme::Http, true) => "ws",
            (Scheme::Https, false) => "https",
            (Scheme::Https, true) => "wss",
        }
    }
}

/// What need not be written, since a trusted client said it.
#[derive(Default)]
struct Kept {
    chain: bool,
    address: bool,
    proto: bool,
    host: bool,
    port: bool,
}

impl Scheme {
    fn port(self) -> &'static str {
        match self {
            Self::Http => "80",
            Self::Https => "443",
        }
    }
}

#[cfg(test)]
mod tests;
