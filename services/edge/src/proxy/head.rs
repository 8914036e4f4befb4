//! What happens to heads: hop-by-hop headers end here, `X-Forwarded-*` is written anew, Host and path stay as they came
//! unless the route says otherwise.

use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::{Method, Uri, Version};
use routing::{Headers, Route, ServerUrl};
use std::net::IpAddr;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_SERVER: HeaderName = HeaderName::from_static("x-forwarded-server");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// What a client's head asks of the proxy itself.
pub(crate) struct Incoming {
    pub method: Method,
    /// Origin form, raw.
    pub target: Uri,
    /// The authority the client named, raw; empty when it named none.
    pub host: String,
    pub headers: HeaderMap,
    /// The protocol to switch to.
    pub upgrade: Option<HeaderValue>,
    pub expects_continue: bool,
    pub client: IpAddr,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("a request has exactly one Host")]
    Host,
    #[error("the request target is not understood")]
    Target,
    /// Two readings of where the body ends are one too many (RFC 9112 §6.1: request smuggling).
    #[error("a request has Content-Length or Transfer-Encoding, not both")]
    Framing,
}

impl Headers for Incoming {
    fn first(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.headers.get(name)?.as_bytes()).ok()
    }
}

impl Incoming {
    pub fn read(parts: Parts, client: IpAddr) -> Result<Self, Malformed> {
        let Parts { method, uri, version, mut headers, .. } = parts;
        if headers.contains_key(CONTENT_LENGTH) && headers.contains_key(TRANSFER_ENCODING) {
            return Err(Malformed::Framing);
        }
        let mut hosts = headers.get_all(HOST).iter();
        let host = match (uri.authority(), hosts.next(), hosts.next()) {
            (_, _, Some(_)) => return Err(Malformed::Host),
            // In absolute form the target's authority counts (RFC 9112 §3.2.2).
            (Some(authority), _, None) => authority.as_str().to_owned(),
            (None, Some(host), None) => host.to_str().map_err(|_| Malformed::Host)?.to_owned(),
            (None, None, None) if version == Version::HTTP_11 => return Err(Malformed::Host),
            (None, None, None) => String::new(),
        };
        let target = match uri.path_and_query() {
            Some(target) => Uri::from(target.clone()),
            None => return Err(Malformed::Target),
        };
        let upgrade = (version == Version::HTTP_11 && lists(&headers, CONNECTION, "upgrade"))
            .then(|| headers.get(UPGRADE).cloned())
            .flatten();
        let expects_continue = lists(&headers, EXPECT, "100-continue");
        strip_hop_by_hop(&mut headers);
        Ok(Self { method, target, host, headers, upgrade, expects_continue, client })
    }

    /// RFC 9110 §9.2.2.
    pub fn is_idempotent(&self) -> bool {
        matches!(
            self.method,
            Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
        )
    }

    /// The declared length of the body.
    pub fn content_length(&self) -> Option<u64> {
        self.headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
    }

