//! Whether this node can serve what the address brings: asked of the edge's own data path, and turned into a priority.
//!
//! A node that is not ready, or drains, gives the address up (priority 0), and takes it back only when nobody else does
//! (something is better than nothing): then it stands below every ready node, which takes the address from it if it may
//! preempt, or asks for it ([`crate::spread`]). Before it leaves for a reason that can wait the edge is asked to become quiet,
//! so that no request is in flight when the address moves.

use crate::mailbox::Sender;
use crate::report::Fitness;
use crate::speaker::Letter;
use http::StatusCode;
use http_body_util::{BodyExt, Limited};
use lifecycle::Stop;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How often the edge is asked...
const POLL_INTERVAL: Duration = Duration::from_millis(400);
/// ... and how soon again after no answer came.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);
/// How long it may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// How long it may take to become quiet: a second in which clients are told, and what is in flight.
const QUIET_TIMEOUT: Duration = Duration::from_secs(3);
/// After it was quiet an edge does not hear itself for this long: it is shut for 300 ms more, and asks itself within 500 ms.
const QUIET_AFTERMATH: Duration = Duration::from_secs(1);
/// Answers that must fail to come before the node counts as not ready; an answer "not ready" counts at once.
const MISSES_MAX: u32 = 3;
/// The most that is read of the reason for not being ready.
const REASON_BYTES_MAX: usize = 1 << 10;
/// What the edge's answer says when it drains.
const DRAINING: &str = "draining";
/// ... and when it does not hear itself, as while it is quiet.
const UNHEARD: &str = "listener does not answer";
/// The priority of a draining node that nobody relieves.
const DRAINING_PRIORITY: u8 = 1;
/// Nodes that are not ready keep their order among themselves, below this.
const NOT_READY_PRIORITY_MAX: u8 = 33;

/// The priority that stands for this fitness.
pub(crate) fn priority(configured: u8, fitness: &Fitness) -> u8 {
    match fitness {
        Fitness::Ready => configured,
        Fitness::NotReady(_) => 2 + (u16::from(configured) * u16::from(NOT_READY_PRIORITY_MAX - 2) / 255) as u8,
        Fitness::Draining => DRAINING_PRIORITY,
    }
}

/// The edge whose address this is.
#[derive(Clone)]
pub(crate) struct Edge {
    client: web::Client,
    ready_url: String,
    quiesce_url: String,
    /// Until when it does not hear itself, because we asked for that.
    quiet_until: Arc<Mutex<Option<Instant>>>,
}

impl Edge {
    /// By the URL of its `/ready`; the other lies beside it.
    pub fn new(ready_url: String, credentials: web::Credentials) -> Self {
        let base = ready_url.rsplit_once('/').map_or(ready_url.as_str(), |(base, _)| base);
        let quiesce_url = format!("{base}/quiesce");
        Self { client: web::Client::new(credentials), ready_url, quiesce_url, quiet_until: Arc::default() }
    }

    /// Waits until no request is in flight, but not for long: an edge that does not answer has nothing to lose.
    pub async fn become_quiet(&self) {
        let asking = async {
            let request = http::Request::post(&self.quiesce_url).body(web::empty_body())?;
            let answer = self.client.send_within(request, QUIET_TIMEOUT).await?;
            Ok::<_, lifecycle::BoxError>(answer.status())
        };
        self.set_quiet(Some(QUIET_TIMEOUT + QUIET_AFTERMATH));
        let asked = asking.await;
        self.set_quiet(asked.is_ok().then_some(QUIET_AFTERMATH));
        match asked {
            Ok(status) => tracing::info!(%status, "the edge is quiet: the address may move"),
            Err(error) => tracing::warn!(error = %lifecycle::ErrorChain(&*error), "the edge does not become quiet"),
        }
    }

    fn set_quiet(&self, time: Option<Duration>) {
        *self.quiet_until.lock().expect("nobody panics while setting a time") = time.map(|time| Instant::now() + time);
    }

    /// Whether it only says that it does not hear, as it was asked to: the node's other addresses must not go for that. An
    /// edge that says nothing is dead, quiet or not.
    fn is_quiet(&self, found: &Fitness) -> bool {
        let until = *self.quiet_until.lock().expect("nobody panics while setting a time");
        matches!(found, Fitness::NotReady(reason) if reason.contains(UNHEARD))
            && until.is_some_and(|until| Instant::now() < until)
    }
}

