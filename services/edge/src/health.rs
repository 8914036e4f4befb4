//! Active health: the servers of routes that ask for it are asked every now and then how they are, each (server, check) by one
//! task of the control runtime, whatever the number of routes and threads. What they answer is a [`Verdict`], which requests
//! read: one load.
//!
//! | who says so | what it means |
//! |---|---|
//! | a check (here) | down: passed over while any other of the route's servers is not; when all are, none is (panic: a check that is wrong must not cost the service) |
//! | requests ([`crate::balancing`]) | ejected, or failed a moment ago: asked after the others |
//!
//! So a server must please both: a check that succeeds does not end an ejection, and answers to requests do not end a check's
//! verdict.

use crate::limits::{HEALTH_ANSWER_BYTES_MAX, HEALTH_AT_ONCE_MAX, HEALTH_CHECKS_MAX, HEALTH_SPREAD_MAX};
use crate::secure::ALPN_HTTP2;
use crate::secure::servers::Upstream;
use crate::servers::{lock, process_micros};
use bytes::Bytes;
use http1::{Asked, Limits, Parsed, Response, Storage};
use lifecycle::{BoxError, ErrorChain};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use routing::{Health, HealthKind, HealthSpec, HealthStanding, Scheme, ServerTls, ServerUrl};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

type Key = (ServerUrl, HealthSpec);

/// All checks there are. A check lives as long as somebody has its verdict.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    known: Mutex<HashMap<Key, Weak<Verdict>>>,
    /// A check is new.
    entered: Notify,
    transitions: AtomicU64,
}

/// How one server is, by one check.
#[derive(Debug)]
pub(crate) struct Verdict {
    url: ServerUrl,
    spec: HealthSpec,
    is_down: AtomicBool,
    said: Mutex<Said>,
}

#[derive(Debug, Default)]
struct Said {
    health: Health,
    /// What the last answer was, if it was a bad one.
    cause: Option<String>,
    /// Microseconds of [`process_micros`]: since when it is what it is.
    since: u64,
}

