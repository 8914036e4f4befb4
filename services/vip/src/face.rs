//! `/status` for people and the command line, `/metrics` for Prometheus.

use crate::metrics;
use crate::report::Fitness;
use crate::status::Status;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use http::header::CONTENT_TYPE;
use identity::{Gate, Role, Verifier};
use serde_json::{Value, json};
use std::sync::Arc;

/// People and the platform's own may read; there is nothing to write.
pub(crate) fn router(status: Arc<Status>, verifier: Verifier) -> Router {
    let gate = Gate::new(verifier, "roadstead vip", |role, method, _| {
        method.is_safe()
            && matches!(role, Role::Admin | Role::Viewer | Role::Controller | Role::Console | Role::Node | Role::Vip)
    });
    Router::new().route("/status", get(show)).route("/metrics", get(count)).with_state(status).layer(gate.layer())
}

async fn show(State(status): State<Arc<Status>>) -> Json<Value> {
    let fitness = status.fitness.as_ref().map(|fitness| match &*fitness.borrow() {
        Fitness::Ready => json!({ "ready": true }),
        Fitness::NotReady(reason) => json!({ "ready": false, "reason": reason }),
        Fitness::Draining => json!({ "ready": false, "reason": "draining" }),
    });
    Json(json!({
        "node": status.node,
        "scheduling": status.scheduling,
        "memory": status.memory,
        "fenced": status.fenced,
        "edge": fitness,
        "spread": status.spread.as_ref().map(|spread| spread.borrow().clone()),
        "routers": status.views(),
    }))
}

async fn count(State(status): State<Arc<Status>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, lifecycle::metrics::CONTENT_TYPE)], metrics::text(&status))
}
