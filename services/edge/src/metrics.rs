//! What the edge counts, served as `/metrics`. The engine's threads count for themselves (see [`crate::count`]); the sums
//! are made when somebody asks, and written piece by piece as they are read.
//!
//! Bytes of a route are counted where they cross between edge and server: `edge_route_request_bytes_total` is what was
//! sent to servers (request line and headers as sent, body without chunk framing; each attempt of a retried request counts),
//! `edge_route_response_bytes_total` what came back (status line and headers, body), tunnels included in both.
//!
//! # One more metric
//! What threads count on their own is a field of [`Busy`] and a line of [`OF_THREADS`]. What is rare, or known elsewhere, is
//! registered in [`Metrics::new`], or [shown](Metrics::show) by whoever knows it. Each is named in docs/observability.md,
//! or a test fails.

mod exposition;
mod series;

pub(crate) use exposition::{Format, Kind};
pub(crate) use series::OTHER;

use crate::count::{Counter as ThreadCounter, CountsOf};
use crate::current::Snapshot;
use crate::per_thread::PerThread;
use crate::servers::{Server, Servers, lock};
use exposition::{Exposition, label};
use prometheus_client::collector::Collector;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use series::{FAMILIES, Of, Routes, Row};
use std::sync::{Arc, Mutex};

/// What one thread is busy with.
#[derive(Debug, Default)]
pub(crate) struct Busy {
    pub requests: ThreadCounter,
    pub connections: ThreadCounter,
    pub tunnels: ThreadCounter,
    pub client_handshakes: Handshakes,
    pub server_handshakes: Handshakes,
}

/// Of TLS.
#[derive(Debug, Default)]
pub(crate) struct Handshakes {
    pub full: ThreadCounter,
    pub resumed: ThreadCounter,
    pub failed: ThreadCounter,
}

struct OfThreads {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    of: OfBusy,
}

/// Somebody's number, asked for when metrics are.
struct Shown {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    value: Box<dyn Fn() -> u64 + Send + Sync>,
}

/// A counter's name is without its `_total`.
const OF_THREADS: [OfThreads; 3] = [
    OfThreads {
        name: "edge_requests_in_flight",
        kind: Kind::Gauge,
        help: "Requests being answered",
        of: |busy| &busy.requests,
    },
    OfThreads { name: "edge_connections", kind: Kind::Gauge, help: "Client connections", of: |busy| &busy.connections },
    OfThreads {
        name: "edge_tunnels",
        kind: Kind::Gauge,
        help: "Upgraded connections, e.g. WebSockets",
        of: |busy| &busy.tunnels,
    },
];

type OfBusy = fn(&Busy) -> &ThreadCounter;

/// By side and result.
const HANDSHAKES: [(&str, OfBusy); 6] = [
    ("side=\"client\",result=\"full\"", |busy| &busy.client_handshakes.full),
    ("side=\"client\",result=\"resumed\"", |busy| &busy.client_handshakes.resumed),
    ("side=\"client\",result=\"failed\"", |busy| &busy.client_handshakes.failed),
    ("side=\"server\",result=\"full\"", |busy| &busy.server_handshakes.full),
    ("side=\"server\",result=\"resumed\"", |busy| &busy.server_handshakes.resumed),
    ("side=\"server\",result=\"failed\"", |busy| &busy.server_handshakes.failed),
];

pub(crate) struct Metrics {
    registry: Registry,
    shown: Mutex<Vec<Shown>>,
    busy: PerThread<Busy>,
    by_route: Mutex<Routes>,
    /// Requests that no route took.
    unrouted: CountsOf,
    servers: Arc<Servers>,
    pub store_reads_failed: Counter,
    problems: Gauge,
    revision: Gauge,
    routes: Gauge,
}

