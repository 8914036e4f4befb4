//! The task that sends spans to the collector.

use super::{Span, otlp};
use crate::handover::Handover;
use crate::limits::{
    EFFECT_WARNING_INTERVAL, SPANS_PER_REQUEST_MAX, SPANS_RETRIES_MAX, SPANS_RETRY_PAUSE, SPANS_TIMEOUT,
    TRACES_INTERVAL,
};
use crate::outside::Clients;
use http::header::CONTENT_TYPE;
use http::{Request, StatusCode};
use lifecycle::{BoxError, ErrorChain};
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;
use tokio::sync::Notify;
use tokio::time::sleep;

pub(super) struct Exporter {
    pub url: String,
    pub edge_id: String,
    pub spans: Arc<Handover<Span>>,
    pub lost: Arc<AtomicU64>,
    /// There is something to send.
    pub news: Arc<Notify>,
    /// Nothing will be said any more.
    pub ends: Arc<Notify>,
}

impl Exporter {
    pub async fn run(self) {
        let (clients, mut warned) = (Clients::default(), None::<Instant>);
        let mut is_over = false;
        while !is_over {
            is_over = tokio::select! {
                () = self.ends.notified() => true,
                () = self.news.notified() => tokio::select! {
                    () = self.ends.notified() => true,
                    () = sleep(TRACES_INTERVAL) => false,
                },
            };
            let mut waiting = Vec::new();
            self.spans.take(|mut spans| waiting.append(&mut spans));
            while !waiting.is_empty() {
                let later = waiting.split_off(waiting.len().min(SPANS_PER_REQUEST_MAX));
                let batch = mem::replace(&mut waiting, later);
                let Err(error) = self.send(&clients, &batch).await else { continue };
                self.lost.fetch_add(batch.len() as u64, Relaxed);
                if warned.is_none_or(|warned| warned.elapsed() >= EFFECT_WARNING_INTERVAL) {
                    tracing::warn!(collector = self.url, "spans are dropped: {}", ErrorChain(&*error));
                    warned = Some(Instant::now());
                }
            }
        }
    }

    /// Sends a batch, again when the collector asks for it or does not answer (OTLP, "OTLP/HTTP Response").
    async fn send(&self, clients: &Clients, batch: &[Span]) -> Result<(), BoxError> {
        let (body, mut pause) = (otlp::body(&self.edge_id, batch), SPANS_RETRY_PAUSE);
        for left in (0..=SPANS_RETRIES_MAX).rev() {
            let request = Request::post(&self.url).header(CONTENT_TYPE, "application/json");
            let request = request.body(web::full_body(body.clone()))?;
            let error = match clients.of(&self.url).await.send_within(request, SPANS_TIMEOUT).await {
                Ok(response) if response.status().is_success() => return Ok(()),
                Ok(response) => {
                    let status = response.status();
                    let error = BoxError::from(format!("the collector answered {status}"));
                    if !asks_again(status) {
                        return Err(error);
                    }
                    error
                }
                Err(error) => error.into(),
            };
            if left == 0 {
                return Err(error);
            }
            sleep(pause).await;
            pause *= 2;
        }
        unreachable!("the last try returns")
    }
}

fn asks_again(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}
