//! Traces (OpenTelemetry): a span for each request that is sampled, and below it one for each attempt at a server. A thread of
//! the engine hands them over; one task sends them to a collector by OTLP over HTTP, many at once. No request waits for it.
//!
//! The span of an attempt is what the server is told of (`traceparent`), so that what the server does is below it. Whether a
//! trace is sampled is decided where it begins: a parent's decision holds.

mod export;
mod otlp;

use crate::accesslog::Redaction;
use crate::engine::CLIENT_LEFT;
use crate::handover::Handover;
use crate::identifiers::TraceContext;
use crate::limits::{SPANS_QUEUE_MAX, TRACES_FINISH};
use crate::observation::{Ended, Told, Trail, unix_nanos};
use export::Exporter;
use http::Uri;
use http1::{Request, Version};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;
use tokio::sync::{Mutex, Notify, mpsc};
use tokio::time::{Instant, timeout};

#[derive(Clone, Debug)]
pub struct Config {
    /// The collector: `http://host:4318`, to which OTLP's path is added, or with a path of its own.
    pub collector: String,
    /// Of traces that begin here, the share that is sampled: 0 to 1.
    pub sample: f64,
    /// Parameters of queries whose values are left out, besides those that are known.
    pub redacted: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
#[error("{url:?} is no URL of a collector: expected http://HOST:4318 or https://…")]
pub struct UrlError {
    url: String,
}

pub(crate) struct Traces {
    /// A trace whose id's last seven bytes are below this is sampled.
    sampled_below: u64,
    redaction: Redaction,
    spans: Arc<Handover<Span>>,
    /// Spans that the collector did not take.
    lost: Arc<AtomicU64>,
    ends: Arc<Notify>,
    ended: Mutex<mpsc::Receiver<()>>,
}

/// A part of a trace.
#[derive(Debug)]
struct Span {
    context: TraceContext,
    kind: Kind,
    name: String,
    begun_nanos: u64,
    ended_nanos: u64,
    attributes: Vec<(&'static str, Value)>,
    is_error: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Server,
    Client,
}

#[derive(Debug)]
enum Value {
    Text(String),
    Number(u64),
}

/// Where OTLP is taken (OTLP 1.x, "OTLP/HTTP Request").
const PATH: &str = "/v1/traces";
/// Those of RFC 9110 and PATCH; any other is `_OTHER` (semantic conventions for HTTP, `http.request.method`).
const KNOWN_METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"];

impl Traces {
    /// Called on the runtime that sends them.
    pub fn start(config: Config, edge_id: &str) -> Result<Self, UrlError> {
        let url = collector(&config.collector).ok_or(UrlError { url: config.collector })?;
        let (news, ends) = (Arc::<Notify>::default(), Arc::<Notify>::default());
        let woken = news.clone();
        let spans = Arc::new(Handover::new(SPANS_QUEUE_MAX, move || woken.notify_one()));
        let lost = Arc::<AtomicU64>::default();
        let (over, ended) = mpsc::channel(1);
        let exporter = Exporter {
            url,
            edge_id: edge_id.to_owned(),
            spans: spans.clone(),
            lost: lost.clone(),
            news,
            ends: ends.clone(),
        };
        tokio::spawn(async move {
            exporter.run().await;
            drop(over);
        });
        let sampled_below = (config.sample.clamp(0.0, 1.0) * (1u64 << 56) as f64) as u64;
        Ok(Self {
            sampled_below,
            redaction: Redaction::new(config.redacted),
            spans,
            lost,
            ends,
            ended: Mutex::new(ended),
        })
    }

    /// Whether a trace that begins here is sampled: every edge with the same share says the same.
    pub fn samples(&self, trace_id: &[u8; 16]) -> bool {
        let last = u128::from_be_bytes(*trace_id) as u64 & ((1 << 56) - 1);
        last < self.sampled_below
    }

    /// A request is over.
    pub fn ended(&self, ended: &Ended<'_>, now: SystemTime) {
        let Some((trail, trace)) = ended.trail.and_then(|trail| Some((trail, trail.trace.as_ref()?))) else { return };
        let Told::Request(request) = ended.request else { return };
        if !trace.is_sampled {
            return;
        }
        let now = (Instant::now(), now);
        let mut spans = self.attempts(ended, request, trail, trace, now);
        spans.push(self.server_span(ended, request, trace, now));
        self.spans.say(|said| said.append(&mut spans));
    }

    fn server_span(
        &self,
        ended: &Ended<'_>,
        request: &Request<'_>,
        trace: &TraceContext,
        now: (Instant, SystemTime),
    ) -> Span {
        let mut attributes = vec![
            ("url.scheme", text(if ended.is_secure { "https" } else { "http" })),
            ("url.path", text(request.path())),
            ("client.address", text(ended.client)),
            ("http.response.status_code", Value::Number(ended.status.into())),
            ("http.request.body.size", Value::Number(ended.request_bytes)),
            ("http.response.body.size", Value::Number(ended.response_bytes)),
            ("network.protocol.name", text("http")),
            ("network.protocol.version", text(version(ended, request))),
        ];
        attributes.extend(method(request));
        attributes.extend(address(request.host, "server.address", "server.port"));
        if request.query().is_some() {
            let target = self.redaction.of(request.target);
            attributes.extend(target.split_once('?').map(|(_, query)| ("url.query", text(query))));
        }
        if let Some(agent) = request.header("user-agent") {
            attributes.push(("user_agent.original", text(&String::from_utf8_lossy(agent))));
        }
        if let Some(route) = ended.route {
            attributes.push(("roadstead.route", text(&route.id)));
            attributes.extend(route.app.as_deref().map(|app| ("roadstead.app", text(app))));
        }
        if let Some(id) = ended.trail.and_then(Trail::request_id) {
            attributes.push(("roadstead.request_id", text(id)));
        }
        // What a client does wrong is no error of the server's; one that left did not get what it came for.
        let is_error = ended.status >= 500 || ended.status == CLIENT_LEFT;
        if is_error {
            attributes.push(("error.type", text(&ended.status.to_string())));
        }
        Span {
            context: trace.clone(),
            kind: Kind::Server,
            name: match ended.route {
                Some(route) => format!("{} {}", known_method(request), route.id),
                None => known_method(request).to_owned(),
            },
            begun_nanos: unix_nanos(ended.begun, now),
            ended_nanos: unix_nanos(ended.begun + ended.took.whole, now),
            attributes,
            is_error,
        }
    }