impl Metrics {
    pub fn new(servers: Arc<Servers>) -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            shown: Mutex::default(),
            busy: PerThread::default(),
            by_route: Mutex::default(),
            unrouted: CountsOf::default(),
            servers,
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
        metrics
    }

    /// Shows what others count.
    pub fn collect(&mut self, collector: impl Collector) {
        self.registry.register_collector(Box::new(collector));
    }

    /// Shows a number under a name of its own; a counter's is without its `_total`.
    pub fn show(
        &self,
        name: &'static str,
        kind: Kind,
        help: &'static str,
        value: impl Fn() -> u64 + Send + Sync + 'static,
    ) {
        lock(&self.shown).push(Shown { name, kind, help, value: Box::new(value) });
    }

    /// What this thread is busy with.
    pub fn busy(&self) -> &Busy {
        self.busy.here()
    }

    /// Client connections.
    pub fn connections(&self) -> u64 {
        self.sum(|busy| &busy.connections)
    }

    pub fn of_route(&self, route: &str) -> Arc<CountsOf> {
        lock(&self.by_route).counts(route)
    }

    /// What is counted of each route that is known.
    pub fn of_routes(&self) -> Vec<(Arc<str>, Arc<CountsOf>)> {
        lock(&self.by_route).all().map(|(route, counts)| (route.clone(), counts.clone())).collect()
    }

    pub fn servers(&self) -> Vec<Arc<Server>> {
        self.servers.all()
    }

    /// Of requests that no route took.
    pub fn unrouted(&self) -> &CountsOf {
        &self.unrouted
    }

    /// Takes note of a new table; what was known of routes that left it ends.
    pub fn table(&self, revision: i64, problems: usize, routes: usize, gone: &[String]) {
        self.revision.set(revision);
        self.problems.set(problems as i64);
        self.routes.set(routes as i64);
        let mut known = lock(&self.by_route);
        gone.iter().for_each(|route| known.forget(route));
    }

    pub fn revision(&self, revision: i64) {
        self.revision.set(revision);
    }

    /// All of them, a piece after the other; the table says of which app a route is.
    pub fn pieces(&self, format: Format, snapshot: &Snapshot) -> impl Iterator<Item = String> + use<> {
        let mut start = Exposition::new(format);
        start.registry(&self.registry);
        let mut single = |name: &str, kind, help, value| {
            start.family(name, kind, help);
            let total = if kind == Kind::Counter { "_total" } else { "" };
            start.sample(&format!("{name}{total}"), "", value);
        };
        for OfThreads { name, kind, help, of } in &OF_THREADS {
            single(name, *kind, help, self.sum(of));
        }
        for Shown { name, kind, help, value } in &*lock(&self.shown) {
            single(name, *kind, help, value());
        }
        start.family("edge_tls_handshakes", Kind::Counter, "Handshakes of TLS, with clients and with servers");
        for (labels, of) in HANDSHAKES {
            start.sample("edge_tls_handshakes_total", labels, self.sum(of));
        }
        let (mut routes, folded_routes) = {
            let known = lock(&self.by_route);
            start.family("edge_route_info", Kind::Gauge, "Of which app a route is");
            for route in snapshot.table.routes().iter().filter(|route| known.is_named(&route.id)) {
                let app = route.app.as_deref().unwrap_or_default();
                start.sample("edge_route_info", &format!("{},{}", label("route", &route.id), label("app", app)), 1);
            }
            (known.rows(), known.folded())
        };
        routes.insert(0, Row::new(Of::Routes, "", self.unrouted.totals()));
        let (servers, folded_servers) = self.servers.totals();
        let servers = servers.into_iter().map(|(url, totals)| Row::new(Of::Servers, &url, totals)).collect();
        start.family("edge_series_folded", Kind::Gauge, "Routes and servers that are summed under (other)");
        start.sample("edge_series_folded", "of=\"routes\"", folded_routes);
        start.sample("edge_series_folded", "of=\"servers\"", folded_servers);

        let mut end = Exposition::new(format);
        end.end();
        let all: [(Of, Arc<[Row]>); 2] = [(Of::Routes, routes.into()), (Of::Servers, servers)];
        let families = all.into_iter().flat_map(move |(of, rows)| {
            FAMILIES
                .iter()
                .filter(move |family| family.is_of(of))
                .flat_map(move |family| family.pieces(format, of, rows.clone()))
        });
        std::iter::once(start.text).chain(families).chain(std::iter::once(end.text))
    }

    fn sum(&self, of: impl Fn(&Busy) -> &ThreadCounter) -> u64 {
        // A thread's count is exact; one that is read between two others' changes is as old as they are.
        self.busy.all().map(|busy| of(busy).get()).sum()
    }
}
