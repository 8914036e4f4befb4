//! The series of routes and servers, and how many of them there are: so many have series of their own, from when they come
//! until they go, and what is counted of the others is summed under [`OTHER`]. Such a sum never goes back, as a counter
//! must not, though routes leave.

use super::exposition::{Exposition, Format, Kind, label};
use crate::count::{CountsOf, Distribution, OTHER_CODE, Totals};
use crate::limits::METRICS_ROUTES_MAX;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Stands for those that have no series of their own.
pub(crate) const OTHER: &str = "(other)";
/// Rows that are written at once.
const CHUNK_ROWS: usize = 64;

/// What is counted of routes.
#[derive(Debug, Default)]
pub(super) struct Routes {
    known: BTreeMap<Arc<str>, Route>,
    named: usize,
    /// Of routes without series of their own that have gone.
    gone: Totals,
}

#[derive(Debug)]
struct Route {
    counts: Arc<CountsOf>,
    /// It has series of its own.
    is_named: bool,
}

/// The value of a label, and what is counted of it.
pub(super) struct Row {
    labels: String,
    totals: Totals,
}

/// Routes, or servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Routes,
    Servers,
}

/// A family that each of them has a part of.
pub(super) struct Family {
    routes: &'static str,
    /// Of routes alone, if empty.
    servers: &'static str,
    help: &'static str,
    value: Value,
}

enum Value {
    Codes,
    Count(fn(&Totals) -> u64),
    Times(fn(&Totals) -> &Distribution),
}

pub(super) const FAMILIES: [Family; 9] = [
    Family {
        routes: "edge_requests",
        servers: "edge_server_requests",
        help: "Requests answered, by status",
        value: Value::Codes,
    },
    Family {
        routes: "edge_route_request_bytes",
        servers: "edge_server_request_bytes",
        help: "Bytes sent to servers: heads and bodies",
        value: Value::Count(|totals| totals.request_bytes),
    },
    Family {
        routes: "edge_route_response_bytes",
        servers: "edge_server_response_bytes",
        help: "Bytes received from servers: heads and bodies",
        value: Value::Count(|totals| totals.response_bytes),
    },
    Family {
        routes: "edge_route_retries",
        servers: "edge_server_retries",
        help: "Requests that went on to another server",
        value: Value::Count(|totals| totals.retries),
    },
    Family {
        routes: "edge_route_retries_denied",
        servers: "",
        help: "Requests not sent to another server since the retry budget was used up",
        value: Value::Count(|totals| totals.retries_denied),
    },
    Family {
        routes: "edge_route_tcp_connections",
        servers: "edge_server_tcp_connections",
        help: "Connections passed on as they are",
        value: Value::Count(|totals| totals.tcp_connections),
    },
    Family {
        routes: "edge_route_failures",
        servers: "edge_server_failures",
        help: "Attempts that got no response, or a part of one",
        value: Value::Count(|totals| totals.failures),
    },
    Family {
        routes: "edge_route_request_duration_seconds",
        servers: "edge_server_request_duration_seconds",
        help: "Time to the end of the response: of a route from the request's head, of a server from its attempt",
        value: Value::Times(|totals| &totals.whole),
    },
    Family {
        routes: "edge_route_response_head_seconds",
        servers: "edge_server_response_head_seconds",
        help: "Time to the head of the response: of a route from the request's head, of a server from its attempt",
        value: Value::Times(|totals| &totals.head),
    },
];

impl Routes {
    pub fn counts(&mut self, route: &str) -> Arc<CountsOf> {
        if let Some(known) = self.known.get(route) {
            return known.counts.clone();
        }
        let is_named = self.named < METRICS_ROUTES_MAX && route != OTHER;
        self.named += usize::from(is_named);
        let counts = Arc::<CountsOf>::default();
        self.known.insert(route.into(), Route { counts: counts.clone(), is_named });
        counts
    }

    pub fn forget(&mut self, route: &str) {
        match self.known.remove(route) {
            Some(Route { is_named: true, .. }) => self.named -= 1,
            Some(Route { counts, .. }) => counts.add_to(&mut self.gone),
            None => {}
        }
    }

    pub fn is_named(&self, route: &str) -> bool {
        self.known.get(route).is_some_and(|route| route.is_named)
    }

    /// Those without series of their own.
    pub fn folded(&self) -> usize {
        self.known.len() - self.named
    }

    pub fn all(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<CountsOf>)> {
        self.known.iter().map(|(route, known)| (route, &known.counts))
    }

