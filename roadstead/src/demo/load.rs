//! Load in an open loop: requests leave on schedule whether or not earlier ones have been answered, so that a stall is
//! seen as what it is. Half of them take turns on kept connections that are free, half bring a connection of their own;
//! nothing is retried.
//!
//! Beside the pages a few slow POSTs are always in flight. No proxy may send a POST twice, so they show what a stop without
//! drain would lose; they pause while an instance is killed by SIGKILL, which only a GET can survive.

use anyhow::Context;
use bytes::Bytes;
use futures::StreamExt;
use http::{Request, StatusCode, header};
use http_body::Frame;
use http_body_util::BodyExt;
use http_body_util::{Empty, StreamBody};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use lifecycle::Stop;
use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{OwnedRwLockWriteGuard, RwLock};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

/// Connections that are kept between requests.
const KEPT: usize = 8;
/// One request leaves this often: 125 a second.
const INTERVAL: Duration = Duration::from_millis(8);
/// Requests in flight at once, in so many times the number that leave until the first of them has failed; one more fails at
/// once.
const IN_FLIGHT_MAX: usize = 2;
/// How often it is looked whether all have been answered.
const SETTLED_INTERVAL: Duration = Duration::from_millis(10);
/// Failures described in full.
const DESCRIBED_MAX: usize = 20;

/// What the page says before the name of the instance that served it.
const MARK: &str = "Application running on ";

/// Slow POSTs in flight, each on a connection of its own.
const POSTS: usize = 4;
/// How long a slow POST takes to send its body.
const POST_TIME: Duration = Duration::from_millis(250);
/// What is posted, in two pieces: the app signs it.
const POST_BODY: [&str; 2] = ["{\"operation\":\"list\",", "\"bucket\":\"bucket1\"}"];

/// What has been seen so far.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub requests: u64,
    pub failed: u64,
    /// Names of the instances that answered.
    pub host_names: BTreeSet<String>,
    /// The first failures, in words.
    pub failures: Vec<String>,
    /// When the last request that failed had left.
    pub failed_last: Option<Instant>,
    /// Longest time without an answer as expected.
    pub silence_max: Duration,
    answered_last: Option<Instant>,
}

impl Tally {
    /// `left` is when the request left, `result` the name of the instance that answered, where the answer tells it.
    fn note(&mut self, left: Instant, result: anyhow::Result<Option<String>>) {
        self.requests += 1;
        match result {
            Ok(name) => {
                self.host_names.extend(name);
                self.end_silence(Instant::now());
            }
            Err(error) => {
                self.failed += 1;
                self.failed_last = self.failed_last.max(Some(left));
                if self.failures.len() < DESCRIBED_MAX {
                    let failure = lifecycle::ErrorChain(error.as_ref()).to_string();
                    tracing::debug!(failure, "request failed");
                    self.failures.push(failure);
                }
            }
        }
    }

    /// A silence that lasts belongs to both sides of a boundary.
    fn end_silence_at_boundary(&mut self) {
        let silence = self.answered_last.map_or(Duration::ZERO, |last| last.elapsed());
        self.silence_max = self.silence_max.max(silence);
    }

    fn end_silence(&mut self, now: Instant) {
        let silence = self.answered_last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        self.silence_max = self.silence_max.max(silence);
        self.answered_last = Some(now);
    }
}

/// Load that runs until it is ended.
pub struct Load {
    tally: Arc<Mutex<Tally>>,
    /// Aborted when the load is dropped.
    workers: JoinSet<()>,
    /// Taken for reading by each POST; taken for writing, it holds them off.
    posts: Arc<RwLock<()>>,
    ending: Stop,
    wave: Wave,
    target: Target,
}

/// What leaves holds the inner one until it is answered or has failed; when that is exchanged, the old one is held by what
/// had left by then.
type Wave = Arc<Mutex<Arc<()>>>;

/// While this is held no POST is sent.
pub type PostsPaused = OwnedRwLockWriteGuard<()>;

