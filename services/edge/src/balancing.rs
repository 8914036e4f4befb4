//! Which server of a route takes a request: the route's memory ([`Balancer`]), with the clock, the chance, the counts and the
//! checks' verdicts ([`crate::health`]) that it asks for.
//!
//! Each thread has a memory of its own, so that none waits for another: turns are exact on each, and begin one server further
//! on the next, so that they are nearly so over all. What is in flight is counted over all threads anyway. What is learned
//! from answers (`ejection`, `rebalance`) belongs to all: a thread tells its successes once a second and failures at once,
//! and takes over what was learned when that has changed.
//!
//! The clock is read only for routes whose balancing has to do with time or answers.

use crate::health::{Check, Checks, Verdict};
use crate::per_thread::{self, PerThread};
use crate::servers::{Server, lock, process_micros};
use routing::{Ask, Balancer, Picked, RequestHead, RetryBudget, Route, ServerUrl, SetCookie, Standing};
use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Balancing {
    /// What a thread begins with.
    beginning: Balancer,
    seats: PerThread<Mutex<Option<Seat>>>,
    /// `None`: answers teach nothing.
    learned: Option<Learned>,
    /// Shared with the route's former and later selves; looked at only when something fails.
    budget: Arc<Mutex<RetryBudget>>,
    /// By the server's position; empty when the route asks for no checks.
    verdicts: Box<[Option<Arc<Verdict>>]>,
}

/// One thread's memory of a route.
#[derive(Debug)]
struct Seat {
    balancer: Balancer,
    /// Of [`Learned`], when it was last taken over.
    lesson: u64,
    /// Successes that were not told yet, by server, and the second in which some were last.
    successes: Vec<u32>,
    told_second: u64,
}

/// What all threads have learned.
#[derive(Debug)]
struct Learned {
    balancer: Mutex<Balancer>,
    /// Raised when picks are to change.
    lesson: AtomicU64,
}

impl Seat {
    fn new(balancer: Balancer) -> Self {
        let successes = vec![0; balancer.servers()];
        Self { balancer, lesson: 0, successes, told_second: 0 }
    }
}

impl Balancing {
    /// What was remembered of servers is kept. `requests` counts those that the route ever answered.
    pub fn new(route: &Route, before: Option<&Self>, requests: impl FnOnce() -> u64, checks: &Checks) -> Self {
        let now = now();
        let after = |before: Option<&Balancer>| Balancer::new(&route.balance, route.servers.clone(), before, now);
        let beginning = after(before.map(|before| &before.beginning));
        let seats = PerThread::<Mutex<Option<Seat>>>::default();
        for (index, seat) in before.iter().flat_map(|before| before.seats.each()) {
            if let Some(seat) = &*lock(seat) {
                *lock(seats.of(index)) = Some(Seat::new(after(Some(&seat.balancer))));
            }
        }
        let learned = beginning.observes().then(|| {
            let before = before.and_then(|before| before.learned.as_ref()).map(|learned| lock(&learned.balancer));
            Learned { balancer: Mutex::new(after(before.as_deref())), lesson: AtomicU64::new(1) }
        });
        let budget = match before {
            Some(before) => before.budget.clone(),
            None => Arc::new(Mutex::new(RetryBudget::new(requests(), now))),
        };
        let verdicts = match route.balance.health() {
            Some(spec) => {
                let check =
                    |url: &ServerUrl| Check { url: url.clone(), spec: spec.clone(), send_proxy: route.send_proxy };
                route.servers.iter().map(|server| checks.verdict(check(&server.url))).collect()
            }
            None => Box::default(),
        };
        Self { beginning, seats, learned, budget, verdicts }
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
        self.seated(|seat| self.pick_by(&mut seat.balancer, route, head, servers, may_be_asked))
    }

    /// The server a request would be sent to now, by each thread that it may come to; it is nobody's turn for that.
    pub fn would_pick(&self, route: &Route, head: &RequestHead<'_>, servers: &[Arc<Server>]) -> Vec<Option<usize>> {
        let pick = |thread| {
            let mut balancer = self.seated_at(thread, |seat| seat.balancer.clone());
            self.pick_by(&mut balancer, route, head, servers, |_| true).map(|picked| picked.position)
        };
        (0..per_thread::threads()).map(pick).collect()
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

    /// This thread's memory, with what all have learned.
    fn seated<R>(&self, with: impl FnOnce(&mut Seat) -> R) -> R {
        self.seated_at(per_thread::index(), with)
    }

    fn seated_at<R>(&self, thread: usize, with: impl FnOnce(&mut Seat) -> R) -> R {
        let seat = &mut *lock(self.seats.of(thread));
        let seat = seat.get_or_insert_with(|| {
            let mut balancer = self.beginning.clone();
            balancer.skip_turns(thread);
            Seat::new(balancer)
        });
        if let Some(learned) = &self.learned {
            let lesson = learned.lesson.load(Relaxed);
            if lesson != seat.lesson {
                seat.balancer.learn(&lock(&learned.balancer));
                seat.lesson = lesson;
            }
        }
        with(seat)
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
        let is_ejected =
            || self.learned.as_ref().is_some_and(|learned| lock(&learned.balancer).is_ejected(position, now()));
        match verdict {
            Some(verdict) if verdict.is_down() => verdict.text(),
            _ if is_ejected() => "ejected: it failed several times in a row".to_owned(),
            _ if server.is_paused() => "it failed a moment ago".to_owned(),
            _ if server.is_suspect() => "its machine went silent a moment ago".to_owned(),
            Some(verdict) => verdict.text(),
            None => "good".to_owned(),
        }
    }

    /// A server answered, or failed, which counts as the status the client would see.
    pub fn observe(&self, position: usize, status: u16) {
        let Some(learned) = &self.learned else { return };
        let now = now();
        self.seated(|seat| {
            let is_failure = Balancer::is_failure(status);
            seat.successes[position] += u32::from(!is_failure);
            if !is_failure && seat.told_second == now.as_secs() {
                return;
            }
            seat.told_second = now.as_secs();
            let balancer = &mut *lock(&learned.balancer);
            let mut changes = false;
            for (position, count) in seat.successes.iter_mut().enumerate().filter(|(_, count)| **count > 0) {
                changes |= balancer.observe(position, false, mem::take(count), now);
            }
            changes |= is_failure && balancer.observe(position, true, 1, now);
            if changes {
                learned.lesson.fetch_add(1, Relaxed);
            }
        });
    }

    /// Keeps the client at a server.
    pub fn set_cookie(&self, position: usize, is_secure: bool) -> Option<SetCookie> {
        self.beginning.set_cookie(position, is_secure)
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

#[cfg(test)]
mod tests;
