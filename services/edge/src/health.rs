//! Active health: the servers of routes that ask for it are asked every now and then how they are, each (server, check) by one
//! task of the control runtime, whatever the number of routes and threads. What they answer is a [`Verdict`], which requests
//! read: one load.
//!
//! | who says so | what it means |
//! |---|---|
//! | a check (here) | down: passed over while any other of the route's servers is not; when all are, none is (panic: a check that is wrong must not cost the service) |
//! | requests ([`crate::balancing`]) | ejected, or failed a moment ago: asked after the others |
//!
//! So a server must please both: a check that succeeds does not end an ejection, and answers to requests do not end a check's
//! verdict.

mod ask;

use crate::limits::{HEALTH_AT_ONCE_MAX, HEALTH_CHECKS_MAX, HEALTH_SPREAD_MAX};
use crate::servers::{lock, process_micros};
use ask::{Bad, ask};
use lifecycle::ErrorChain;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use routing::{Health, HealthSpec, HealthStanding, SendProxy, ServerUrl};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// What is asked, and of whom.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Check {
    pub url: ServerUrl,
    pub spec: HealthSpec,
    /// Its routes' connections begin with a header, so the check's does: a server that awaits one takes no other.
    pub send_proxy: Option<SendProxy>,
}

/// All checks there are. A check lives as long as somebody has its verdict.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    known: Mutex<HashMap<Check, Weak<Verdict>>>,
    /// A check is new.
    entered: Notify,
    transitions: AtomicU64,
}

/// How one server is, by one check.
#[derive(Debug)]
pub(crate) struct Verdict {
    check: Check,
    is_down: AtomicBool,
    said: Mutex<Said>,
}

#[derive(Debug, Default)]
struct Said {
    health: Health,
    /// What the last answer was, if it was a bad one.
    cause: Option<String>,
    /// Microseconds of [`process_micros`]: since when it is what it is.
    since: u64,
}

impl Verdict {
    pub fn is_down(&self) -> bool {
        self.is_down.load(Relaxed)
    }

    /// In words, for people: `up`, `down: …`, or that nothing is known yet.
    pub fn text(&self) -> String {
        let said = lock(&self.said);
        match (said.health.standing(), &said.cause) {
            (HealthStanding::Unknown, _) => "not checked yet".to_owned(),
            (HealthStanding::Up, None) => "up".to_owned(),
            (HealthStanding::Up, Some(cause)) => format!("up, though the last check failed: {cause}"),
            (HealthStanding::Down, cause) => {
                let seconds = process_micros().saturating_sub(said.since) / 1_000_000;
                format!("down for {seconds} s: {}", cause.as_deref().unwrap_or("it is not up long enough yet"))
            }
        }
    }

    /// Takes a check's result; whether the server is something else now.
    fn observe(&self, result: Result<(), Bad>) -> bool {
        let said = &mut *lock(&self.said);
        let changed = said.health.observe(&self.check.spec, result.is_ok());
        said.cause = result.err().map(|bad| ErrorChain(&bad).to_string());
        let Some(standing) = changed else { return false };
        said.since = process_micros();
        self.is_down.store(standing == HealthStanding::Down, Relaxed);
        let url = self.check.url.as_str();
        match &said.cause {
            Some(cause) => tracing::warn!(url, cause, "a server is down"),
            None => tracing::info!(url, "a server is up"),
        }
        true
    }
}

impl Checks {
    /// The verdict on a server by a check: the same one for all who ask. `None`: there are too many.
    pub fn verdict(&self, check: Check) -> Option<Arc<Verdict>> {
        let mut known = lock(&self.known);
        if let Some(verdict) = known.get(&check).and_then(Weak::upgrade) {
            return Some(verdict);
        }
        if known.len() >= HEALTH_CHECKS_MAX {
            known.retain(|_, verdict| verdict.strong_count() > 0);
        }
        if known.len() >= HEALTH_CHECKS_MAX {
            let url = check.url.as_str();
            tracing::warn!(url, "a server is not checked: there are {HEALTH_CHECKS_MAX} checks already");
            return None;
        }
        let (is_down, said) = (AtomicBool::new(false), Mutex::default());
        let verdict = Arc::new(Verdict { check: check.clone(), is_down, said });
        known.insert(check, Arc::downgrade(&verdict));
        self.entered.notify_one();
        Some(verdict)
    }