/// Why a server's answer was a bad one.
#[derive(Debug, thiserror::Error)]
enum Bad {
    #[error("connect")]
    Connect(#[source] io::Error),
    #[error("speak TLS")]
    Tls(#[source] BoxError),
    #[error("no answer in time")]
    Timeout,
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    #[error("the answer is not understood")]
    Nonsense,
    #[error("it answered {0}")]
    Status(u16),
}

impl Verdict {
    pub fn is_down(&self) -> bool {
        self.is_down.load(Relaxed)
    }

    /// In words, for people: `up`, `down: …`, or that nothing is known yet.
    pub fn text(&self) -> String {
        let said = lock(&self.said);
        match (said.health.standing(), &said.cause) {
            (HealthStanding::Unknown, _) => "not checked yet".to_owned(),
            (HealthStanding::Up, None) => "up".to_owned(),
            (HealthStanding::Up, Some(cause)) => format!("up, though the last check failed: {cause}"),
            (HealthStanding::Down, cause) => {
                let seconds = process_micros().saturating_sub(said.since) / 1_000_000;
                format!("down for {seconds} s: {}", cause.as_deref().unwrap_or("it is not up long enough yet"))
            }
        }
    }

    /// Takes a check's result; whether the server is something else now.
    fn observe(&self, result: Result<(), Bad>) -> bool {
        let said = &mut *lock(&self.said);
        let changed = said.health.observe(&self.spec, result.is_ok());
        said.cause = result.err().map(|bad| ErrorChain(&bad).to_string());
        let Some(standing) = changed else { return false };
        said.since = process_micros();
        self.is_down.store(standing == HealthStanding::Down, Relaxed);
        let url = self.url.as_str();
        match &said.cause {
            Some(cause) => tracing::warn!(url, cause, "a server is down"),
            None => tracing::info!(url, "a server is up"),
        }
        true
    }
}

impl Checks {
    /// The verdict on a server by a check: the same one for all who ask. `None`: there are too many.
    pub fn verdict(&self, url: &ServerUrl, spec: &HealthSpec) -> Option<Arc<Verdict>> {
        let mut known = lock(&self.known);
        let key = (url.clone(), spec.clone());
        if let Some(verdict) = known.get(&key).and_then(Weak::upgrade) {
            return Some(verdict);
        }
        if known.len() >= HEALTH_CHECKS_MAX {
            known.retain(|_, verdict| verdict.strong_count() > 0);
        }
        if known.len() >= HEALTH_CHECKS_MAX {
            tracing::warn!(url = url.as_str(), "a server is not checked: there are {HEALTH_CHECKS_MAX} checks already");
            return None;
        }
        let (is_down, said) = (AtomicBool::new(false), Mutex::default());
        let verdict = Arc::new(Verdict { url: key.0.clone(), spec: key.1.clone(), is_down, said });
        known.insert(key, Arc::downgrade(&verdict));
        self.entered.notify_one();
        Some(verdict)
    }

    /// Checks whatever there is to check, for ever.
    pub async fn run(self: Arc<Self>) {
        let at_once = Arc::new(Semaphore::new(HEALTH_AT_ONCE_MAX));
        // By whether their task runs.
        let mut running: HashMap<Key, Weak<Verdict>> = HashMap::new();
        let mut tasks = JoinSet::new();
        loop {
            for (key, verdict) in self.all() {
                let runs = running.entry(key);
                if matches!(&runs, Entry::Occupied(known) if known.get().ptr_eq(&verdict)) {
                    continue;
                }
                runs.insert_entry(verdict.clone());
                tasks.spawn(check_on(self.clone(), verdict, at_once.clone()));
            }
            tokio::select! {
                () = self.entered.notified() => {}
                Some(_ended) = tasks.join_next() => {
                    running.retain(|_, verdict| verdict.strong_count() > 0);
                    lock(&self.known).retain(|_, verdict| verdict.strong_count() > 0);
                }
            }
        }
    }

    fn all(&self) -> Vec<(Key, Weak<Verdict>)> {
        lock(&self.known).iter().map(|(key, verdict)| (key.clone(), verdict.clone())).collect()
    }
}

/// Until nobody wants the verdict any more.
async fn check_on(checks: Arc<Checks>, verdict: Weak<Verdict>, at_once: Arc<Semaphore>) {
    let chance = RandomState::new();
    // Those that a table brings at once are not asked at once.
    let Some(interval) = verdict.upgrade().map(|verdict| verdict.spec.interval()) else { return };
    sleep(interval.min(HEALTH_SPREAD_MAX).mul_f64(fraction(chance.hash_one(0)))).await;
    for round in 1u64.. {
        let Ok(place) = at_once.acquire().await else { return };
        let Some(verdict) = verdict.upgrade() else { return };
        let result =
            timeout(verdict.spec.timeout(), ask(&verdict.url, &verdict.spec)).await.unwrap_or(Err(Bad::Timeout));
        if verdict.observe(result) {
            checks.transitions.fetch_add(1, Relaxed);
        }
        drop((place, verdict));
        // A tenth more or less, so that many checks, and many edges, do not fall into step.
        sleep(interval.mul_f64(0.9 + fraction(chance.hash_one(round)) / 5.0)).await;
    }
}

/// Between 0 and 1.
fn fraction(random: u64) -> f64 {
    random as f64 / u64::MAX as f64
}

async fn ask(url: &ServerUrl, spec: &HealthSpec) -> Result<(), Bad> {
    let stream = TcpStream::connect((url.host(), url.port())).await.map_err(Bad::Connect)?;
    if spec.kind == HealthKind::Tcp {
        return Ok(());
    }
    if !url.is_secure() {
        return ask_over(stream, url, spec, url.scheme() == Scheme::H2c).await;
    }
    // Whom its certificate names is for requests to find out.
    let anybody = ServerTls { insecure_skip_verify: true, ..ServerTls::default() };
    let upstream = Upstream::of(&anybody).map_err(|error| Bad::Tls(error.into()))?;
    let name = upstream.name_of(url).map_err(|error| Bad::Tls(error.into()))?;
    let config = upstream.config(url.scheme() == Scheme::H2);
    let secured = TlsConnector::from(config).connect(name, stream).await.map_err(|error| Bad::Tls(error.into()))?;
    let is_http2 = secured.get_ref().1.alpn_protocol() == Some(ALPN_HTTP2);
    ask_over(secured, url, spec, is_http2).await
}

async fn ask_over(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    url: &ServerUrl,
    spec: &HealthSpec,
    is_http2: bool,
) -> Result<(), Bad> {
    let host = spec.host.as_deref().unwrap_or(url.authority());
    if is_http2 {
        let scheme = if url.is_secure() { "https" } else { "http" };
        return match ask_http2(stream, &format!("{scheme}://{host}{}", spec.path)).await? {
            status if spec.status.contains(status) => Ok(()),
            status => Err(Bad::Status(status)),
        };
    }
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: roadstead-health\r\nConnection: close\r\n\r\n",
        spec.path
    );
    stream.write_all(request.as_bytes()).await.map_err(Bad::Broken)?;
    let mut answer = Vec::new();
    loop {
        match status(&answer)? {
            Some(status) if spec.status.contains(status) => return Ok(()),
            Some(status) => return Err(Bad::Status(status)),
            None if answer.len() >= HEALTH_ANSWER_BYTES_MAX => return Err(Bad::Nonsense),
            None => {}
        }
        if stream.read_buf(&mut answer).await.map_err(Bad::Broken)? == 0 {
            return Err(Bad::Broken(io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

/// The status of what a server of HTTP/2 answers.
async fn ask_http2(stream: impl AsyncRead + AsyncWrite + Unpin, uri: &str) -> Result<u16, Bad> {
    let broken = |error: h2::Error| Bad::Broken(io::Error::other(error));
    let request = http::Request::get(uri).header("user-agent", "roadstead-health");
    let request = request.body(()).map_err(|_| Bad::Nonsense)?;
    let mut builder = h2::client::Builder::new();
    builder.enable_push(false).max_header_list_size(HEALTH_ANSWER_BYTES_MAX as u32);
    let (mut sender, connection) = builder.handshake::<_, Bytes>(stream).await.map_err(broken)?;
    let (response, _) = sender.send_request(request, true).map_err(broken)?;
    let mut response = pin!(response);
    // A server may answer and close at once: then both have ended, and the answer counts.
    let response = tokio::select! {
        biased;
        response = &mut response => response,
        _ended = connection => response.await,
    };
    Ok(response.map_err(broken)?.status().as_u16())
}

/// Of an answer whose head has come; interim ones are passed over.
fn status(mut answer: &[u8]) -> Result<Option<u16>, Bad> {
    const LIMITS: Limits = Limits { head_bytes_max: HEALTH_ANSWER_BYTES_MAX, headers_max: crate::limits::HEADERS_MAX };
    loop {
        let mut storage = Storage::new();
        match Response::parse(answer, &mut storage, &LIMITS, Asked { head: false, upgrade: false }) {
            Ok(Parsed::Complete(response)) if response.is_interim() => answer = &answer[response.head_bytes()..],
            Ok(Parsed::Complete(response)) => return Ok(Some(response.status)),
            Ok(Parsed::Partial) => return Ok(None),
            Err(_) => return Err(Bad::Nonsense),
        }
    }
}

/// For `/metrics`.
#[derive(Debug)]
pub(crate) struct CheckMetrics(pub Arc<Checks>);

impl Collector for CheckMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // A server may be checked in several ways: it is up if all say so.
        let mut servers: HashMap<ServerUrl, bool> = HashMap::new();
        for ((url, _), verdict) in self.0.all() {
            let Some(verdict) = verdict.upgrade() else { continue };
            *servers.entry(url).or_insert(true) &= !verdict.is_down();
        }
        let help = "Whether checks say that a server is up";
        let mut up = encoder.encode_descriptor("edge_server_up", help, None, MetricType::Gauge)?;
        for (url, is_up) in &servers {
            up.encode_family(&[("server", url.as_str())])?.encode_gauge(&i64::from(*is_up))?;
        }
        let help = "How often checks found a server to be up or down that was not before";
        let mut counter = encoder.encode_descriptor("edge_health_transitions", help, None, MetricType::Counter)?;
        counter.encode_counter::<NoLabelSet, _, u64>(&self.0.transitions.load(Relaxed), None)
    }
}

#[cfg(test)]
mod tests;
