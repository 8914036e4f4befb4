//! Whether this node can serve what the address brings: asked of the edge's own data path, and turned into a priority.
//!
//! A node that is not ready keeps the address while no other is there (something is better than nothing), so it only falls
//! below every ready node; a backup of higher priority then preempts it without a gap. A node that drains is about to
//! leave, so it gives the address up at once (priority 0), and takes it back only when nobody else does.

use crate::mailbox::Sender;
use crate::report::Fitness;
use crate::speaker::Letter;
use http::StatusCode;
use http_body_util::{BodyExt, Limited};
use lifecycle::Stop;
use std::time::Duration;
use tokio::sync::watch;

/// How often the edge is asked.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// How long it may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// Answers that must fail to come before the node counts as not ready; an answer "not ready" counts at once.
const MISSES_MAX: u32 = 3;
/// The most that is read of the reason for not being ready.
const REASON_BYTES_MAX: usize = 1 << 10;
/// What the edge's answer says when it drains.
const DRAINING: &str = "draining";
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

/// Asks until the stop is requested, and tells the speaker what changes.
pub(crate) async fn watch(
    url: String,
    credentials: web::Credentials,
    priorities: Vec<u8>,
    fitness: watch::Sender<Fitness>,
    speaker: Sender<Letter>,
    stop: Stop,
) {
    let client = web::Client::new(credentials);
    let mut misses = 0;
    loop {
        let found = match ask(&client, &url).await {
            Ok(found) => {
                misses = 0;
                Some(found)
            }
            Err(reason) => {
                misses += 1;
                (misses >= MISSES_MAX).then_some(Fitness::NotReady(reason))
            }
        };
        if let Some(found) = found {
            let before = fitness.send_replace(found.clone());
            for (router, &configured) in priorities.iter().enumerate() {
                let now = priority(configured, &found);
                if found == Fitness::Draining && before != Fitness::Draining {
                    speaker.send(Letter::Priority { router, priority: 0 });
                }
                if now != priority(configured, &before) {
                    speaker.send(Letter::Priority { router, priority: now });
                }
            }
        }
        if stop.or(tokio::time::sleep(POLL_INTERVAL)).await.is_none() {
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

    #[test]
    fn the_edges_answer_is_read() {
        assert_eq!(judge(StatusCode::OK, ""), Fitness::Ready);
        assert_eq!(judge(StatusCode::SERVICE_UNAVAILABLE, "draining"), Fitness::Draining);
        assert!(matches!(judge(StatusCode::SERVICE_UNAVAILABLE, "no table"), Fitness::NotReady(_)));
        assert!(matches!(judge(StatusCode::UNAUTHORIZED, "draining"), Fitness::NotReady(_)));
    }
}