impl Load {
    /// Sends `GET /` to `edge` under the name `host`. Anything but the expected answer within `answer_within`, counted from
    /// the schedule, is a failure.
    pub fn start(edge: SocketAddr, host: String, answer_within: Duration) -> Self {
        let target = Target { edge, host, answer_within };
        let tally = Arc::new(Mutex::new(Tally::default()));
        let mut workers = JoinSet::new();
        let (ending, wave) = (Stop::new(), Arc::default());
        let pages = Arc::new(Pages { target: target.clone(), kept: Mutex::default() });
        workers.spawn(schedule(pages, Arc::clone(&wave), tally.clone(), ending.clone()));
        Self { tally, workers, posts: Arc::default(), ending, wave, target }
    }

    /// Adds the slow POSTs.
    pub fn with_posts(mut self) -> Self {
        for _ in 0..POSTS {
            let (target, posts, wave) = (self.target.clone(), self.posts.clone(), self.wave.clone());
            self.workers.spawn(post_forever(target, posts, wave, self.tally.clone(), self.ending.clone()));
        }
        self
    }

    /// Waits until no POST is in flight and holds further ones off.
    pub async fn pause_posts(&self) -> PostsPaused {
        self.posts.clone().write_owned().await
    }

    pub fn tally(&self) -> Tally {
        lock(&self.tally).clone()
    }

    /// Waits until whatever has left by now is answered or has failed.
    pub async fn settled(&self) {
        let left = std::mem::take(&mut *lock(&self.wave));
        while Arc::strong_count(&left) > 1 {
            tokio::time::sleep(SETTLED_INTERVAL).await;
        }
    }

    /// What has been seen since the last time this was asked.
    pub fn take(&self) -> Tally {
        let mut tally = lock(&self.tally);
        tally.end_silence_at_boundary();
        let fresh = Tally { answered_last: tally.answered_last, ..Tally::default() };
        std::mem::replace(&mut *tally, fresh)
    }

    /// Ends the load after the requests that have left are answered.
    pub async fn end(mut self) -> Tally {
        self.ending.request();
        while self.workers.join_next().await.is_some() {}
        lock(&self.tally).clone()
    }
}

/// Sends a request at every tick until `ending`, then waits for those in flight.
async fn schedule(pages: Arc<Pages>, wave: Wave, tally: Arc<Mutex<Tally>>, ending: Stop) {
    let answer_within = pages.target.answer_within;
    let in_flight_max = IN_FLIGHT_MAX * answer_within.div_duration_f64(INTERVAL) as usize;
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut in_flight = JoinSet::new();
    for keep in [true, false].into_iter().cycle() {
        let Some(scheduled) = ending.or(ticks.tick()).await else { break };
        while in_flight.try_join_next().is_some() {}
        if in_flight.len() >= in_flight_max {
            let error = anyhow::anyhow!("{in_flight_max} requests are in flight");
            lock(&tally).note(scheduled, Err(error));
            continue;
        }
        let (pages, tally, has_left) = (pages.clone(), tally.clone(), lock(&wave).clone());
        in_flight.spawn(async move {
            let asking = async { if keep { pages.ask_on_a_kept_connection().await } else { pages.ask_anew().await } };
            let result = match tokio::time::timeout_at(scheduled + answer_within, asking).await {
                Ok(result) => result,
                Err(_) => Err(anyhow::anyhow!("no answer within {answer_within:?}")),
            };
            lock(&tally).note(scheduled, result.map(Some));
            drop(has_left);
        });
    }
    while in_flight.join_next().await.is_some() {}
}

#[derive(Clone)]
struct Target {
    edge: SocketAddr,
    host: String,
    answer_within: Duration,
}

type Connection = SendRequest<Empty<Bytes>>;

/// Who asks for pages.
struct Pages {
    target: Target,
    /// Free connections, the one that was free longest first: all of them take their turns.
    kept: Mutex<VecDeque<Connection>>,
}

