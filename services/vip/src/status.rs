//! What is known of each virtual router, for people: how it stands, why, and since when. Written by one task, from what the
//! real-time threads report.

use crate::report::{Fitness, Report, Standing};
use crate::settings::VirtualRouter;
use crate::spread;
use crate::vitals::{Count, Vitals};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use vrrp::{Fence, State};

/// Transitions that are remembered of each router.
const TRANSITIONS_MAX: usize = 64;
/// Different problems that are remembered of each router.
const PROBLEMS_MAX: usize = 16;
/// A problem that came again within this time is not logged again.
const PROBLEM_LOG_PAUSE: Duration = Duration::from_secs(10);
/// A problem that did not come again for this long is over.
const PROBLEM_AGE_MAX: Duration = Duration::from_secs(60);

/// Everything that is told over HTTP.
pub(crate) struct Status {
    pub node: String,
    pub scheduling: &'static str,
    pub memory: &'static str,
    pub routers: Vec<Known>,
    /// Reports that nobody read in time.
    pub lost: Arc<Count>,
    pub fitness: Option<watch::Receiver<Fitness>>,
    pub fenced: bool,
    pub spread: Option<watch::Receiver<spread::rounds::Standing>>,
}

/// One virtual router.
pub(crate) struct Known {
    pub settings: VirtualRouter,
    pub vitals: Arc<Vitals>,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    standing: Option<Standing>,
    fault: Option<String>,
    transitions: VecDeque<Transition>,
    transitions_total: u64,
    problems: VecDeque<Problem>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Transition {
    pub at: String,
    pub from: &'static str,
    pub to: &'static str,
    pub cause: String,
}

struct Problem {
    what: String,
    count: u64,
    last: Instant,
    logged: Instant,
}

/// How a router stands, as it is told.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    pub vrid: u8,
    pub interface: String,
    pub addresses: Vec<String>,
    /// `active` (it holds the addresses), `backup`, `initialize`.
    pub state: &'static str,
    pub since: Option<String>,
    /// Why, in a sentence.
    pub cause: Option<String>,
    pub priority: u8,
    pub configured_priority: u8,
    /// Who holds the addresses, as far as this node knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heard: Option<Heard>,
    /// The store's last word: `granted`, `refused`, `unknown`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fence: Option<&'static str>,
    /// Why it takes no part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    pub advert_interval_ms: f64,
    pub expected_failover: Option<Failover>,
    /// How late it spoke (holding) or heard (listening).
    pub lateness: Jitter,
    pub transitions_total: u64,
    /// The last ones, the newest first.
    pub transitions: Vec<Transition>,
    pub problems: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Heard {
    pub from: IpAddr,
    pub priority: u8,
}

/// How long the addresses are without a holder.
#[derive(Debug, Serialize)]
pub(crate) struct Failover {
    pub stopped_ms: f64,
    pub died_typical_ms: f64,
    pub died_worst_ms: f64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Jitter {
    pub p99_ms: f64,
    pub max_ms: f64,
    pub heard_p99_ms: f64,
    pub heard_max_ms: f64,
}

impl Known {
    pub fn new(settings: VirtualRouter, vitals: Arc<Vitals>) -> Self {
        Self { settings, vitals, told: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().expect("nobody panics while holding what is told")
    }

    pub fn is_active(&self) -> bool {
        self.lock().standing.as_ref().is_some_and(|standing| standing.state == State::Active)
    }

    pub fn transitions_total(&self) -> u64 {
        self.lock().transitions_total
    }

    pub fn failover_worst(&self) -> Option<Duration> {
        self.lock().standing.as_ref().map(|standing| standing.failover_worst)
    }

    fn view(&self, node: &str) -> View {
        let told = self.lock();
        let Self { settings, vitals, .. } = self;
        let standing = told.standing.as_ref();
        let state = standing.map_or(State::Initialize, |standing| standing.state);
        let last = told.transitions.front();
        let refused_by = standing.and_then(|standing| match &standing.fence {
            Some(Fence::Refused { holder }) => Some(holder.clone()),
            _ => None,
        });
        let heard = standing.and_then(|standing| standing.heard);
        let holder = match state {
            State::Active => Some(node.to_owned()),
            State::Backup => refused_by.or(heard.map(|(from, _)| from.to_string())),
            State::Initialize => None,
        };
        let fresh = told.problems.iter().filter(|problem| problem.last.elapsed() < PROBLEM_AGE_MAX);
        View {
            vrid: settings.vrid,
            interface: settings.interface.clone(),
            addresses: settings.addresses.iter().map(|(address, prefix)| format!("{address}/{prefix}")).collect(),
            state: name(state),
            since: last.map(|transition| transition.at.clone()),
            cause: last.map(|transition| transition.cause.clone()),
            priority: standing.map_or(0, |standing| standing.priority),
            configured_priority: settings.priority,
            holder,
            heard: heard.map(|(from, priority)| Heard { from, priority }),
            fence: standing.and_then(|standing| standing.fence.as_ref()).map(|fence| match fence {
                Fence::Granted => "granted",
                Fence::Refused { .. } => "refused",
                Fence::Unknown => "unknown",
            }),
            fault: told.fault.clone(),
            advert_interval_ms: milliseconds(settings.advert_interval),
            expected_failover: standing.map(|standing| Failover {
                stopped_ms: milliseconds(standing.failover_orderly),
                died_typical_ms: milliseconds(standing.failover_typical),
                died_worst_ms: milliseconds(standing.failover_worst),
            }),
            lateness: Jitter {
                p99_ms: milliseconds(vitals.own_lateness.quantile(0.99)),
                max_ms: milliseconds(vitals.own_lateness.max()),
                heard_p99_ms: milliseconds(vitals.heard_lateness.quantile(0.99)),
                heard_max_ms: milliseconds(vitals.heard_lateness.max()),
            },
            transitions_total: told.transitions_total,
            transitions: told.transitions.iter().cloned().collect(),
            problems: fresh.map(|problem| format!("{} ({}×)", problem.what, problem.count)).collect(),
        }
    }
}

/// RFC 3339, to the millisecond.
fn now() -> String {
    format!("{:.3}", Timestamp::now())
}

fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

pub(crate) fn name(state: State) -> &'static str {
    match state {
        State::Initialize => "initialize",
        State::Backup => "backup",
        State::Active => "active",
    }
}

impl Status {
    /// Whether this node has an address now.
    pub fn holds(&self) -> bool {
        self.routers.iter().any(Known::is_active)
    }

