//! The old process after another one has taken over: it accepts nobody, tells its clients to leave, and ends when they have,
//! or when its time is up.

use super::Drain;
use crate::engine::Engine;
use crate::metrics::Metrics;
use crate::quiesce::Quiesce;
use lifecycle::Stop;
use std::pin::pin;
use tokio::time::timeout;

/// Returns when everybody has left, or the time of `drain` is up, or with the stop; then it is requested, and what is left has
/// the grace of any stop.
pub(crate) async fn retire(engine: &Engine, quiesce: &Quiesce, metrics: &Metrics, drain: Drain, stop: &Stop) {
    let left = async { tokio::join!(engine.retire(), quiesce.retire()) };
    let mut left = pin!(left);
    let leaving = async {
        // Each answer closes its connection from now on, and clients of HTTP/2 are told to leave. Of HTTP/1 one that idles
        // stays at first: it may be sending just now, and nothing but an answer could tell it.
        if timeout(drain.idle, &mut left).await.is_err() {
            quiesce.end_idle();
            let _in_time = timeout(drain.tunnels, left).await;
        }
    };
    stop.or(leaving).await;
    tracing::info!(connections = metrics.connections(), "drained");
    stop.request();
}
