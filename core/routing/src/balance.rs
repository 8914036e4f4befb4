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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ServerUrl;
    use proptest::prelude::*;

    fn servers(weights: &[u32]) -> Vec<Server> {
        let server = |(port, weight): (usize, &u32)| Server {
            id: port.to_string(),
            url: ServerUrl::parse(&format!("http://a:{}", port + 1)).unwrap(),
            weight: *weight,
        };
        weights.iter().enumerate().map(server).collect()
    }

    fn counts(balancer: &mut WeightedRoundRobin, picks: u32, length: usize) -> Vec<u32> {
        let mut counts = vec![0; length];
        for _ in 0..picks {
            counts[balancer.pick(|_| true).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn turns_are_smooth() {
        let mut balancer = WeightedRoundRobin::new(&servers(&[5, 1, 1]), None);
        let order: Vec<_> = (0..7).map(|_| balancer.pick(|_| true).unwrap()).collect();
        assert_eq!(order, [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn nobody_is_picked_from_nothing() {
        assert_eq!(WeightedRoundRobin::default().pick(|_| true), None);
        let mut balancer = WeightedRoundRobin::new(&servers(&[0, 1]), None);
        assert_eq!(balancer.pick(|position| position == 0), None);
        assert_eq!(balancer.pick(|_| true), Some(1));
    }

    #[test]
    fn turns_survive_a_change_of_servers() {
        let all = servers(&[1, 1, 1]);
        let mut balancer = WeightedRoundRobin::new(&all, None);
        assert_eq!(balancer.pick(|_| true), Some(0));
        // The last server leaves; it is still the second one's turn, not the first's again.
        let mut balancer = WeightedRoundRobin::new(&all[..2], Some(&balancer));
        assert_eq!(balancer.pick(|_| true), Some(1));
    }

    proptest! {
        #[test]
        fn a_full_round_is_proportional(weights in proptest::collection::vec(0u32..20, 1..12)) {
            let total: u32 = weights.iter().sum();
            prop_assume!(total > 0);
            let mut balancer = WeightedRoundRobin::new(&servers(&weights), None);
            prop_assert_eq!(counts(&mut balancer, total, weights.len()), weights);
        }

        #[test]
        fn shares_stay_near_after_any_changes(
            changes in proptest::collection::vec(proptest::collection::vec(1u32..5, 1..8), 1..10),
            picks in 0u32..50,
        ) {
            let mut balancer = WeightedRoundRobin::default();
            for weights in &changes {
                balancer = WeightedRoundRobin::new(&servers(weights), Some(&balancer));
                counts(&mut balancer, picks, weights.len());
            }
            let weights = changes.last().unwrap();
            let total: u32 = weights.iter().sum();
            let rounds = 10;
            let found = counts(&mut balancer, total * rounds, weights.len());
            for (found, weight) in found.iter().zip(weights) {
                let expected = i64::from(weight * rounds);
                // Credits left over from other weights are worth at most a few rounds.
                prop_assert!((i64::from(*found) - expected).abs() <= i64::from(total) * 2, "{found} of {expected}");
            }
        }
    }
}