    pub fn views(&self) -> Vec<View> {
        self.routers.iter().map(|known| known.view(&self.node)).collect()
    }

    /// Takes note of reports, and logs them, until both threads have ended.
    pub async fn record(self: Arc<Self>, mut reports: mpsc::Receiver<Report>) {
        while let Some(report) = reports.recv().await {
            self.note(report);
        }
    }

    fn note(&self, report: Report) {
        match report {
            Report::Transition { router, from, to, cause } => {
                let Some(known) = self.routers.get(router) else { return };
                let (from, to, cause) = (name(from), name(to), cause.to_string());
                tracing::info!(vrid = known.settings.vrid, from, to, cause, "the address");
                let mut told = known.lock();
                told.transitions_total += 1;
                told.transitions.truncate(TRANSITIONS_MAX - 1);
                told.transitions.push_front(Transition { at: now(), from, to, cause });
            }
            Report::Stay { router, state, cause } => {
                let Some(known) = self.routers.get(router) else { return };
                tracing::info!(vrid = known.settings.vrid, state = name(state), %cause, "the address stays");
                let mut told = known.lock();
                told.transitions.truncate(TRANSITIONS_MAX - 1);
                let (state, cause) = (name(state), cause.to_string());
                told.transitions.push_front(Transition { at: now(), from: state, to: state, cause });
            }
            Report::Standing { router, standing } => {
                let Some(known) = self.routers.get(router) else { return };
                known.lock().standing = Some(standing);
            }
            Report::Fault { router, fault } => {
                let Some(known) = self.routers.get(router) else { return };
                match &fault {
                    Some(fault) => tracing::warn!(vrid = known.settings.vrid, fault, "takes no part"),
                    None => tracing::info!(vrid = known.settings.vrid, "takes part"),
                }
                known.lock().fault = fault;
            }
            Report::Problem { router: Some(router), what } => {
                if let Some(known) = self.routers.get(router) {
                    known.problem(what);
                }
            }
            Report::Problem { router: None, what } => tracing::warn!(what, "the address"),
        }
    }
}

impl Known {
    fn problem(&self, what: String) {
        let (mut told, now) = (self.lock(), Instant::now());
        if let Some(known) = told.problems.iter_mut().find(|problem| problem.what == what) {
            known.count += 1;
            known.last = now;
            if now - known.logged >= PROBLEM_LOG_PAUSE {
                known.logged = now;
                tracing::warn!(vrid = self.settings.vrid, what, count = known.count, "the address");
            }
            return;
        }
        // Whoever forges packets makes as many different problems as he likes: only so many are told.
        told.problems.retain(|problem| now - problem.last < PROBLEM_AGE_MAX);
        if told.problems.len() >= PROBLEMS_MAX {
            return;
        }
        tracing::warn!(vrid = self.settings.vrid, what, "the address");
        told.problems.push_front(Problem { what, count: 1, last: now, logged: now });
    }
}
