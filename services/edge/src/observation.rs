//! What is told of each request when it is over: to the access log, and to whoever collects traces; and the names by which a
//! request is known on its way. All of it is off unless asked for, and then costs a request one branch.

use crate::accesslog::{self, AccessLog};
use crate::count::Took;
use crate::identifiers::{RequestId, TraceContext, random_span};
use crate::metrics::{Kind, Metrics};
use crate::traces::{self, Traces};
use http1::{Edit, Request};
use routing::Route;
use std::cell::{Cell, RefCell};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Observation {
    pub access_log: Option<accesslog::Config>,
    pub traces: Option<traces::Config>,
    pub request_ids: RequestIds,
}

/// Whether requests are given an id (`X-Request-Id`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RequestIds {
    /// The header is passed on as any other.
    #[default]
    Off,
    /// A server gets the one of a client that may be believed, or one that is made.
    Forward,
    /// And the client is told.
    Respond,
}

#[derive(Debug, thiserror::Error)]
pub enum ObservationError {
    #[error("the access log")]
    AccessLog(#[from] accesslog::OpenError),
    #[error("the collector of traces")]
    Traces(#[from] traces::UrlError),
}

pub(crate) struct Observer {
    /// Something is told of requests at their end.
    tells: bool,
    /// Something has to be known from the beginning.
    follows: bool,
    pub log: Option<AccessLog>,
    pub traces: Option<Traces>,
    request_ids: RequestIds,
}

/// By what a request is known, and the attempts made for it.
#[derive(Debug)]
pub(crate) struct Trail {
    request_id: Option<RequestId>,
    /// Its own span, which the attempts are children of.
    pub trace: Option<TraceContext>,
    responds: bool,
    /// Those that are over.
    attempts: RefCell<Vec<Attempt>>,
    /// The one that is being made.
    span: Cell<[u8; 8]>,
    attempt_begun: Cell<Instant>,
}

#[derive(Debug)]
pub(crate) struct Attempt {
    pub span: [u8; 8],
    pub begun: Instant,
    pub ended: Instant,
    /// The server's URL.
    pub server: String,
    /// What it answered.
    pub status: Option<u16>,
    /// Or why it did not.
    pub error: Option<String>,
}

/// A request that is over.
pub(crate) struct Ended<'a> {
    pub request: Told<'a>,
    /// The client's address.
    pub client: &'a str,
    pub is_secure: bool,
    /// It came in HTTP/2, and was translated.
    pub is_http2: bool,
    /// Of a connection: as nginx has it for its streams.
    pub status: u16,
    /// Of its body, without framing.
    pub request_bytes: u64,
    pub response_bytes: u64,
    pub begun: Instant,
    pub took: Took,
    pub route: Option<&'a Route>,
    /// The last one that was asked.
    pub server: Option<&'a str>,
    pub attempts: u32,
    pub trail: Option<&'a Trail>,
}

/// What a client said.
pub(crate) enum Told<'a> {
    Request(&'a Request<'a>),
    /// A connection that is passed on as it is; the server that its TLS handshake names.
    Connection(Option<&'a str>),
    /// What begins with this and is no request.
    Nonsense(&'a [u8]),
}

impl Observer {
    /// Called on the runtime that does what is not done by threads of their own.
    pub fn start(observation: Observation, edge_id: &str) -> Result<Self, ObservationError> {
        let log = observation.access_log.map(AccessLog::start).transpose()?;
        let traces = observation.traces.map(|config| Traces::start(config, edge_id)).transpose()?;
        let follows = traces.is_some() || observation.request_ids != RequestIds::Off;
        Ok(Self {
            tells: log.is_some() || traces.is_some(),
            follows,
            log,
            traces,
            request_ids: observation.request_ids,
        })
    }

    /// Whether [`Observer::ended`] does anything.
    #[inline]
    pub fn tells(&self) -> bool {
        self.tells
    }

    /// Begins to follow a request, if anything needs it. Who `trusts` its client believes the names it gives.
    #[inline]
    pub fn follow(&self, request: &Request<'_>, trusts: bool, begun: Instant) -> Option<Box<Trail>> {
        if self.follows { Some(self.trail(request, trusts, begun)) } else { None }
    }

    #[cold]
    fn trail(&self, request: &Request<'_>, trusts: bool, begun: Instant) -> Box<Trail> {
        let trace = self.traces.as_ref().map(|traces| {
            let parent = request.header("traceparent").filter(|_| trusts).and_then(TraceContext::parse);
            TraceContext::below(parent, |trace_id| traces.samples(trace_id))
        });
        let request_id = (self.request_ids != RequestIds::Off).then(|| {
            let given = request.header("x-request-id").filter(|_| trusts);
            given.and_then(RequestId::given).unwrap_or_else(RequestId::random)
        });
        Box::new(Trail {
            request_id,
            trace,
            responds: self.request_ids == RequestIds::Respond,
            attempts: RefCell::default(),
            span: Cell::new(random_span()),
            attempt_begun: Cell::new(begun),
        })
    }

    /// A request is over.
    pub fn ended(&self, ended: &Ended<'_>) {
        let now = SystemTime::now();
        if let Some(log) = &self.log {
            log.ended(ended, now - ended.took.whole);
        }
        if let Some(traces) = &self.traces {
            traces.ended(ended, now);
        }
    }

    /// How much of it is dropped is a metric.
    pub fn show_dropped(&self, metrics: &Metrics) {
        if let Some(log) = &self.log {
            let help = "Lines of the access log that were dropped";
            metrics.show("edge_access_log_dropped_lines", Kind::Counter, help, log.dropped());
        }
        if let Some(traces) = &self.traces {
            let help = "Spans of traces that were dropped";
            metrics.show("edge_traces_dropped_spans", Kind::Counter, help, traces.dropped());
        }
    }

    /// Waits until all of it is written down, within bounds.
    pub async fn finish(&self) {
        if let Some(log) = &self.log {
            log.finish().await;
        }
        if let Some(traces) = &self.traces {
            traces.finish().await;
        }
    }
}

impl Trail {
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_ref().map(RequestId::as_str)
    }

    /// What the server is told of the trace: that this attempt is the parent of what it does.
    pub fn traceparent(&self) -> Option<String> {
        self.trace.as_ref().map(|trace| trace.with_span(self.span.get()).to_string())
    }

    /// The headers of the request on its way.
    pub fn edits<'a>(&'a self, traceparent: Option<&'a str>) -> impl Iterator<Item = Edit<'a>> {
        let id = self.request_id().and_then(|id| Edit::set("X-Request-Id", id.as_bytes()));
        id.into_iter().chain(traceparent.and_then(|parent| Edit::set("traceparent", parent.as_bytes())))
    }

    /// Of the response.
    pub fn response_edit(&self) -> Option<Edit<'_>> {
        Edit::set("X-Request-Id", self.request_id().filter(|_| self.responds)?.as_bytes())
    }

    /// An attempt is over; if there is another one, it begins now.
    pub fn attempted(&self, server: &str, status: Option<u16>, error: Option<String>) {
        if !self.is_sampled() {
            return;
        }
        let now = Instant::now();
        let (span, begun) = (self.span.replace(random_span()), self.attempt_begun.replace(now));
        let attempt = Attempt { span, begun, ended: now, server: server.to_owned(), status, error };
        self.attempts.borrow_mut().push(attempt);
    }

    pub fn is_sampled(&self) -> bool {
        self.trace.as_ref().is_some_and(|trace| trace.is_sampled)
    }

    pub fn attempts(&self) -> Vec<Attempt> {
        self.attempts.take()
    }
}

/// Nanoseconds of Unix' time at an instant, as seen from now.
pub(crate) fn unix_nanos(at: Instant, now: (Instant, SystemTime)) -> u64 {
    let since = now.1.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.saturating_sub(now.0.saturating_duration_since(at)).as_nanos()).unwrap_or(u64::MAX)
}