impl Pages {
    async fn ask_on_a_kept_connection(&self) -> anyhow::Result<String> {
        let free = {
            let mut kept = self.kept.lock().expect("nobody panics while holding the connections");
            kept.retain(|connection| !connection.is_closed());
            // Until there are enough of them each request brings one.
            if kept.len() >= KEPT / 2 { kept.pop_front() } else { None }
        };
        let mut connection = match free {
            Some(connection) => connection,
            None => connect(self.target.edge).await?,
        };
        let name = ask(&mut connection, &self.target.host, true).await?;
        let mut kept = self.kept.lock().expect("nobody panics while holding the connections");
        if kept.len() < KEPT {
            kept.push_back(connection);
        }
        Ok(name)
    }

    async fn ask_anew(&self) -> anyhow::Result<String> {
        ask(&mut connect(self.target.edge).await?, &self.target.host, false).await
    }
}

async fn connect(edge: SocketAddr) -> anyhow::Result<Connection> {
    let stream = TcpStream::connect(edge).await.context("connect")?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await.context("handshake")?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "load connection");
        }
    });
    Ok(sender)
}

/// One request; the name of the instance that answered.
async fn ask(connection: &mut Connection, host: &str, keep: bool) -> anyhow::Result<String> {
    connection.ready().await.context("wait for the connection")?;
    let mut request = Request::get("/").header(header::HOST, host);
    if !keep {
        request = request.header(header::CONNECTION, "close");
    }
    let response = connection.send_request(request.body(Empty::new())?).await.context("send")?;
    let status = response.status();
    let body = response.into_body().collect().await.context("read the answer")?.to_bytes();
    let text = String::from_utf8_lossy(&body);
    anyhow::ensure!(status == StatusCode::OK, "{status}: {}", text.chars().take(200).collect::<String>());
    host_name(&text).context("the answer does not say which instance gave it")
}

async fn post_forever(target: Target, posts: Arc<RwLock<()>>, wave: Wave, tally: Arc<Mutex<Tally>>, ending: Stop) {
    let answer_within = target.answer_within;
    while !ending.is_requested() {
        let _in_flight = posts.read().await;
        let has_left = lock(&wave).clone();
        let start = Instant::now();
        let result = match tokio::time::timeout(answer_within, post(&target)).await {
            Ok(result) => result,
            Err(_) => Err(anyhow::anyhow!("POST: no answer within {answer_within:?}")),
        };
        lock(&tally).note(start, result.map(|()| None));
        drop(has_left);
    }
}

/// One POST whose body takes [`POST_TIME`] to leave.
async fn post(target: &Target) -> anyhow::Result<()> {
    let stream = TcpStream::connect(target.edge).await.context("connect for a POST")?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.context("handshake for a POST")?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "POST connection");
        }
    });
    let [first, second] = POST_BODY;
    let pieces =
        futures::stream::once(async move { Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from(first))) });
    let pieces = pieces.chain(futures::stream::once(async move {
        tokio::time::sleep(POST_TIME).await;
        Ok(Frame::data(Bytes::from(second)))
    }));
    let request = Request::post("/sign")
        .header(header::HOST, &target.host)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONTENT_LENGTH, first.len() + second.len())
        .body(StreamBody::new(Box::pin(pieces)))?;
    let response = sender.send_request(request).await.context("POST")?;
    let status = response.status();
    let body = response.into_body().collect().await.context("read the answer to a POST")?.to_bytes();
    anyhow::ensure!(status == StatusCode::OK, "POST: {status}: {}", String::from_utf8_lossy(&body));
    Ok(())
}

/// The name after [`MARK`], whatever markup surrounds it.
fn host_name(page: &str) -> Option<String> {
    let (_, mut rest) = page.split_once(MARK)?;
    while let Some(tag) = rest.strip_prefix('<') {
        rest = tag.split_once('>')?.1;
    }
    let name: String =
        rest.chars().take_while(|char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.')).collect();
    (!name.is_empty()).then_some(name)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics while holding it")
}

#[cfg(test)]
mod tests;
