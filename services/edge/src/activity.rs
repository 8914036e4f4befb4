//! What happened in the last seconds, by route and by server: for `roadstead top` and vulcand's `/v2/top`.
//!
//! Requests only ever count up; who asks makes a sample of all counts, and the difference to one of [`TOP_WINDOW`] ago is the
//! answer. The first one who asks waits [`TOP_INTERVAL`] for a second sample. While nobody asks it costs nothing.

use crate::count::{CountsOf, Distribution, Totals};
use crate::current::Snapshot;
use crate::limits::{TOP_INTERVAL, TOP_WINDOW};
use crate::metrics::Metrics;
use crate::servers::Server;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

/// The busiest routes and servers, of one edge or, [added up](Top::add), of several.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Top {
    /// Whose figures these are.
    pub edges: Vec<String>,
    /// How long the figures reach back.
    pub window_s: f64,
    pub routes: Vec<RouteFigures>,
    pub servers: Vec<ServerFigures>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RouteFigures {
    /// Empty: of requests that no route took.
    pub route: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    #[serde(flatten)]
    pub figures: Figures,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ServerFigures {
    pub url: String,
    #[serde(flatten)]
    pub figures: Figures,
}

/// What happened within the window.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Figures {
    pub requests: u64,
    pub requests_per_second: f64,
    /// Answered with a status of 500 or more.
    pub errors: u64,
    /// Attempts that got no response, or a part of one.
    pub failures: u64,
    pub retries: u64,
    /// Now. Of a route: at its servers, whoever else sends there.
    pub in_flight: u64,
    /// By status.
    #[serde(deserialize_with = "read_codes")]
    pub codes: BTreeMap<u16, u64>,
    pub request_bytes: u64,
    pub response_bytes: u64,
    /// Until the response's head.
    pub head: Times,
    /// Until its end.
    pub whole: Times,
}

/// JSON's names are text, and serde does not read numbers from them inside of what is flattened.
fn read_codes<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<u16, u64>, D::Error> {
    let texts = BTreeMap::<String, u64>::deserialize(from)?;
    let number = |(code, count): (String, u64)| Ok((code.parse().map_err(D::Error::custom)?, count));
    texts.into_iter().map(number).collect()
}

/// How long it took.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Times {
    /// Seconds; none when there was no request.
    pub p50_s: Option<f64>,
    pub p90_s: Option<f64>,
    pub p99_s: Option<f64>,
    #[serde(flatten)]
    pub distribution: Distribution,
}

impl Times {
    fn of(distribution: Distribution) -> Self {
        let quantile = |share| distribution.quantile(share).map(|time| time.as_secs_f64());
        Self { p50_s: quantile(0.5), p90_s: quantile(0.9), p99_s: quantile(0.99), distribution }
    }
}

impl Figures {
    fn of(totals: Totals, window: Duration, in_flight: u64) -> Self {
        let requests = totals.codes.values().sum();
        Self {
            requests,
            requests_per_second: requests as f64 / window.as_secs_f64().max(f64::EPSILON),
            errors: totals.codes.iter().filter(|(code, _)| **code >= 500).map(|(_, count)| count).sum(),
            failures: totals.failures,
            retries: totals.retries,
            in_flight,
            codes: totals.codes,
            request_bytes: totals.request_bytes,
            response_bytes: totals.response_bytes,
            head: Times::of(totals.head),
            whole: Times::of(totals.whole),
        }
    }

    fn is_idle(&self) -> bool {
        self.requests == 0 && self.in_flight == 0 && self.failures == 0
    }

    fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.requests_per_second += other.requests_per_second;
        self.errors += other.errors;
        self.failures += other.failures;
        self.retries += other.retries;
        self.in_flight += other.in_flight;
        for (code, count) in &other.codes {
            *self.codes.entry(*code).or_default() += count;
        }
        self.request_bytes += other.request_bytes;
        self.response_bytes += other.response_bytes;
        for (times, others) in [(&mut self.head, &other.head), (&mut self.whole, &other.whole)] {
            times.distribution.add(&others.distribution);
            *times = Times::of(std::mem::take(&mut times.distribution));
        }
    }
}

