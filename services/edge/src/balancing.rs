//! Which server of a route takes a request: the route's memory ([`Balancer`]), with the clock, the chance, the counts and the
//! checks' verdicts ([`crate::health`]) that it asks for.
//!
//! One lock per route, held for one pass over its servers. The clock is read only for routes whose balancing has to do with
//! time, and answers are told only to those that learn from them.

use crate::health::{Checks, Verdict};
use crate::servers::{Server, lock, process_micros};
use routing::{Ask, Balancer, Picked, RequestHead, RetryBudget, Route, SetCookie, Standing};
use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Balancing {
    balancer: Mutex<Balancer>,
    observes: bool,
    /// Shared with the route's former and later selves; looked at only when something fails.
    budget: Arc<Mutex<RetryBudget>>,
    /// By the server's position; empty when the route asks for no checks.
    verdicts: Box<[Option<Arc<Verdict>>]>,
}

impl Balancing {
    /// What was remembered of servers is kept. `requests` counts those that the route ever answered.
    pub fn new(route: &Route, before: Option<&Self>, requests: impl FnOnce() -> u64, checks: &Checks) -> Self {
        let budget = before
            .map_or_else(|| Arc::new(Mutex::new(RetryBudget::new(requests(), now()))), |before| before.budget.clone());
        let before = before.map(|before| lock(&before.balancer));
        let balancer = Balancer::new(&route.balance, &route.servers, before.as_deref(), now());
        let verdicts = match route.balance.health() {
            Some(spec) => route.servers.iter().map(|server| checks.verdict(&server.url, spec)).collect(),
            None => Box::default(),
        };
        Self { observes: balancer.observes(), balancer: Mutex::new(balancer), budget, verdicts }
    }

    /// Takes a retry out of the route's budget, if there is one left.
    pub fn may_retry(&self, route: &Route, requests: u64) -> bool {
        lock(&self.budget).take(&route.balance.retry(), requests, now())
    }

    /// Of the route's servers one that may be asked, and rather one that did not fail a moment ago, on a machine that did
    /// not go silent.
    pub fn pick(
        &self,
        route: &Route,
        head: &RequestHead<'_>,
        servers: &[Arc<Server>],
        may_be_asked: impl Fn(&Server) -> bool,
    ) -> Option<Picked> {
        let mut balancer = lock(&self.balancer);
        self.pick_by(&mut balancer, route, head, servers, may_be_asked)
    }

    /// The server a request would be sent to now; it is nobody's turn for that.
    pub fn would_pick(&self, route: &Route, head: &RequestHead<'_>, servers: &[Arc<Server>]) -> Option<usize> {
        let mut balancer = lock(&self.balancer).clone();
        self.pick_by(&mut balancer, route, head, servers, |_| true).map(|picked| picked.position)
    }

    fn pick_by(
        &self,
        balancer: &mut Balancer,
        route: &Route,
        head: &RequestHead<'_>,
        servers: &[Arc<Server>],
        may_be_asked: impl Fn(&Server) -> bool,
    ) -> Option<Picked> {
        let balance = &route.balance;
        let ask = Ask {
            now: if balance.is_timed() { now() } else { Duration::ZERO },
            random: chance(),
            key: balance.key(head),
            cookie: balance.cookie(head),
        };
        let checks_count = self.checks_count(route);
        let standing = |position: usize| {
            let server = &*servers[position];
            match () {
                () if !may_be_asked(server) => Standing::Excluded,
                () if checks_count && self.is_down(position) => Standing::Excluded,
                () if server.is_paused() => Standing::Failed,
                () if server.is_suspect() => Standing::Suspect,
                () => Standing::Good,
            }
        };
        balancer.pick(&ask, standing, |position| servers[position].in_flight())
    }

    /// Whether those that are down by their checks are passed over: unless all are, for then it may as well be the check
    /// that is wrong.
    fn checks_count(&self, route: &Route) -> bool {
        let is_up = |(position, server): (usize, &routing::Server)| server.weight > 0 && !self.is_down(position);
        !self.verdicts.is_empty() && route.servers.iter().enumerate().any(is_up)
    }

    fn is_down(&self, position: usize) -> bool {
        matches!(self.verdicts.get(position), Some(Some(verdict)) if verdict.is_down())
    }

    /// How a server is, in words: what its checks and its requests say.
    pub fn state(&self, position: usize, server: &Server) -> String {
        let verdict = self.verdicts.get(position).and_then(Option::as_ref);
        match verdict {
            Some(verdict) if verdict.is_down() => verdict.text(),
            _ if lock(&self.balancer).is_ejected(position, now()) => {
                "ejected: it failed several times in a row".to_owned()
            }
            _ if server.is_paused() => "it failed a moment ago".to_owned(),
            _ if server.is_suspect() => "its machine went silent a moment ago".to_owned(),
            Some(verdict) => verdict.text(),
            None => "good".to_owned(),
        }
    }

    /// A server answered, or failed, which counts as the status the client would see.
    pub fn observe(&self, position: usize, status: u16) {
        if self.observes {
            lock(&self.balancer).observe(position, status, now());
        }
    }

    /// Keeps the client at a server.
    pub fn set_cookie(&self, position: usize, is_secure: bool) -> Option<SetCookie> {
        lock(&self.balancer).set_cookie(position, is_secure)
    }
}

fn now() -> Duration {
    Duration::from_micros(process_micros())
}

/// A random number (xorshift64*, Vigna), of a sequence of this thread's own.
fn chance() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(()) | 1);
    }
    let mut state = STATE.get();
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    STATE.set(state);
    state.wrapping_mul(0x2545_f491_4f6c_dd1d)
}