/// Asks until the stop is requested, and tells the speaker what changes. `holds`: whether this node has an address to lose.
pub(crate) async fn watch(
    edge: Edge,
    priorities: Vec<u8>,
    fitness: watch::Sender<Fitness>,
    holds: impl Fn() -> bool,
    speaker: Sender<Letter>,
    stop: Stop,
) {
    let mut misses = 0;
    loop {
        let found = match ask(&edge.client, &edge.ready_url).await {
            Ok(found) => {
                misses = 0;
                Some(found)
            }
            Err(reason) => {
                misses = MISSES_MAX.min(misses + 1);
                (misses >= MISSES_MAX).then_some(Fitness::NotReady(reason))
            }
        };
        if let Some(found) = found.filter(|found| !edge.is_quiet(found)) {
            let before = fitness.send_replace(found.clone());
            let leaves = before == Fitness::Ready && found != Fitness::Ready
                || before != Fitness::Draining && found == Fitness::Draining;
            if found == Fitness::Draining && leaves && holds() {
                stop.or(edge.become_quiet()).await;
            }
            for (router, &configured) in priorities.iter().enumerate() {
                let now = priority(configured, &found);
                if leaves {
                    speaker.send(Letter::Priority { router, priority: 0 });
                }
                if now != priority(configured, &before) {
                    speaker.send(Letter::Priority { router, priority: now });
                }
            }
        }
        let pause = if (1..MISSES_MAX).contains(&misses) { RETRY_INTERVAL } else { POLL_INTERVAL };
        if stop.or(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
    }
}

async fn ask(client: &web::Client, url: &str) -> Result<Fitness, String> {
    let request = http::Request::builder().uri(url).body(web::empty_body()).map_err(|error| error.to_string())?;
    let answer = client.send_within(request, ANSWER_TIMEOUT).await;
    let answer = answer.map_err(|error| lifecycle::ErrorChain(&error).to_string())?;
    let status = answer.status();
    let body = tokio::time::timeout(ANSWER_TIMEOUT, Limited::new(answer.into_body(), REASON_BYTES_MAX).collect()).await;
    let body = match body {
        Ok(Ok(body)) => body.to_bytes(),
        _ => bytes::Bytes::new(),
    };
    Ok(judge(status, &String::from_utf8_lossy(&body)))
}

fn judge(status: StatusCode, body: &str) -> Fitness {
    if status.is_success() {
        return Fitness::Ready;
    }
    if status == StatusCode::SERVICE_UNAVAILABLE && body.contains(DRAINING) {
        return Fitness::Draining;
    }
    Fitness::NotReady(format!("the edge answered {status}: {}", body.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_not_ready_is_below_every_ready_one() {
        let not_ready = Fitness::NotReady("no table".into());
        assert_eq!(priority(150, &Fitness::Ready), 150);
        assert!(priority(255, &not_ready) <= NOT_READY_PRIORITY_MAX);
        assert!(priority(100, &not_ready) < priority(200, &not_ready), "they keep their order");
        assert!(priority(1, &not_ready) > priority(255, &Fitness::Draining));
    }

    #[tokio::test]
    async fn an_edge_that_was_made_quiet_may_not_hear_itself_for_a_moment() {
        let edge = Edge::new("http://127.0.0.1:1/ready".into(), web::Credentials::None);
        let not_ready = judge(StatusCode::SERVICE_UNAVAILABLE, r#"{"reason":"listener does not answer"}"#);
        assert!(!edge.is_quiet(&not_ready));
        edge.set_quiet(Some(QUIET_AFTERMATH));
        assert!(!edge.is_quiet(&Fitness::NotReady("connection refused".into())), "it is dead");
        assert!(edge.is_quiet(&not_ready) && !edge.is_quiet(&Fitness::Draining) && !edge.is_quiet(&Fitness::Ready));
        edge.set_quiet(Some(Duration::ZERO));
        assert!(!edge.is_quiet(&not_ready));
        edge.become_quiet().await;
        assert!(!edge.is_quiet(&not_ready), "nobody answered");
    }

    #[test]
    fn the_edges_answer_is_read() {
        assert_eq!(judge(StatusCode::OK, ""), Fitness::Ready);
        assert_eq!(judge(StatusCode::SERVICE_UNAVAILABLE, "draining"), Fitness::Draining);
        assert!(matches!(judge(StatusCode::SERVICE_UNAVAILABLE, "no table"), Fitness::NotReady(_)));
        assert!(matches!(judge(StatusCode::UNAUTHORIZED, "draining"), Fitness::NotReady(_)));
    }
}
