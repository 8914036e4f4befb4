//! The node's own face, for people and for Prometheus: `/status` and `/metrics`. It changes nothing.

use crate::node::NodeHandle;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use identity::{Gate, Verifier};
use lifecycle::metrics::{self, Registry};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

pub(crate) fn router(node: NodeHandle, verifier: Verifier) -> Router {
    let gate = Gate::new(verifier, "roadstead agent", |_, method, _| method.is_safe());
    Router::new()
        .route("/status", get(status))
        .route("/metrics", get(metrics_text))
        .layer(gate.layer())
        .with_state(node)
}

async fn status(State(node): State<NodeHandle>) -> Json<Value> {
    let hello = node.hello();
    let snapshot = node.reports().borrow().clone();
    let task = |task: &protocol::TaskReport| {
        json!({
            "id": task.task_id,
            "app": task.app_id,
            "state": task.state().as_str_name(),
            "message": task.message,
            "started_at_ms": task.started_at_ms,
            "healthy": task.checks.iter().all(|check| check.alive),
        })
    };
    Json(json!({
        "node": hello.node_id,
        "hostname": hello.hostname,
        "address": hello.address,
        "runtime": hello.runtime,
        "limits": hello.limits,
        "cluster_id": snapshot.held.cluster_id.to_string(),
        "generation": snapshot.held.generation,
        "desired": if snapshot.held.blind { "lost: what runs goes on until a controller speaks" } else { "held" },
        "tasks": snapshot.tasks.iter().map(task).collect::<Vec<_>>(),
    }))
}

async fn metrics_text(State(node): State<NodeHandle>) -> impl IntoResponse {
    let snapshot = node.reports().borrow().clone();
    let mut registry = Registry::with_prefix("roadstead_agent");
    let tasks: Family<StateLabel, Gauge> = Family::default();
    let mut counts: BTreeMap<&'static str, i64> = BTreeMap::new();
    for task in snapshot.tasks.iter() {
        *counts.entry(task.state().as_str_name()).or_default() += 1;
    }
    for (state, count) in counts {
        tasks.get_or_create(&StateLabel { state }).set(count);
    }
    registry.register("tasks", "Tasks this node knows, by state", tasks);
    let generation: Gauge = Gauge::default();
    generation.set(i64::try_from(snapshot.held.generation).unwrap_or(i64::MAX));
    registry.register("desired_generation", "Of the desired set this node holds", generation);
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics::render(&registry))
}