impl Top {
    /// Adds another edge's.
    pub fn add(&mut self, other: &Self) {
        self.edges.extend(other.edges.iter().cloned());
        self.window_s = self.window_s.max(other.window_s);
        for row in &other.routes {
            match self.routes.iter_mut().find(|known| known.route == row.route) {
                Some(known) => known.figures.add(&row.figures),
                None => self.routes.push(row.clone()),
            }
        }
        for row in &other.servers {
            match self.servers.iter_mut().find(|known| known.url == row.url) {
                Some(known) => known.figures.add(&row.figures),
                None => self.servers.push(row.clone()),
            }
        }
    }
}

/// All counts at one moment. What did not change is shared with the sample before.
#[derive(Default)]
struct Sample {
    routes: HashMap<Arc<str>, Arc<Totals>>,
    servers: HashMap<Arc<str>, Arc<Totals>>,
}

pub(crate) struct Activity {
    metrics: Arc<Metrics>,
    edge_id: String,
    samples: Mutex<Samples>,
}

/// The oldest first: at most one per [`TOP_INTERVAL`], and none that a window does not reach.
#[derive(Default)]
struct Samples(VecDeque<(Instant, Arc<Sample>)>);

impl Samples {
    fn forget_old(&mut self, now: Instant) {
        self.0.retain(|(at, _)| now - *at <= TOP_WINDOW + TOP_INTERVAL);
    }

    /// Until when an answer has to wait.
    fn wait(&self) -> Option<Instant> {
        Some(self.0.front().filter(|_| self.0.len() == 1)?.0 + TOP_INTERVAL)
    }

    fn is_due(&self, now: Instant) -> bool {
        self.0.len() < 2 || self.0.back().is_none_or(|(at, _)| now - *at >= TOP_INTERVAL)
    }

    fn newest(&self) -> Option<&Sample> {
        self.0.back().map(|(_, sample)| &**sample)
    }
}

impl Activity {
    pub fn new(metrics: Arc<Metrics>, edge_id: String) -> Self {
        Self { metrics, edge_id, samples: Mutex::default() }
    }

    /// Routes and servers that had anything to do, the busiest first, at most so many of each.
    pub async fn top(&self, snapshot: &Snapshot, rows_max: usize) -> Top {
        let (before, now, window) = self.window().await;
        self.between(&before, &now, window, snapshot, rows_max)
    }

    fn between(&self, before: &Sample, now: &Sample, window: Duration, snapshot: &Snapshot, rows_max: usize) -> Top {
        let since = |earlier: Option<&Arc<Totals>>, totals: &Totals| match earlier {
            Some(earlier) => totals.since(earlier),
            None => totals.clone(),
        };
        let routes = now.routes.iter().map(|(id, totals)| {
            let place = snapshot.table.position(id);
            let in_flight = place.map_or(0, |place| snapshot.turns[place].servers.iter().map(|s| s.in_flight()).sum());
            RouteFigures {
                route: id.to_string(),
                app: place.and_then(|place| snapshot.table.routes()[place].app.clone()),
                figures: Figures::of(since(before.routes.get(id), totals), window, in_flight),
            }
        });
        let mut routes: Vec<_> = routes.filter(|row| !row.figures.is_idle()).collect();
        let all = self.metrics.servers();
        let in_flight: HashMap<&str, u64> =
            all.iter().map(|server| (server.url.as_str(), server.in_flight())).collect();
        let servers = now.servers.iter().map(|(url, totals)| {
            let in_flight = in_flight.get(&**url).copied().unwrap_or_default();
            let figures = Figures::of(since(before.servers.get(url), totals), window, in_flight);
            ServerFigures { url: url.to_string(), figures }
        });
        let mut servers: Vec<_> = servers.filter(|row| !row.figures.is_idle()).collect();
        routes.sort_by(|one, other| busier(&one.figures, &other.figures).then_with(|| one.route.cmp(&other.route)));
        servers.sort_by(|one, other| busier(&one.figures, &other.figures).then_with(|| one.url.cmp(&other.url)));
        routes.truncate(rows_max);
        servers.truncate(rows_max);
        Top { edges: vec![self.edge_id.clone()], window_s: window.as_secs_f64(), routes, servers }
    }

    /// Two samples, and the time between them.
    async fn window(&self) -> (Arc<Sample>, Arc<Sample>, Duration) {
        let samples = &mut *self.samples.lock().await;
        samples.forget_old(Instant::now());
        if samples.0.is_empty() {
            samples.0.push_back((Instant::now(), Arc::new(self.sample(None))));
        }
        if let Some(until) = samples.wait() {
            sleep_until(until).await;
        }
        let now = Instant::now();
        if samples.is_due(now) {
            let sample = Arc::new(self.sample(samples.newest()));
            samples.0.push_back((now, sample));
        }
        let (Some((from, first)), Some((until, last))) = (samples.0.front(), samples.0.back()) else {
            unreachable!("there is a first one, and one was made after it");
        };
        (first.clone(), last.clone(), *until - *from)
    }

