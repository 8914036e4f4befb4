//! What the edge counts, served as `/metrics`. The engine's threads count for themselves (see [`crate::count`]); the sums
//! are made when somebody asks.
//!
//! Bytes of a route are counted where they cross between edge and server: `edge_route_request_bytes_total` is what was
//! sent to servers (request line and headers as sent, body without chunk framing; each attempt of a retried request counts),
//! `edge_route_response_bytes_total` what came back (status line and headers, body), tunnels included in both. A latency
//! is the time from a request's head to the last byte of its response.

use crate::count::{Counter as ThreadCounter, CountsOf, Totals, latency_bounds};
use crate::per_thread::PerThread;
use crate::servers::{Servers, lock};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::{Registry, Unit};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

/// What one thread is busy with.
#[derive(Debug, Default)]
pub(crate) struct Busy {
    pub requests: ThreadCounter,
    pub connections: ThreadCounter,
    pub tunnels: ThreadCounter,
}

/// Everything that is summed when somebody asks.
#[derive(Debug)]
struct Summed {
    busy: PerThread<Busy>,
    routes: Mutex<BTreeMap<Arc<str>, Arc<CountsOf>>>,
    /// Requests that no route took.
    unrouted: CountsOf,
    servers: Arc<Servers>,
}

pub(crate) struct Metrics {
    registry: Registry,
    summed: Arc<Summed>,
    pub store_reads_failed: Counter,
    problems: Gauge,
    revision: Gauge,
    routes: Gauge,
}

impl Metrics {
    pub fn new(servers: Arc<Servers>) -> Self {
        let summed =
            Summed { busy: PerThread::default(), routes: Mutex::default(), unrouted: CountsOf::default(), servers };
        let mut metrics = Self {
            registry: Registry::default(),
            summed: Arc::new(summed),
            store_reads_failed: Counter::default(),
            problems: Gauge::default(),
            revision: Gauge::default(),
            routes: Gauge::default(),
        };
        let registry = &mut metrics.registry;
        registry.register("edge_routes", "Routes in the table that serves", metrics.routes.clone());
        registry.register("edge_problems", "Keys that are not served as they ask", metrics.problems.clone());
        registry.register("edge_applied_revision", "The store's revision that serves", metrics.revision.clone());
        let help = "Readings and watches of the store that failed";
        registry.register("edge_store_reads_failed", help, metrics.store_reads_failed.clone());
        registry.register_collector(Box::new(Sums(metrics.summed.clone())));
        metrics
    }

    /// What this thread is busy with.
    pub fn busy(&self) -> &Busy {
        self.summed.busy.here()
    }

    /// Client connections.
    pub fn connections(&self) -> u64 {
        self.summed.sum(|busy| &busy.connections)
    }

    pub fn of_route(&self, route: &str) -> Arc<CountsOf> {
        let mut routes = lock(&self.summed.routes);
        match routes.get(route) {
            Some(counts) => counts.clone(),
            None => routes.entry(route.into()).or_default().clone(),
        }
    }

    /// Of requests that no route took.
    pub fn unrouted(&self) -> &CountsOf {
        &self.summed.unrouted
    }

    /// Takes note of a new table; the series of routes that left it end, so that their number stays bounded.
    pub fn table(&self, revision: i64, problems: usize, routes: usize, gone: &[String]) {
        self.revision.set(revision);
        self.problems.set(problems as i64);
        self.routes.set(routes as i64);
        let mut known = lock(&self.summed.routes);
        for route in gone {
            known.remove(route.as_str());
        }
    }

    pub fn revision(&self, revision: i64) {
        self.revision.set(revision);
    }

    pub fn text(&self) -> String {
        lifecycle::metrics::render(&self.registry)
    }
}

impl Summed {
    fn sum(&self, of: impl Fn(&Busy) -> &ThreadCounter) -> u64 {
        // A thread's count is exact; one that is read between two others' changes is as old as they are.
        self.busy.all().map(|busy| of(busy).get()).sum()
    }
}

#[derive(Debug)]
struct Sums(Arc<Summed>);

impl Collector for Sums {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Summed { routes, unrouted, servers, .. } = &*self.0;
        let mut gauge = |name, help, of: fn(&Busy) -> &ThreadCounter| {
            let encoder = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(self.0.sum(of) as i64).encode(encoder)
        };
        gauge("edge_requests_in_flight", "Requests being answered", |busy| &busy.requests)?;
        gauge("edge_connections", "Client connections", |busy| &busy.connections)?;
        gauge("edge_tunnels", "Upgraded connections, e.g. WebSockets", |busy| &busy.tunnels)?;

        let mut by_route: Vec<(Arc<str>, Totals)> = vec![("".into(), unrouted.totals())];
        by_route.extend(lock(routes).iter().map(|(route, counts)| (route.clone(), counts.totals())));
        Family { label: "route", of: &by_route }.encode(&mut encoder)?;
        let servers = servers.all().into_iter().map(|server| (server.url.as_str().into(), server.counts.totals()));
        Family { label: "server", of: &servers.collect::<Vec<_>>() }.encode(&mut encoder)
    }
}

/// The series of all routes, or of all servers.
struct Family<'a> {
    label: &'static str,
    of: &'a [(Arc<str>, Totals)],
}

impl Family<'_> {
    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let requests = if self.label == "route" { "edge_requests" } else { "edge_server_requests" };
        let help = "Requests answered, by status";
        let mut requests = encoder.encode_descriptor(requests, help, None, MetricType::Counter)?;
        for (value, totals) in self.of {
            for (code, count) in &totals.codes {
                let labels = [(self.label, value.to_string()), ("code", code.to_string())];
                requests.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(count, None)?;
            }
        }
        let mut counter = |what: &str, help, of: fn(&Totals) -> u64| {
            let name = format!("edge_{}_{what}", self.label);
            let mut family = encoder.encode_descriptor(&name, help, None, MetricType::Counter)?;
            self.each(&mut family, |encoder, totals| encoder.encode_counter::<NoLabelSet, _, u64>(&of(totals), None))
        };
        counter("request_bytes", "Bytes sent to servers: heads and bodies", |totals| totals.request_bytes)?;
        counter("response_bytes", "Bytes received from servers: heads and bodies", |totals| totals.response_bytes)?;
        counter("retries", "Requests sent to another server", |totals| totals.retries)?;
        if self.label == "route" {
            let help = "Requests not sent to another server since the retry budget was used up";
            counter("retries_denied", help, |totals| totals.retries_denied)?;
        }
        let name = format!("edge_{}_latency", self.label);
        let help = "Time from a request's head to the end of its response";
        let mut family = encoder.encode_descriptor(&name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
        let bounds = latency_bounds();
        self.each(&mut family, |encoder, totals| {
            let buckets: Vec<(f64, u64)> = bounds.iter().copied().zip(totals.latency).collect();
            let count = totals.latency.iter().sum();
            encoder.encode_histogram::<NoLabelSet>(totals.latency_micros as f64 / 1e6, count, &buckets, None)
        })
    }

    /// One series for each that has a name: requests without a route have no bytes.
    fn each(
        &self,
        family: &mut MetricEncoder<'_>,
        series: impl Fn(&mut MetricEncoder<'_>, &Totals) -> fmt::Result,
    ) -> fmt::Result {
        for (value, totals) in self.of.iter().filter(|(value, _)| !value.is_empty()) {
            series(&mut family.encode_family(&[(self.label, value.to_string())])?, totals)?;
        }
        Ok(())
    }
}
