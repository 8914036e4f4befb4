//! Which server of a route takes a request: the route's memory ([`Balancer`]), with the clock, the chance and the counts
//! that it asks for.
//!
//! One lock per route, held for one pass over its servers. The clock is read only for routes whose balancing has to do with
//! time, and answers are told only to those that learn from them.

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
}

impl Balancing {
    /// What was remembered of servers is kept. `requests` counts those that the route ever answered.
    pub fn new(route: &Route, before: Option<&Self>, requests: impl FnOnce() -> u64) -> Self {
        let budget = before
            .map_or_else(|| Arc::new(Mutex::new(RetryBudget::new(requests(), now()))), |before| before.budget.clone());
        let before = before.map(|before| lock(&before.balancer));
        let balancer = Balancer::new(&route.balance, &route.servers, before.as_deref(), now());
        Self { observes: balancer.observes(), balancer: Mutex::new(balancer), budget }
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
        let balance = &route.balance;
        let ask = Ask {
            now: if balance.is_timed() { now() } else { Duration::ZERO },
            random: chance(),
            key: balance.key(head),
            cookie: balance.cookie(head),
        };
        let standing = |position: usize| {
            let server = &*servers[position];
            match () {
                () if !may_be_asked(server) => Standing::Excluded,
                () if server.is_paused() => Standing::Failed,
                () if server.is_suspect() => Standing::Suspect,
                () => Standing::Good,
            }
        };
        lock(&self.balancer).pick(&ask, standing, |position| servers[position].in_flight())
    }

    /// A server answered, or failed, which counts as the status the client would see.
    pub fn observe(&self, position: usize, status: u16) {
        if self.observes {
            lock(&self.balancer).observe(position, status, now());
        }
    }

    /// Keeps the client at a server. Clients do not reach the edge over TLS.
    pub fn set_cookie(&self, position: usize) -> Option<SetCookie> {
        lock(&self.balancer).set_cookie(position, false)
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