    fn sample(&self, before: Option<&Sample>) -> Sample {
        let unrouted =
            (Arc::from(""), shared(self.metrics.unrouted(), before.and_then(|before| before.routes.get(""))));
        let of_route = |(id, counts): (Arc<str>, Arc<CountsOf>)| {
            let totals = shared(&counts, before.and_then(|before| before.routes.get(&id)));
            (id, totals)
        };
        let of_server = |server: Arc<Server>| {
            let url: Arc<str> = server.url.as_str().into();
            let totals = shared(&server.counts, before.and_then(|before| before.servers.get(&url)));
            (url, totals)
        };
        Sample {
            routes: self.metrics.of_routes().into_iter().map(of_route).chain([unrouted]).collect(),
            servers: self.metrics.servers().into_iter().map(of_server).collect(),
        }
    }
}

fn busier(one: &Figures, other: &Figures) -> std::cmp::Ordering {
    other.requests.cmp(&one.requests).then(other.in_flight.cmp(&one.in_flight))
}

fn shared(counts: &CountsOf, before: Option<&Arc<Totals>>) -> Arc<Totals> {
    let totals = counts.totals();
    match before.filter(|before| ***before == totals) {
        Some(before) => before.clone(),
        None => Arc::new(totals),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::count::Took;
    use crate::servers::Servers;

    #[test]
    fn figures_are_those_of_the_window() {
        let metrics = Arc::new(Metrics::new(Arc::<Servers>::default()));
        let activity = Activity::new(metrics.clone(), "edge-1".into());
        let (counts, snapshot, window) = (metrics.of_route("a"), Snapshot::default(), Duration::from_secs(5));
        let answer = |times: u64, code, millis| {
            (0..times).for_each(|_| counts.here().answered(code, Took::at_once(Duration::from_millis(millis))));
        };
        answer(1000, 200, 1);
        let before = activity.sample(None);
        let idle = activity.sample(Some(&before));
        assert!(Arc::ptr_eq(&before.routes["a"], &idle.routes["a"]), "what did not change is there once");
        assert!(activity.between(&before, &idle, window, &snapshot, 10).routes.is_empty());

        answer(99, 200, 10);
        answer(1, 503, 1000);
        let top = activity.between(&before, &activity.sample(Some(&idle)), window, &snapshot, 10);
        let figures = &top.routes[0].figures;
        assert_eq!((figures.requests, figures.requests_per_second), (100, 20.0));
        assert_eq!((figures.errors, figures.codes[&503]), (1, 1));
        let (p50, p99) = (figures.whole.p50_s.unwrap(), figures.whole.p99_s.unwrap());
        assert!((0.008..0.0125).contains(&p50) && (0.008..0.0125).contains(&p99), "{p50} {p99}");

        let read: Top = serde_json::from_str(&serde_json::to_string(&top).unwrap()).unwrap();
        assert_eq!((&read.routes[0].figures.codes, read.window_s), (&figures.codes, top.window_s));

        // Another edge's are added.
        let mut sum = top.clone();
        sum.add(&top);
        assert_eq!((sum.edges.len(), sum.routes.len()), (2, 1));
        assert_eq!((sum.routes[0].figures.requests, sum.routes[0].figures.requests_per_second), (200, 40.0));
        assert_eq!(sum.routes[0].figures.whole.distribution.count(), 200);
    }

    #[test]
    fn samples_are_as_many_as_the_window_has_seconds() {
        let (mut samples, start) = (Samples::default(), Instant::now());
        samples.0.push_back((start, Arc::default()));
        assert_eq!(samples.wait(), Some(start + TOP_INTERVAL));
        for quarter in 1..400u32 {
            let now = start + TOP_INTERVAL / 4 * quarter;
            samples.forget_old(now);
            if samples.is_due(now) {
                samples.0.push_back((now, Arc::default()));
            }
        }
        assert!((11..=12).contains(&samples.0.len()), "{}", samples.0.len());
        let (oldest, newest) = (samples.0[0].0, samples.0[samples.0.len() - 1].0);
        assert!(newest - oldest >= TOP_WINDOW);
    }
}
