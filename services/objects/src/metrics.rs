//! What is counted, and `/metrics` on a listener of its own: on the S3 port every path is a bucket.

use crate::operation::Operation;
use crate::service::Service;
use axum::Router;
use axum::routing::get;
use http::header::CONTENT_TYPE;
use lifecycle::metrics::Registry;
use lifecycle::metrics::encoding::EncodeLabelSet;
use lifecycle::metrics::metrics::counter::Counter;
use lifecycle::metrics::metrics::family::Family;
use lifecycle::metrics::metrics::gauge::Gauge;
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    operation: String,
    code: u32,
}

pub struct Metrics {
    registry: Registry,
    requests: Family<Labels, Counter>,
    pub in_flight: Gauge,
}

impl Metrics {
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("objects");
        let (requests, in_flight) = (Family::<Labels, Counter>::default(), Gauge::default());
        registry.register("requests", "requests answered, by operation and status", requests.clone());
        registry.register("requests_in_flight", "requests whose head is not answered yet", in_flight.clone());
        Self { registry, requests, in_flight }
    }

    /// Labels are bounded: operations are a closed list, and so are the codes this face answers with.
    pub fn answered(&self, operation: Option<Operation>, code: http::StatusCode) {
        let operation = operation.map_or_else(|| "none".to_owned(), Operation::name);
        self.requests.get_or_create(&Labels { operation, code: u32::from(code.as_u16()) }).inc();
    }
}

pub fn router(service: Arc<Service>) -> Router {
    let render = move || {
        let text = lifecycle::metrics::render(&service.metrics.registry);
        std::future::ready(([(CONTENT_TYPE, lifecycle::metrics::CONTENT_TYPE)], text))
    };
    Router::new().route("/metrics", get(render))
}