    pub fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::with_capacity(self.named + 1);
        let mut other = self.gone.clone();
        for (route, known) in &self.known {
            match known.is_named {
                true => rows.push(Row::new(Of::Routes, route, known.counts.totals())),
                false => known.counts.add_to(&mut other),
            }
        }
        if other != Totals::default() {
            rows.push(Row::new(Of::Routes, OTHER, other));
        }
        rows
    }
}

impl Row {
    pub fn new(of: Of, value: &str, totals: Totals) -> Self {
        let name = if of == Of::Routes { "route" } else { "server" };
        Self { labels: label(name, value), totals }
    }
}

impl Family {
    pub fn is_of(&self, of: Of) -> bool {
        of == Of::Routes || !self.servers.is_empty()
    }

    /// Its text, a piece after the other.
    pub fn pieces(&'static self, format: Format, of: Of, rows: Arc<[Row]>) -> impl Iterator<Item = String> {
        let name = if of == Of::Routes { self.routes } else { self.servers };
        let mut start = Exposition::new(format);
        let kind = if matches!(self.value, Value::Times(_)) { Kind::Histogram } else { Kind::Counter };
        start.family(name, kind, self.help);
        let pieces = (0..rows.len()).step_by(CHUNK_ROWS).map(move |from| {
            let mut page = Exposition::new(format);
            rows[from..].iter().take(CHUNK_ROWS).for_each(|row| self.write(&mut page, name, row));
            page.text
        });
        std::iter::once(start.text).chain(pieces)
    }

    fn write(&self, page: &mut Exposition, name: &str, row: &Row) {
        let Row { labels, totals } = row;
        match self.value {
            Value::Codes => {
                let name = format!("{name}_total");
                for (code, count) in &totals.codes {
                    let code = if *code == OTHER_CODE { "other".to_owned() } else { code.to_string() };
                    page.sample(&name, &format!("{labels},code=\"{code}\""), count);
                }
            }
            Value::Count(count) => page.sample(&format!("{name}_total"), labels, count(totals)),
            Value::Times(times) => {
                let (times, bucket) = (times(totals), format!("{name}_bucket"));
                let count = times.count();
                for (seconds, count) in times.shown() {
                    page.sample(&bucket, &format!("{labels},le=\"{seconds}\""), count);
                }
                page.sample(&bucket, &format!("{labels},le=\"+Inf\""), count);
                page.sample(&format!("{name}_sum"), labels, times.seconds());
                page.sample(&format!("{name}_count"), labels, count);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::count::Took;

    fn text(routes: &Routes, family: &'static Family) -> String {
        family.pieces(Format::Text, Of::Routes, routes.rows().into()).collect()
    }

    #[test]
    fn so_many_routes_have_series_and_the_sum_of_the_others_never_goes_back() {
        let mut routes = Routes::default();
        for number in 0..METRICS_ROUTES_MAX + 10 {
            routes.counts(&format!("r{number}")).here().answered(200, Took::default());
        }
        assert_eq!(routes.folded(), 10);
        let other = || "edge_requests_total{route=\"(other)\",code=\"200\"} 10\n";
        let lines = text(&routes, &FAMILIES[0]);
        assert!(lines.contains(other()) && lines.lines().count() == METRICS_ROUTES_MAX + 3, "{lines}");
        routes.forget(&format!("r{}", METRICS_ROUTES_MAX + 3));
        assert!(text(&routes, &FAMILIES[0]).contains(other()), "what it counted stays");
        routes.forget("r0");
        assert!(!routes.is_named(&format!("r{}", METRICS_ROUTES_MAX + 4)), "it stays in the sum");
        routes.counts("new");
        assert!(routes.is_named("new"), "a place was free");
        routes.counts("newer");
        assert!(!routes.is_named("newer"));
    }

    #[test]
    fn a_histogram_is_cumulative_and_ends_with_everything() {
        let mut routes = Routes::default();
        routes.counts("a").here().answered(200, Took::at_once(std::time::Duration::from_micros(300)));
        let name = "edge_route_request_duration_seconds";
        let text = text(&routes, FAMILIES.iter().find(|family| family.routes == name).unwrap());
        for line in [
            format!("# TYPE {name} histogram"),
            format!("{name}_bucket{{route=\"a\",le=\"0.000256\"}} 0"),
            format!("{name}_bucket{{route=\"a\",le=\"0.000512\"}} 1"),
            format!("{name}_bucket{{route=\"a\",le=\"+Inf\"}} 1"),
            format!("{name}_sum{{route=\"a\"}} 0.0003"),
            format!("{name}_count{{route=\"a\"}} 1"),
        ] {
            assert!(text.lines().any(|known| known == line), "{line} in {text}");
        }
    }
}
