//! Which of a route's servers takes a request.
//!
//! A [`Balancer`] is a route's memory: whose turn it is, who came lately, who answers badly. An edge has one for each of its
//! threads, which [`Balancer::learn`] from one they share. It lives beside the routing table and is handed on by URL
//! whenever the route changes, so that a change of servers begins nothing anew (vulcand's
//! weights, meters and turns begin from zero on every scale event). Time, chance and what is in flight come in; a pick
//! allocates nothing.
//!
//! # A pick
//! 1. The sticky cookie names a server that may be asked: that one.
//! 2. A canary's share says which set of servers is asked first.
//! 3. Every server of the set gets the weight it has now: what the route says, while it is new a growing part of it
//!    (`slow_start`), multiplied by what it earned (`rebalance`); 0 when it must not be asked.
//! 4. The policy picks by these weights: `turns`, `load` or `rendezvous`.
//!
//! That is done first for servers in good standing (not ejected, not failed a moment ago), and for the others only when
//! there is none: a doubtful server is better than no answer.

mod copies;
mod ejection;
mod health;
mod key;
mod load;
mod rebalance;
mod rendezvous;
mod retry;
mod slow_start;
mod spec;
mod sticky;
mod turns;

pub use copies::{BufferSpec, MirrorSpec, MirrorTo};
pub use ejection::EjectionSpec;
pub use health::{Health, HealthKind, HealthSpec, HealthStanding, StatusRange};
pub use retry::{Ratio, RetryBudget, RetrySpec};
pub use spec::{Balance, BalanceError, BalanceSpec, CanarySpec, HashOn, Policy, StickySpec};
pub use sticky::SetCookie;

use crate::route::Server;
use ejection::Ejection;
use key::mixed;
use rebalance::Rebalance;
use slow_start::Joined;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use turns::Turns;

/// Parts of a weight: a server that grows has fewer than all of them.
const WEIGHT_PARTS: u64 = 256;
/// So that the weights of all servers a route may have can be added without overflow.
const WEIGHT_MAX: u64 = 1 << 48;

/// What a request shows to a balancer. Times count from any one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ask {
    pub now: Duration,
    pub random: u64,
    /// See [`Balance::key`].
    pub key: Option<u64>,
    /// See [`Balance::cookie`].
    pub cookie: Option<u64>,
}

/// How readily a server is asked, the readiest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    Good,
    /// There is reason to doubt it.
    Suspect,
    /// It failed a moment ago.
    Failed,
    /// Not at all.
    Excluded,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picked {
    pub position: usize,
    /// The client's cookie does not name this server, and should.
    pub sets_cookie: bool,
}

/// The memory of one route.
#[derive(Clone, Debug, Default)]
pub struct Balancer {
    balance: Balance,
    servers: Arc<[Server]>,
    /// Of the servers' URLs, if keys or cookies are compared with them.
    hashes: Box<[u64]>,
    /// The weights of one pick; 0: not to be picked.
    weights: Vec<u64>,
    turns: Turns,
    joined: Option<Joined>,
    ejection: Option<Ejection>,
    rebalance: Option<Rebalance>,
    /// Hundredths of a request that the canary has coming.
    canary_credit: u8,
}

impl Balancer {
    /// Positions are those of `servers`; who was known before keeps what is remembered of it.
    pub fn new(balance: &Balance, servers: impl Into<Arc<[Server]>>, before: Option<&Self>, now: Duration) -> Self {
        let servers = servers.into();
        let hash = |server: &Server| key::of(server.url.as_str().as_bytes());
        let hashes = if balance.compares_hashes() { servers.iter().map(hash).collect() } else { Box::default() };
        let known: HashMap<&str, usize> = before
            .map(|before| before.servers.iter().map(|server| server.url.as_str()).zip(0..).collect())
            .unwrap_or_default();
        let known: Vec<Option<usize>> = servers.iter().map(|server| known.get(server.url.as_str()).copied()).collect();
        let is_first = before.is_none_or(|before| before.servers.is_empty());
        Self {
            balance: balance.clone(),
            weights: vec![0; servers.len()],
            servers,
            hashes,
            turns: Turns::new(before.map(|before| &before.turns), &known),
            joined: balance
                .slow_start()
                .map(|_| Joined::new(before.and_then(|before| before.joined.as_ref()), &known, now, is_first)),
            ejection: balance
                .ejection()
                .map(|_| Ejection::new(before.and_then(|before| before.ejection.as_ref()), &known, now)),
            rebalance: balance
                .rebalances()
                .then(|| Rebalance::new(before.and_then(|before| before.rebalance.as_ref()), &known)),
            canary_credit: before.map_or(0, |before| before.canary_credit),
        }
    }

    /// The server for a request: none with a weight of 0, nor one that is excluded.
    pub fn pick(
        &mut self,
        ask: &Ask,
        standing: impl Fn(usize) -> Standing,
        in_flight: impl Fn(usize) -> u64,
    ) -> Option<Picked> {
        let is_sticky = self.balance.sticky().is_some();
        let canary_first = self.canary_is_due(ask);
        for level in [Standing::Good, Standing::Suspect, Standing::Failed] {
            if let Some(position) = ask.cookie.filter(|_| is_sticky).and_then(|cookie| self.position_of(cookie))
                && self.standing(position, ask.now, &standing) <= level
            {
                return Some(Picked { position, sets_cookie: false });
            }
            for is_canary in [canary_first, !canary_first] {
                if self.weigh(ask.now, level, is_canary, &standing) {
                    let position = self.pick_by_weight(ask, &in_flight);
                    return position.map(|position| Picked { position, sets_cookie: is_sticky });
                }
            }
        }
        None
    }