    /// The headers a server receives. `unframed` is a body whose length nobody declared.
    pub fn headers_for(&self, route: &Route, server: &ServerUrl, edge: &str, unframed: bool) -> HeaderMap {
        let mut headers = self.headers.clone();
        let host = if route.pass_host_header && !self.host.is_empty() { &self.host } else { server.authority() };
        set(&mut headers, HOST, host);
        self.forward(&mut headers, route, edge);
        if let Some(protocol) = &self.upgrade {
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(UPGRADE, protocol.clone());
        }
        if unframed {
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        headers
    }

    fn forward(&self, headers: &mut HeaderMap, route: &Route, edge: &str) {
        let trusted = route.trust_forward_header;
        if !trusted {
            for name in [FORWARDED_FOR, FORWARDED_HOST, FORWARDED_PORT, FORWARDED_PROTO, FORWARDED_SERVER, REAL_IP] {
                headers.remove(name);
            }
        }
        let client = self.client.to_canonical().to_string();
        let before = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
        let chain: Vec<&str> = before.chain([client.as_str()]).collect();
        let chain = chain.join(", ");
        set(headers, FORWARDED_FOR, &chain);
        set_absent(headers, REAL_IP, &client);
        let web_socket = self.upgrade.as_ref().is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"));
        set_absent(headers, FORWARDED_PROTO, if web_socket { "ws" } else { "http" });
        set_absent(headers, FORWARDED_HOST, &self.host);
        let after_address = &self.host[self.host.rfind(']').unwrap_or(0)..];
        let port = after_address.rsplit_once(':').map_or("80", |(_, port)| port);
        set_absent(headers, FORWARDED_PORT, port);
        let server = if route.forwarded_server.is_empty() { edge } else { &route.forwarded_server };
        set(headers, FORWARDED_SERVER, server);
    }
}

/// Removes what concerns one connection only (RFC 9110 §7.6.1). `TE: trailers` goes on: trailers are passed through.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        // Naming these would change what the message says.
        .filter(|name| *name != HOST && *name != CONTENT_LENGTH && *name != TE)
        .collect();
    let takes_trailers = lists(headers, TE, "trailers");
    for name in named {
        headers.remove(name);
    }
    let always = [
        CONNECTION,
        KEEP_ALIVE,
        PROXY_CONNECTION,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRANSFER_ENCODING,
        UPGRADE,
    ];
    for name in always {
        headers.remove(name);
    }
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// The bytes of a head on an HTTP/1 wire; `start` are those of its first line, without line end.
pub(crate) fn wire_bytes(start: usize, headers: &HeaderMap) -> u64 {
    let line = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 4;
    (start + 4 + headers.iter().map(line).sum::<usize>()) as u64
}

/// Whether a comma-separated header has a member.
fn lists(headers: &HeaderMap, name: HeaderName, member: &str) -> bool {
    let texts = headers.get_all(name);
    let mut members = texts.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    members.any(|found| found.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(member))
}

/// A value that is no header value is left out; texts here come from parsed heads and routes.
fn set(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    match HeaderValue::try_from(text) {
        Ok(value) => headers.insert(name, value),
        Err(_) => headers.remove(name),
    };
}

fn set_absent(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if !headers.contains_key(&name) {
        set(headers, name, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;
    use routing::RouteSpec;

    fn incoming(request: Request<()>) -> Incoming {
        Incoming::read(request.into_parts().0, "192.0.2.7".parse().unwrap()).unwrap()
    }

    fn route(trust: bool, pass_host_header: bool) -> Route {
        let rule = "Host(`a`)".to_owned();
        Route::compile(RouteSpec { rule, trust_forward_header: trust, pass_host_header, ..RouteSpec::default() })
            .unwrap()
    }

    fn server() -> ServerUrl {
        ServerUrl::parse("http://10.0.0.1:5000").unwrap()
    }

    #[test]
    fn hop_by_hop_headers_end_here() {
        let request = Request::get("/")
            .header("Host", "a")
            .header("Connection", "close, X-Private, Host")
            .header("X-Private", "1")
            .header("Keep-Alive", "1")
            .header("TE", "trailers, deflate")
            .header("Transfer-Encoding", "chunked")
            .header("Proxy-Authorization", "x")
            .header("X-Kept", "1");
        let headers = incoming(request.body(()).unwrap()).headers_for(&route(false, true), &server(), "edge", false);
        for gone in ["connection", "x-private", "keep-alive", "transfer-encoding", "proxy-authorization"] {
            assert!(!headers.contains_key(gone), "{gone}");
        }
        assert_eq!(headers["te"], "trailers");
        assert_eq!(headers["x-kept"], "1");
        assert_eq!(headers["host"], "a");
    }

    #[test]
    fn what_clients_say_of_themselves_is_not_believed() {
        let request = || {
            let request = Request::get("/").header("Host", "a:8181").header("X-Forwarded-For", "6.6.6.6");
            request.header("X-Forwarded-Proto", "https").header("X-Real-Ip", "6.6.6.6").body(()).unwrap()
        };
        let headers = incoming(request()).headers_for(&route(false, false), &server(), "edge-1", false);
        assert_eq!(headers["x-forwarded-for"], "192.0.2.7");
        assert_eq!(headers["x-real-ip"], "192.0.2.7");
        assert_eq!(headers["x-forwarded-proto"], "http");
        assert_eq!(headers["x-forwarded-host"], "a:8181");
        assert_eq!(headers["x-forwarded-port"], "8181");
        assert_eq!(headers["x-forwarded-server"], "edge-1");
        assert_eq!(headers["host"], "10.0.0.1:5000");
        let headers = incoming(request()).headers_for(&route(true, false), &server(), "edge-1", false);
        assert_eq!(headers["x-forwarded-for"], "6.6.6.6, 192.0.2.7");
        assert_eq!(headers["x-forwarded-proto"], "https");
    }

    #[test]
    fn one_host_and_the_targets_authority_first() {
        let read = |request: Request<()>| Incoming::read(request.into_parts().0, "::1".parse().unwrap());
        assert!(read(Request::get("/").body(()).unwrap()).is_err());
        let twice = Request::get("/").header("Host", "a").header("Host", "b").body(()).unwrap();
        assert!(read(twice).is_err());
        let absolute = Request::get("http://b:1/p?q").header("Host", "a").body(()).unwrap();
        let absolute = read(absolute).unwrap();
        assert_eq!((absolute.host.as_str(), absolute.target.to_string().as_str()), ("b:1", "/p?q"));
    }
}
