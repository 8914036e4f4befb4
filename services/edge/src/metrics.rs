//! What the edge counts, served as `/metrics`.
//!
//! Bytes of a route are counted where they cross between edge and server: `edge_route_request_bytes_total` is what was
//! sent to servers (request line and headers as sent, body without chunk framing; each attempt of a retried request counts),
//! `edge_route_response_bytes_total` what came back (status line and headers, body), tunnels included in both.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::collections::HashSet;
use std::sync::Mutex;

use crate::servers::lock;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RouteLabel {
    pub route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ResponseLabel {
    /// Empty when no route took the request.
    pub route: String,
    pub code: u16,
}

/// The counters of one route, at hand on the request path.
#[derive(Clone, Debug, Default)]
pub(crate) struct RouteMetrics {
    pub request_bytes: Counter,
    pub response_bytes: Counter,
    pub retries: Counter,
}

pub(crate) struct Metrics {
    registry: Registry,
    pub requests: Family<ResponseLabel, Counter>,
    pub in_flight: Gauge,
    pub connections: Gauge,
    pub tunnels: Gauge,
    pub store_reads_failed: Counter,
    problems: Gauge,
    revision: Gauge,
    routes: Gauge,
    request_bytes: Family<RouteLabel, Counter>,
    response_bytes: Family<RouteLabel, Counter>,
    retries: Family<RouteLabel, Counter>,
    known: Mutex<HashSet<String>>,
}

impl Metrics {
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            requests: Family::default(),
            in_flight: Gauge::default(),
            connections: Gauge::default(),
            tunnels: Gauge::default(),
            store_reads_failed: Counter::default(),
            problems: Gauge::default(),
            revision: Gauge::default(),
            routes: Gauge::default(),
            request_bytes: Family::default(),
            response_bytes: Family::default(),
            retries: Family::default(),
            known: Mutex::default(),
        };
        let registry = &mut metrics.registry;
        registry.register("edge_requests", "Requests answered, by route and status", metrics.requests.clone());
        registry.register("edge_requests_in_flight", "Requests being answered", metrics.in_flight.clone());
        registry.register("edge_connections", "Client connections", metrics.connections.clone());
        registry.register("edge_tunnels", "Upgraded connections, e.g. WebSockets", metrics.tunnels.clone());
        let help = "Bytes sent to the servers of a route: heads and bodies";
        registry.register("edge_route_request_bytes", help, metrics.request_bytes.clone());
        let help = "Bytes received from the servers of a route: heads and bodies";
        registry.register("edge_route_response_bytes", help, metrics.response_bytes.clone());
        registry.register("edge_route_retries", "Requests sent to another server", metrics.retries.clone());
        registry.register("edge_routes", "Routes in the table that serves", metrics.routes.clone());
        registry.register("edge_problems", "Keys that are not served as they ask", metrics.problems.clone());
        registry.register("edge_applied_revision", "The store's revision that serves", metrics.revision.clone());
        let help = "Readings and watches of the store that failed";
        registry.register("edge_store_reads_failed", help, metrics.store_reads_failed.clone());
        metrics
    }

    pub fn of_route(&self, route: &str) -> RouteMetrics {
        let label = RouteLabel { route: route.to_owned() };
        RouteMetrics {
            request_bytes: self.request_bytes.get_or_create_owned(&label),
            response_bytes: self.response_bytes.get_or_create_owned(&label),
            retries: self.retries.get_or_create_owned(&label),
        }
    }

    pub fn answered(&self, route: &str, code: u16) {
        self.requests.get_or_create_owned(&ResponseLabel { route: route.to_owned(), code }).inc();
    }

    /// Takes note of a new table; the series of routes that left it end, so that their number stays bounded.
    pub fn table(&self, revision: i64, problems: usize, routes: &[std::sync::Arc<routing::Route>]) {
        self.revision.set(revision);
        self.problems.set(problems as i64);
        self.routes.set(routes.len() as i64);
        let present: HashSet<String> = routes.iter().map(|route| route.id.clone()).collect();
        let mut known = lock(&self.known);
        for gone in known.difference(&present) {
            let label = RouteLabel { route: gone.clone() };
            self.request_bytes.remove(&label);
            self.response_bytes.remove(&label);
            self.retries.remove(&label);
            for code in 100..600 {
                self.requests.remove(&ResponseLabel { route: gone.clone(), code });
            }
        }
        *known = present;
    }

    pub fn revision(&self, revision: i64) {
        self.revision.set(revision);
    }

    pub fn text(&self) -> String {
        lifecycle::metrics::render(&self.registry)
    }
}
