//! Marathon's events as nudges. What an event says does not matter: every pass reads everything. A Marathon without
//! `/v2/events` (before 0.9) is merely polled.

use crate::read::Marathon;
use http::header::ACCEPT;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use lifecycle::Stop;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use web::{Client, empty_body};

/// Between two attempts to listen.
const RECONNECT_INTERVAL: Duration = Duration::from_secs(2);
/// Events come in bursts: a pass waits this long for the rest of one.
const SETTLE: Duration = Duration::from_millis(50);
/// A Marathon that offers no events is asked again after this long: it may have been upgraded.
const NOT_OFFERED_INTERVAL: Duration = Duration::from_secs(300);

/// A listener in the background; ends with the stop it was given, or when dropped.
pub struct Events {
    nudge: Arc<Notify>,
    end: Stop,
}

impl Events {
    pub fn listen(marathon: &Marathon, stop: &Stop) -> Self {
        let (nudge, end) = (Arc::new(Notify::new()), stop.child());
        let (client, url) = (marathon.client.clone(), marathon.events_url());
        tokio::spawn({
            let (nudge, end) = (nudge.clone(), end.clone());
            async move { end.or(follow(client, url, nudge)).await }
        });
        Self { nudge, end }
    }

    /// Resolves after something has happened.
    pub async fn nudged(&self) {
        self.nudge.notified().await;
        tokio::time::sleep(SETTLE).await;
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.end.request();
    }
}

async fn follow(client: Client, url: String, nudge: Arc<Notify>) {
    loop {
        let request = Request::get(&url).header(ACCEPT, "text/event-stream").body(empty_body());
        let Ok(request) = request else { return };
        let pause = match client.send(request).await {
            Ok(response) if response.status() == StatusCode::OK => {
                let mut body = response.into_body();
                let mut scanner = Scanner::default();
                // What happened before the stream was open is not told.
                nudge.notify_one();
                while let Some(Ok(frame)) = body.frame().await {
                    if frame.data_ref().is_some_and(|data| scanner.has_event(data)) {
                        nudge.notify_one();
                    }
                }
                RECONNECT_INTERVAL
            }
            Ok(response) => {
                tracing::info!(status = %response.status(), "Marathon offers no events; it is polled");
                NOT_OFFERED_INTERVAL
            }
            Err(error) => {
                tracing::debug!(error = %lifecycle::ErrorChain(&error), "listen to Marathon's events");
                RECONNECT_INTERVAL
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Finds `event:` at the beginning of a line, over any cuts, keeping only those first bytes.
#[derive(Debug, Default)]
struct Scanner {
    line_start: Vec<u8>,
}

impl Scanner {
    fn has_event(&mut self, data: &[u8]) -> bool {
        const FIELD: &[u8] = b"event:";
        let mut found = false;
        for byte in data {
            match byte {
                b'\n' | b'\r' => self.line_start.clear(),
                byte if self.line_start.len() < FIELD.len() => {
                    self.line_start.push(*byte);
                    found |= self.line_start == FIELD;
                }
                _ => {}
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;
    use tokio::sync::mpsc;

    /// A Marathon whose events come from the test.
    #[tokio::test]
    async fn an_event_is_a_nudge() {
        let (events, queue) = mpsc::channel::<&'static str>(8);
        let queue = Arc::new(tokio::sync::Mutex::new(Some(queue)));
        let stream = move || {
            let queue = queue.clone();
            async move {
                let queue = queue.lock().await.take().expect("one listener");
                Body::from_stream(futures::stream::unfold(queue, |mut queue| async {
                    let chunk = queue.recv().await?;
                    Some((Ok::<_, std::convert::Infallible>(chunk), queue))
                }))
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}/v2/apps", listener.local_addr().unwrap());
        let stop = Stop::new();
        let router = Router::new().route("/v2/events", get(stream));
        tokio::spawn(web::serve(listener, router, web::Bounds::default(), stop.clone()));
        let marathon = Marathon::new(&endpoint, Client::default());
        let listening = Events::listen(&marathon, &stop);
        let nudged = async || tokio::time::timeout(Duration::from_secs(10), listening.nudged()).await.is_ok();
        assert!(nudged().await, "the stream is open");
        events.send("event: status_update_event\ndata: {}\n\n").await.unwrap();
        assert!(nudged().await, "something happened");
        events.send("\n").await.unwrap();
        let quiet = tokio::time::timeout(Duration::from_millis(200), listening.nudged()).await;
        assert!(quiet.is_err(), "a blank line is no event");
        stop.request();
    }

    #[test]
    fn events_are_found_over_any_cuts() {
        let mut scanner = Scanner::default();
        assert!(!scanner.has_event(b"\r\n\r\ndata: event: no\r\nev"));
        assert!(!scanner.has_event(b"ent"));
        assert!(scanner.has_event(b": status_update_event\r\ndata: {}\r\n"));
        assert!(!scanner.has_event(b"\n\n"));
    }
}