    /// Whether a server is left alone since it failed too often.
    pub fn is_ejected(&self, position: usize, now: Duration) -> bool {
        self.ejection.as_ref().is_some_and(|ejection| ejection.is_ejected(position, now))
    }

    /// Whether [`Balancer::observe`] changes anything.
    pub fn observes(&self) -> bool {
        self.ejection.is_some() || self.rebalance.is_some()
    }

    /// Whether an answer with this status counts against its server; one that gives none counts as the status the client
    /// would see (502, 504).
    pub fn is_failure(status: u16) -> bool {
        FAILURES.contains(&status)
    }

    /// A server answered so many requests, or failed them; whether picks change by that.
    pub fn observe(&mut self, position: usize, is_failure: bool, count: u32, now: Duration) -> bool {
        let mut changes = false;
        if let Some((ejection, spec)) = self.ejection.as_mut().zip(self.balance.ejection()) {
            changes |= ejection.observe(spec, position, is_failure, now);
        }
        if let Some(rebalance) = &mut self.rebalance {
            let takes_part = |position: usize| self.servers[position].weight > 0;
            changes |= rebalance.observe(position, is_failure, count, now, takes_part);
        }
        changes
    }

    /// Takes over what another memory of the same servers has observed.
    pub fn learn(&mut self, from: &Self) {
        self.ejection.clone_from(&from.ejection);
        self.rebalance.clone_from(&from.rebalance);
    }

    /// Begins as if so many requests had come already.
    pub fn skip_turns(&mut self, count: usize) {
        let weight = |server: &Server| if server.is_canary { 0 } else { u64::from(server.weight) * WEIGHT_PARTS };
        let weights: Vec<u64> = self.servers.iter().map(weight).collect();
        for _ in 0..count {
            self.turns.pick(&weights);
        }
    }

    /// How many there are.
    pub fn servers(&self) -> usize {
        self.servers.len()
    }

    /// The value of the cookie that keeps a client at a server.
    pub fn set_cookie(&self, position: usize, is_secure: bool) -> Option<SetCookie> {
        Some(SetCookie::new(self.balance.sticky()?, *self.hashes.get(position)?, is_secure))
    }

    /// The server a cookie names, if it may be picked at all.
    fn position_of(&self, cookie: u64) -> Option<usize> {
        let position = self.hashes.iter().position(|hash| *hash == cookie)?;
        let server = &self.servers[position];
        (server.weight > 0 && !(server.is_canary && self.balance.canary_percent() == 0)).then_some(position)
    }

    /// Whether the canary's servers are asked first. A key stays in its set, so that a client does.
    fn canary_is_due(&mut self, ask: &Ask) -> bool {
        let percent = self.balance.canary_percent();
        if percent == 0 {
            return false;
        }
        if let Some(key) = ask.key {
            return mixed(key) % 100 < u64::from(percent);
        }
        self.canary_credit += percent;
        let is_due = self.canary_credit >= 100;
        if is_due {
            self.canary_credit -= 100;
        }
        is_due
    }

    fn standing(&self, position: usize, now: Duration, standing: impl Fn(usize) -> Standing) -> Standing {
        standing(position).max(if self.is_ejected(position, now) { Standing::Suspect } else { Standing::Good })
    }

    /// Weighs the servers of one set, those of at least this standing; whether there are any.
    fn weigh(&mut self, now: Duration, level: Standing, is_canary: bool, standing: impl Fn(usize) -> Standing) -> bool {
        if is_canary && self.balance.canary_percent() == 0 {
            return false;
        }
        let mut any = false;
        for position in 0..self.servers.len() {
            let server = &self.servers[position];
            let is_in =
                server.is_canary == is_canary && server.weight > 0 && self.standing(position, now, &standing) <= level;
            let weight = if is_in { self.weight(position, now) } else { 0 };
            self.weights[position] = weight;
            any |= weight > 0;
        }
        any
    }

    fn weight(&self, position: usize, now: Duration) -> u64 {
        let parts = match self.joined.as_ref().zip(self.balance.slow_start()) {
            Some((joined, length)) => {
                let returned = self.ejection.as_ref().and_then(|ejection| ejection.returned(position, now));
                joined.parts(position, returned, length, now)
            }
            None => WEIGHT_PARTS,
        };
        let earned = self.rebalance.as_ref().map_or(1, |rebalance| rebalance.factor(position));
        (u64::from(self.servers[position].weight) * parts * earned).min(WEIGHT_MAX)
    }

    fn pick_by_weight(&mut self, ask: &Ask, in_flight: impl Fn(usize) -> u64) -> Option<usize> {
        let weights = &mut self.weights;
        match (self.balance.policy(), ask.key) {
            (Policy::WeightedRoundRobin, _) | (Policy::Hash, None) => self.turns.pick(weights),
            (Policy::LeastConnections, _) => {
                load::keep_least_loaded(weights, in_flight);
                self.turns.pick(weights)
            }
            (Policy::TwoChoices, _) => load::better_of_two(weights, in_flight, ask.random),
            (Policy::Hash, Some(key)) => {
                let hash = |position: usize| self.hashes[position];
                rendezvous::pick(key, hash, weights, in_flight, self.balance.load_percent_max())
            }
        }
    }
}

/// What counts against a server (vulcand's rebalancer counts these).
const FAILURES: std::ops::RangeInclusive<u16> = 500..=504;

const _: () = assert!(WEIGHT_MAX as u128 * (crate::document::SERVERS_MAX as u128) < i64::MAX as u128);
const _: () = assert!(u32::MAX as u64 * WEIGHT_PARTS < WEIGHT_MAX);

#[cfg(test)]
mod tests;
