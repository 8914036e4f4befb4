//! `/v2/events`: what happens, as server-sent events. A listener that falls behind by more than the queue holds is cut, so
//! that it reads everything anew instead of missing something unknowingly.

use super::answer::Failure;
use super::call::Call;
use super::{Api, now};
use crate::desk::{Event, EventKind};
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use lifecycle::Stop;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::time::{Instant, Interval, interval_at};

/// An idle stream carries a blank line this often, so that both ends notice when the other is gone.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// Marathon's answer to those who do not accept a stream is 405.
pub fn stream(api: &Api, call: &Call) -> Result<Response, Failure> {
    if !call.accepts_events() {
        return Err(Failure::method(&["GET"]));
    }
    let wanted = call.values("event_type").map(str::to_owned).collect();
    let attached = json!({
        "eventType": "event_stream_attached",
        "timestamp": now().to_string(),
        "remoteAddress": call.client,
    });
    let listener = Listener {
        events: api.desk.events(),
        posts: api.posts.subscribe(),
        keep_alive: interval_at(Instant::now() + KEEP_ALIVE_INTERVAL, KEEP_ALIVE_INTERVAL),
        stop: api.context.stop.clone(),
        wanted,
        first: Some(attached),
    };
    let chunks = futures::stream::unfold(listener, |mut listener| async move {
        let chunk = listener.next().await?;
        Some((Ok::<_, Infallible>(chunk), listener))
    });
    let headers = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-cache")];
    Ok((headers, Body::from_stream(chunks)).into_response())
}

struct Listener {
    events: Receiver<Arc<Event>>,
    posts: Receiver<Arc<Value>>,
    keep_alive: Interval,
    stop: Stop,
    /// Empty: all.
    wanted: Vec<String>,
    /// Told before anything else.
    first: Option<Value>,
}

impl Listener {
    /// The next piece of the stream; `None` ends it.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let event = match self.first.take() {
                Some(first) => first,
                None => tokio::select! {
                    () = self.stop.requested() => return None,
                    _ = self.keep_alive.tick() => return Some(Bytes::from_static(b"\n")),
                    event = self.events.recv() => value(received(event)?.as_ref()),
                    post = self.posts.recv() => Value::clone(received(post)?.as_ref()),
                },
            };
            let kind = event["eventType"].as_str().unwrap_or_default();
            if self.wanted.is_empty() || self.wanted.iter().any(|wanted| wanted == kind) {
                return Some(Bytes::from(format!("event: {kind}\ndata: {event}\n\n")));
            }
        }
    }
}

fn received<T>(result: Result<T, RecvError>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(RecvError::Closed) => None,
        Err(RecvError::Lagged(missed)) => {
            tracing::warn!(missed, "a listener of /v2/events is too slow and was cut");
            None
        }
    }
}

fn value(event: &Event) -> Value {
    let at = event.at;
    match &event.kind {
        EventKind::TaskStatus { task, seen } => marathon::status_update(at, task, seen),
        EventKind::TaskHealth { task, alive } => marathon::health_status_changed(at, task, *alive),
        EventKind::UnhealthyKill { task, reason } => marathon::unhealthy_task_kill(at, task, reason),
        EventKind::DeploymentStarted { deployment } => marathon::group_change_success(at, deployment),
        EventKind::DeploymentStep { deployment, step, done: false } => marathon::deployment_info(at, deployment, *step),
        EventKind::DeploymentStep { deployment, step, done: true } => marathon::deployment_step(at, deployment, *step),
        EventKind::DeploymentSucceeded { deployment } => marathon::deployment_success(at, deployment),
        EventKind::DeploymentFailed { deployment, reason } => marathon::deployment_failed(at, deployment, reason),
        EventKind::AppTerminated { app } => marathon::app_terminated(at, app),
    }
}
