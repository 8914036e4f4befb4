//! Smooth weighted round robin (nginx's): of the servers that may be picked, each gains its weight, the richest is picked
//! and pays what all of them gained. Over a full round each is picked exactly as often as its weight says, never in bursts.
//!
//! The state lives beside the routing table, one per route, and is handed on by URL whenever the servers change, so that a
//! change does not begin a new round (vulcand's begins from zero on every scale event).

use crate::route::Server;
use std::collections::HashMap;

#[derive(Clone, Debug, Default)]
pub struct WeightedRoundRobin {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    url: String,
    weight: i64,
    credit: i64,
}

impl WeightedRoundRobin {
    /// Positions are those of `servers`; who was known before keeps its credit.
    pub fn new(servers: &[Server], before: Option<&Self>) -> Self {
        let known: HashMap<&str, i64> = before
            .map(|before| before.entries.iter().map(|entry| (entry.url.as_str(), entry.credit)).collect())
            .unwrap_or_default();
        let kept: Vec<i64> = servers.iter().filter_map(|server| known.get(server.url.as_str()).copied()).collect();
        // Who left took credit along; without levelling, newcomers (who begin at 0) would wait or rush.
        let mean = if kept.is_empty() { 0 } else { kept.iter().sum::<i64>() / kept.len() as i64 };
        let entry = |server: &Server| {
            let credit = known.get(server.url.as_str()).map_or(0, |credit| credit - mean);
            Entry { url: server.url.as_str().to_owned(), weight: i64::from(server.weight), credit }
        };
        Self { entries: servers.iter().map(entry).collect() }
    }

    /// The position of the next server among those admitted; a weight of 0 is never picked.
    pub fn pick(&mut self, admit: impl Fn(usize) -> bool) -> Option<usize> {
        let mut gained = 0;
        let mut richest: Option<usize> = None;
        for position in 0..self.entries.len() {
            let entry = &mut self.entries[position];
            if entry.weight == 0 || !admit(position) {
                continue;
            }
            entry.credit += entry.weight;
            gained += entry.weight;
            let credit = entry.credit;
            if richest.is_none_or(|richest| credit > self.entries[richest].credit) {
                richest = Some(position);
            }
        }
        let position = richest?;
        self.entries[position].credit -= gained;
        Some(position)
    }
}
