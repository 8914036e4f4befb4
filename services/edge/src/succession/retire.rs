//! The old process after another one has taken over: it accepts nobody, tells its clients to leave, and ends when they have,
//! or when its time is up.

use crate::engine::Engine;
use crate::metrics::Metrics;
use crate::quiesce::Quiesce;
use lifecycle::Stop;
use std::time::Duration;
use tokio::time::timeout;

/// Returns when clients have left, or `drain` later, or with the stop; then it is requested, and what is left has the grace
/// of any stop.
pub(crate) async fn retire(engine: &Engine, quiesce: &Quiesce, metrics: &Metrics, drain: Duration, stop: &Stop) {
    // Each answer closes its connection from now on, and clients of HTTP/2 are told to leave. Of HTTP/1 one that idles stays:
    // it may be sending just now, and nothing but an answer could tell it.
    let left = async { tokio::join!(engine.retire(), quiesce.retire()) };
    let _in_time = stop.or(timeout(drain, left)).await;
    tracing::info!(connections = metrics.connections(), "drained");
    stop.request();
}
