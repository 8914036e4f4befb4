//! The gate in front of an HTTP face: credentials, Host and Origin, before any handler runs.
//!
//! A verified certificate of the connection says who calls, and needs no token; without one a token is asked for.

use crate::{Peer, Role, Verifier};
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower::{Layer, Service};
use web::PeerCertificate;

/// Who the gate let in; handlers find it in the request's extensions, with the [`Peer`] when it was a certificate that let
/// them in.
#[derive(Clone, Copy, Debug)]
pub struct Caller(pub Role);

/// Decides whether a role may make a request: role, method, path.
type Rule = dyn Fn(Role, &Method, &str) -> bool + Send + Sync;

/// A gate for one face. Made into an axum layer by [`Gate::layer`].
#[derive(Clone)]
pub struct Gate {
    verifier: Verifier,
    realm: &'static str,
    rule: Arc<Rule>,
}

impl Gate {
    pub fn new(
        verifier: Verifier,
        realm: &'static str,
        rule: impl Fn(Role, &Method, &str) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self { verifier, realm, rule: Arc::new(rule) }
    }

    pub fn layer(self) -> GateLayer {
        GateLayer(self)
    }

    /// Checks a request's head; the error is the answer to give.
    fn admit(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        certificate: Option<&PeerCertificate>,
    ) -> Result<(Caller, Option<Peer>), Box<Response>> {
        if matches!(self.verifier, Verifier::Open) && !host_is_local(headers) {
            return Err(refuse(StatusCode::FORBIDDEN, "Host must name this machine (an IP address or localhost)"));
        }
        if !method.is_safe() && !origin_is_own(headers) {
            return Err(refuse(StatusCode::FORBIDDEN, "Origin names another site"));
        }
        let peer = match certificate.map(|certificate| Peer::of(&certificate.0)).transpose() {
            Ok(peer) => peer,
            Err(error) => return Err(refuse(StatusCode::FORBIDDEN, &error.to_string())),
        };
        let role = match (&peer, authorization_token(headers)) {
            (Some(peer), _) => Some(peer.role),
            (None, Some(token)) => self.verifier.role_of(&token),
            (None, None) => self.verifier.anonymous(),
        };
        let Some(role) = role else {
            let mut answer =
                refuse(StatusCode::UNAUTHORIZED, "a valid token is needed, as Bearer or as Basic password");
            let challenge = format!("Basic realm=\"{}\", charset=\"UTF-8\"", self.realm);
            if let Ok(value) = HeaderValue::try_from(challenge) {
                answer.headers_mut().insert(WWW_AUTHENTICATE, value);
            }
            return Err(answer);
        };
        if !(self.rule)(role, method, path) {
            let message = format!("role {role} may not {method} {path}");
            return Err(refuse(StatusCode::FORBIDDEN, &message));
        }
        Ok((Caller(role), peer))
    }
}

/// The token a request shows: `Bearer TOKEN`, `Basic` with the token as password, or the bare value (etcd's gateway).
pub fn authorization_token(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let Some((scheme, rest)) = value.split_once(' ') else { return Some(value.to_owned()) };
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let pair = base64::engine::general_purpose::STANDARD.decode(rest.trim()).ok()?;
        let pair = String::from_utf8(pair).ok()?;
        return pair.split_once(':').map(|(_, password)| password.to_owned());
    }
    None
}

/// A page of another site can make a browser call loopback under its own name (DNS rebinding): such a Host is refused.
fn host_is_local(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST) else { return true };
    let Ok(host) = host.to_str() else { return false };
    let name = host.rsplit_once(':').map_or(host, |(name, port)| if port.contains(']') { host } else { name });
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.parse::<IpAddr>().is_ok() || name == "localhost" || name.ends_with(".localhost")
}

fn origin_is_own(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let own = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let Ok(origin) = origin.to_str() else { return false };
    origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(own))
}

fn refuse(status: StatusCode, message: &str) -> Box<Response> {
    let body = serde_json::json!({ "message": message }).to_string();
    Box::new((status, [(CONTENT_TYPE, "application/json")], Body::from(body)).into_response())
}

#[derive(Clone)]
pub struct GateLayer(Gate);

impl<S> Layer<S> for GateLayer {
    type Service = GateService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        GateService { gate: self.0.clone(), inner }
    }
}

#[derive(Clone)]
pub struct GateService<S> {
    gate: Gate,
    inner: S,
}

impl<S> Service<Request> for GateService<S>
where
    S: Service<Request, Response = Response> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let certificate = request.extensions().get::<PeerCertificate>();
        match self.gate.admit(request.method(), request.uri().path(), request.headers(), certificate) {
            Ok((caller, peer)) => {
                request.extensions_mut().insert(caller);
                if let Some(peer) = peer {
                    request.extensions_mut().insert(peer);
                }
                Box::pin(self.inner.call(request))
            }
            Err(answer) => Box::pin(async move { Ok(*answer) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Token;
    use axum::{Router, routing::get};
    use tower::ServiceExt;

    fn face(verifier: Verifier) -> Router {
        let gate = Gate::new(verifier, "test", |role, method, _| role == Role::Admin || method.is_safe());
        Router::new().route("/", get(|| async { "in" }).post(|| async { "done" })).layer(gate.layer())
    }

    async fn status(face: Router, method: Method, headers: &[(http::HeaderName, &str)]) -> StatusCode {
        let mut request = Request::builder().method(method).uri("/");
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        face.oneshot(request.body(Body::empty()).unwrap()).await.unwrap().status()
    }

    #[tokio::test]
    async fn a_token_opens_the_gate_and_its_role_decides() {
        let admin = Token::generate().unwrap();
        let viewer = Token::generate().unwrap();
        let verifier = Verifier::Tokens(vec![admin.accepted_as(Role::Admin), viewer.accepted_as(Role::Viewer)]);
        let face = face(verifier);
        assert_eq!(status(face.clone(), Method::GET, &[]).await, StatusCode::UNAUTHORIZED);
        let viewer = format!("Bearer {}", viewer.reveal());
        assert_eq!(status(face.clone(), Method::GET, &[(AUTHORIZATION, &viewer)]).await, StatusCode::OK);
        assert_eq!(status(face.clone(), Method::POST, &[(AUTHORIZATION, &viewer)]).await, StatusCode::FORBIDDEN);
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("any:{}", admin.reveal()));
        let basic = format!("Basic {pair}");
        assert_eq!(status(face.clone(), Method::POST, &[(AUTHORIZATION, &basic)]).await, StatusCode::OK);
    }

    #[tokio::test]
    async fn another_sites_page_is_refused() {
        let face = face(Verifier::Open);
        let own = [(HOST, "localhost:80"), (ORIGIN, "http://localhost:80")];
        assert_eq!(status(face.clone(), Method::POST, &own).await, StatusCode::OK);
        let foreign = [(HOST, "localhost:80"), (ORIGIN, "http://evil.example")];
        assert_eq!(status(face.clone(), Method::POST, &foreign).await, StatusCode::FORBIDDEN);
        assert_eq!(status(face.clone(), Method::GET, &[(HOST, "evil.example")]).await, StatusCode::FORBIDDEN);
        assert_eq!(status(face, Method::GET, &[(HOST, "[::1]:80")]).await, StatusCode::OK);
    }
}
