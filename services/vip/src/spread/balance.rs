//! When an address moves: the decisions of one node, without a clock and without a store.
//!
//! A node that the plan gives an address *asks* for it when the plan has said so for [`Balance::after`] without a break, and
//! only while it hears the holder: else it would not hear it resign. The holder gives what it is asked for when its own plan
//! agrees, when it has held the address for as long, and when its last gift is as long ago. So a node that comes and goes
//! faster than that moves nothing, and no address moves twice within that time.

use super::plan::plan;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use vrrp::Moment;

/// What one node sees, at one moment. Addresses go by their record's key.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// Who holds each address, by the store's word.
    pub holders: BTreeMap<String, String>,
    /// The nodes that are ready, and what each asks for.
    pub ready: BTreeMap<String, BTreeSet<String>>,
    /// The addresses whose holder this node hears.
    pub heard: BTreeSet<String>,
}

impl View {
    /// Whether a node that is ready asks for an address.
    pub fn is_asked_by(&self, node: &str, key: &str) -> bool {
        self.ready.get(node).is_some_and(|asks| asks.contains(key))
    }
}

/// What to do about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Decision {
    /// To ask for, until the next decision.
    pub asks: BTreeSet<String>,
    /// To hand over now, and to whom.
    pub gives: Vec<(String, String)>,
}

pub(crate) struct Balance {
    node: String,
    addresses: usize,
    after: Duration,
    /// What the plan gives this node, from whom, and since when.
    wanted: BTreeMap<String, (String, Moment)>,
    /// What this node holds, since when.
    held: BTreeMap<String, Moment>,
    gave_at: Option<Moment>,
}

impl Balance {
    pub fn new(node: String, addresses: usize, after: Duration) -> Self {
        Self { node, addresses, after, wanted: BTreeMap::new(), held: BTreeMap::new(), gave_at: None }
    }

    /// `None`: nobody can say how it stands. Then all patience begins anew.
    pub fn decide(&mut self, now: Moment, view: Option<&View>) -> Decision {
        let Some(view) = view else {
            self.wanted.clear();
            return Decision::default();
        };
        self.held.retain(|key, _| view.holders.get(key) == Some(&self.node));
        for (key, _) in view.holders.iter().filter(|(_, holder)| **holder == self.node) {
            self.held.entry(key.clone()).or_insert(now);
        }
        // An address without a holder is about to have one: who, decides where the others go.
        let settled = view.holders.len() == self.addresses;
        let moves = if settled { plan(&view.holders, &view.ready.keys().cloned().collect()) } else { Vec::new() };
        let (mut wanted, mut gives) = (BTreeMap::new(), Vec::new());
        for one in moves {
            if one.to == self.node {
                let before = self.wanted.get(&one.key).filter(|(from, _)| *from == one.from);
                let since = before.map_or(now, |(_, since)| *since);
                wanted.insert(one.key, (one.from, since));
            } else if one.from == self.node && view.is_asked_by(&one.to, &one.key) {
                gives.push((one.key, one.to));
            }
        }
        self.wanted = wanted;
        let patient = |since: Moment| now.saturating_sub(since) >= self.after;
        gives.retain(|(key, _)| self.held.get(key).is_some_and(|since| patient(*since)));
        if !self.gave_at.is_none_or(patient) {
            gives.clear();
        }
        let asks = self.wanted.iter().filter(|(key, (_, since))| patient(*since) && view.heard.contains(*key));
        let asks = asks.map(|(key, _)| key.clone()).collect();
        if !gives.is_empty() {
            self.gave_at = Some(now);
        }
        Decision { asks, gives }
    }
}

#[cfg(test)]
mod tests;