    fn attempts(
        &self,
        ended: &Ended<'_>,
        request: &Request<'_>,
        trail: &Trail,
        trace: &TraceContext,
        now: (Instant, SystemTime),
    ) -> Vec<Span> {
        let span = |(count, attempt): (usize, crate::observation::Attempt)| {
            let target = self.redaction.of(request.target);
            let mut attributes = vec![("url.full", text(&format!("{}{target}", attempt.server)))];
            attributes.extend(method(request));
            let authority = attempt.server.split_once("://").map_or(&*attempt.server, |(_, authority)| authority);
            attributes.extend(address(authority, "server.address", "server.port"));
            attributes.extend(address(authority, "network.peer.address", "network.peer.port"));
            if count > 0 {
                attributes.push(("http.request.resend_count", Value::Number(count as u64)));
            }
            let status = attempt.status;
            attributes.extend(status.map(|status| ("http.response.status_code", Value::Number(status.into()))));
            let failed = status.filter(|status| *status >= 400).map(|status| status.to_string());
            let is_error = attempt.error.is_some() || failed.is_some();
            attributes.extend(attempt.error.or(failed).map(|error| ("error.type", Value::Text(error))));
            Span {
                context: TraceContext { parent: Some(trace.span_id), ..trace.with_span(attempt.span) },
                kind: Kind::Client,
                name: known_method(request).to_owned(),
                begun_nanos: unix_nanos(attempt.begun.max(ended.begun), now),
                ended_nanos: unix_nanos(attempt.ended, now),
                attributes,
                is_error,
            }
        };
        trail.attempts().into_iter().enumerate().map(span).collect()
    }

    /// Spans that were dropped so far, since there were too many or since the collector did not take them.
    pub fn dropped(&self) -> impl Fn() -> u64 + Send + Sync + use<> {
        let (spans, lost) = (self.spans.clone(), self.lost.clone());
        move || spans.dropped() + lost.load(Relaxed)
    }

    /// Waits until everything is sent, within bounds.
    pub async fn finish(&self) {
        self.ends.notify_one();
        let mut ended = self.ended.lock().await;
        if timeout(TRACES_FINISH, ended.recv()).await.is_err() {
            tracing::warn!("the last spans of traces are lost: the collector does not take them in time");
        }
    }
}

fn collector(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    let is_web = matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty());
    let has_path = !matches!(uri.path(), "" | "/");
    is_web.then(|| if has_path { url.to_owned() } else { format!("{}{PATH}", url.trim_end_matches('/')) })
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn known_method<'a>(request: &Request<'a>) -> &'a str {
    if KNOWN_METHODS.contains(&request.method) { request.method } else { "_OTHER" }
}

/// What the client spoke.
fn version(ended: &Ended<'_>, request: &Request<'_>) -> &'static str {
    match request.version {
        _ if ended.is_http2 => "2",
        Version::Http10 => "1.0",
        Version::Http11 => "1.1",
    }
}

fn method(request: &Request<'_>) -> impl Iterator<Item = (&'static str, Value)> + use<> {
    let known = known_method(request);
    let original = (known != request.method).then(|| ("http.request.method_original", text(request.method)));
    [("http.request.method", text(known))].into_iter().chain(original)
}

/// Host and port of an authority.
fn address(authority: &str, host: &'static str, port: &'static str) -> impl Iterator<Item = (&'static str, Value)> {
    let (name, number) = match authority.rsplit_once(':') {
        Some((name, number)) if !number.ends_with(']') => (name, number.parse::<u16>().ok()),
        _ => (authority, None),
    };
    let name = text(name.trim_start_matches('[').trim_end_matches(']'));
    [(host, name)].into_iter().chain(number.map(|number| (port, Value::Number(number.into()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_collector_may_be_named_without_its_path() {
        for (given, used) in [
            ("http://a:4318", Some("http://a:4318/v1/traces")),
            ("http://a:4318/", Some("http://a:4318/v1/traces")),
            ("https://a/otlp/v1/traces", Some("https://a/otlp/v1/traces")),
            ("a:4318", None),
            ("ftp://a", None),
            ("", None),
        ] {
            assert_eq!(collector(given).as_deref(), used, "{given}");
        }
    }

    #[test]
    fn an_authority_has_a_host_and_maybe_a_port() {
        let of = |authority| {
            let pairs: Vec<_> = address(authority, "h", "p").map(|(name, value)| format!("{name}={value:?}")).collect();
            pairs.join(" ")
        };
        assert_eq!(of("a.example:80"), "h=Text(\"a.example\") p=Number(80)");
        assert_eq!(of("a.example"), "h=Text(\"a.example\")");
        assert_eq!(of("[::1]:80"), "h=Text(\"::1\") p=Number(80)");
        assert_eq!(of("[::1]"), "h=Text(\"::1\")");
    }
}
