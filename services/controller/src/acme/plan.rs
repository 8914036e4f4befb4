//! What is to be done about certificates at a moment: decided from what is wanted, what is held and what was tried. Pure.
//!
//! One order at a time, and no more of them than the largest authority allows; a name that fails waits twice as long after
//! each time. A certificate is renewed after two thirds of its life. One whose name nobody wants any more serves until it
//! ends: the app may come back, and asking again costs more than keeping it.

use super::record::OrderRecord;
use model::Timestamp;
use routing::certificate::CertificateIssuer;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// After the first failure…
const BACKOFF_MIN: Duration = Duration::from_secs(60);
/// …and after many: Let's Encrypt takes five failures of one name per hour, later one in twelve minutes.
const BACKOFF_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Orders within [`ORDERS_WINDOW`]: Let's Encrypt takes 300 of one account.
pub(super) const ORDERS_MAX: usize = 250;
pub(super) const ORDERS_WINDOW: Duration = Duration::from_secs(3 * 60 * 60);

/// What the planner must know of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub names: Vec<String>,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    pub issuer: CertificateIssuer,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Ask for a certificate, or go on with what was begun.
    Order(String),
    /// Delete a certificate that has ended and is not wanted.
    Drop(String),
    /// Forget what was tried for a name that is not wanted.
    Forget(String),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub actions: Vec<Action>,
    /// Nothing more is to be done before, unless something else changes.
    pub look_at: Option<Timestamp>,
}

/// `certificates` by id, `orders` by name.
pub(crate) fn plan(
    now: Timestamp,
    wanted: &BTreeSet<String>,
    certificates: &BTreeMap<String, Held>,
    orders: &BTreeMap<String, OrderRecord>,
) -> Plan {
    let mut plan = Plan::default();
    for name in orders.keys().filter(|name| !wanted.contains(*name)) {
        plan.actions.push(Action::Forget(name.clone()));
    }
    for (id, held) in certificates.iter().filter(|(_, held)| held.issuer == CertificateIssuer::Acme) {
        if held.names.iter().any(|name| wanted.contains(name)) {
            continue;
        }
        match held.not_after <= now {
            true => plan.actions.push(Action::Drop(id.clone())),
            false => plan.look_again(held.not_after),
        }
    }
    // What was begun goes first, then whoever has nothing, then whoever has the least time left.
    let mut due: Vec<((bool, Timestamp), &String)> = Vec::new();
    for name in wanted {
        let order = orders.get(name);
        let good_until = good_until(name, certificates, now);
        let asks = order.is_some_and(|order| order.under_way.is_some() || order.renews);
        let begins_at = match (asks, good_until) {
            (true, _) | (_, None) => Timestamp::EPOCH,
            (false, Some((renew_at, _))) => renew_at,
        };
        let at = begins_at.max(order.and_then(OrderRecord::waits_until).unwrap_or(Timestamp::EPOCH));
        if at > now {
            plan.look_again(at);
            continue;
        }
        let is_begun = order.is_some_and(|order| order.under_way.is_some());
        due.push(((!is_begun, good_until.map_or(Timestamp::EPOCH, |(_, end)| end)), name));
    }
    if let Some((_, name)) = due.into_iter().min() {
        match room_at(now, orders) {
            None => plan.actions.push(Action::Order(name.clone())),
            Some(at) => plan.look_again(at),
        }
    }
    plan
}

impl Plan {
    fn look_again(&mut self, at: Timestamp) {
        self.look_at = Some(self.look_at.map_or(at, |before| before.min(at)));
    }
}

/// When what the name has is renewed, and when it ends; `None` when it has nothing that is good now. A certificate that a
/// person gave is as good as one that was asked for.
fn good_until(name: &str, certificates: &BTreeMap<String, Held>, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
    let good = certificates.values().filter(|held| held.not_after > now && held.names.iter().any(|one| one == name));
    good.map(|held| (renew_at(held), held.not_after)).max()
}

/// After two thirds of its life.
pub(crate) fn renew_at(held: &Held) -> Timestamp {
    let life = held.not_after.since(held.not_before);
    held.not_before.after(life / 3 * 2)
}

/// When a name that failed so often is tried again.
pub(super) fn backoff(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    (BACKOFF_MIN * 2u32.pow(doublings)).min(BACKOFF_MAX)
}

/// `None`: there is room for one more order.
fn room_at(now: Timestamp, orders: &BTreeMap<String, OrderRecord>) -> Option<Timestamp> {
    let since = now.before(ORDERS_WINDOW);
    let tried = orders.values().flat_map(|order| &order.tried_at).copied();
    let mut recent: Vec<Timestamp> = tried.filter(|at| *at > since && *at <= now).collect();
    if recent.len() < ORDERS_MAX {
        return None;
    }
    recent.sort_unstable();
    Some(recent[recent.len() - ORDERS_MAX].after(ORDERS_WINDOW))
}

#[cfg(test)]
mod tests;