    /// Checks whatever there is to check, for ever.
    pub async fn run(self: Arc<Self>) {
        let at_once = Arc::new(Semaphore::new(HEALTH_AT_ONCE_MAX));
        // By whether their task runs.
        let mut running: HashMap<Check, Weak<Verdict>> = HashMap::new();
        let mut tasks = JoinSet::new();
        loop {
            for (check, verdict) in self.all() {
                let runs = running.entry(check);
                if matches!(&runs, Entry::Occupied(known) if known.get().ptr_eq(&verdict)) {
                    continue;
                }
                runs.insert_entry(verdict.clone());
                tasks.spawn(check_on(self.clone(), verdict, at_once.clone()));
            }
            tokio::select! {
                () = self.entered.notified() => {}
                Some(_ended) = tasks.join_next() => {
                    running.retain(|_, verdict| verdict.strong_count() > 0);
                    lock(&self.known).retain(|_, verdict| verdict.strong_count() > 0);
                }
            }
        }
    }

    fn all(&self) -> Vec<(Check, Weak<Verdict>)> {
        lock(&self.known).iter().map(|(check, verdict)| (check.clone(), verdict.clone())).collect()
    }
}

/// Until nobody wants the verdict any more.
async fn check_on(checks: Arc<Checks>, verdict: Weak<Verdict>, at_once: Arc<Semaphore>) {
    let chance = RandomState::new();
    // Those that a table brings at once are not asked at once.
    let Some(interval) = verdict.upgrade().map(|verdict| verdict.check.spec.interval()) else { return };
    sleep(interval.min(HEALTH_SPREAD_MAX).mul_f64(fraction(chance.hash_one(0)))).await;
    for round in 1u64.. {
        let Ok(place) = at_once.acquire().await else { return };
        let Some(verdict) = verdict.upgrade() else { return };
        let Verdict { check, .. } = &*verdict;
        let result = timeout(check.spec.timeout(), ask(check)).await.unwrap_or(Err(Bad::Timeout));
        if verdict.observe(result) {
            checks.transitions.fetch_add(1, Relaxed);
        }
        drop((place, verdict));
        // A tenth more or less, so that many checks, and many edges, do not fall into step.
        sleep(interval.mul_f64(0.9 + fraction(chance.hash_one(round)) / 5.0)).await;
    }
}

/// Between 0 and 1.
fn fraction(random: u64) -> f64 {
    random as f64 / u64::MAX as f64
}

/// For `/metrics`.
#[derive(Debug)]
pub(crate) struct CheckMetrics(pub Arc<Checks>);

impl Collector for CheckMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // A server may be checked in several ways: it is up if all say so.
        let mut servers: HashMap<ServerUrl, bool> = HashMap::new();
        for (Check { url, .. }, verdict) in self.0.all() {
            let Some(verdict) = verdict.upgrade() else { continue };
            *servers.entry(url).or_insert(true) &= !verdict.is_down();
        }
        let help = "Whether checks say that a server is up";
        let mut up = encoder.encode_descriptor("edge_server_up", help, None, MetricType::Gauge)?;
        for (url, is_up) in &servers {
            up.encode_family(&[("server", url.as_str())])?.encode_gauge(&i64::from(*is_up))?;
        }
        let help = "How often checks found a server to be up or down that was not before";
        let mut counter = encoder.encode_descriptor("edge_health_transitions", help, None, MetricType::Counter)?;
        counter.encode_counter::<NoLabelSet, _, u64>(&self.0.transitions.load(Relaxed), None)
    }
}

#[cfg(test)]
mod tests;
