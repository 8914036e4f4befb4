//! Stories without chance in them, for promises with a number.

use std::time::Duration;

use crate::Moment;

use super::node::{Node, Process};
use super::world::{NODES, World};

/// What became of a holder that was cut off in one direction.
pub(super) struct OneWay {
    pub(super) held_elsewhere: Duration,
    pub(super) let_go: Duration,
    pub(super) changes_after: usize,
}

impl World {
    /// The best router dies some time after everything has settled. How long the addresses are with nobody who runs.
    pub(super) fn gap_after_a_death(mut self) -> Duration {
        let until = Duration::from_secs(5) + self.random.between(Duration::ZERO..Duration::from_millis(200));
        self.calmly_until(until);
        assert!(self.nodes[NODES - 1].holds(self.now), "the best router holds");
        self.nodes[NODES - 1].process = Process::Dead;
        self.next_running_holder()
    }

    /// The second best router hears nothing from the best for ten seconds, which then dies. The most running holders at
    /// once until then, and the gap.
    pub(super) fn deaf_backup_then_death(mut self) -> (usize, Duration) {
        self.calmly_until(Duration::from_secs(5));
        self.links[NODES - 1][NODES - 2].cut = true;
        let mut most = 0;
        for step in 0..10_000 {
            self.calmly_until(Duration::from_millis(5_000 + step));
            most = most.max(self.running_holders().count());
        }
        self.nodes[NODES - 1].process = Process::Dead;
        (most, self.next_running_holder())
    }

    /// The best router is cut off in one direction: from the network, or the network from it. When another holds the
    /// addresses, when that one is alone, and how often the holder changes after all is mended.
    pub(super) fn one_way(mut self, cut: fn(&mut World, usize, bool)) -> OneWay {
        const BEST: usize = NODES - 1;
        self.calmly_until(Duration::from_secs(5));
        let cut_at = self.now;
        cut(&mut self, BEST, true);
        let mut held_elsewhere = None;
        while self.running_holders().any(|node| node.address == self.nodes[BEST].address) || held_elsewhere.is_none() {
            self.calmly_until(self.now + Duration::from_micros(500));
            let elsewhere = self.nodes[..BEST].iter().any(|node| node.holds(self.now));
            held_elsewhere = held_elsewhere.or(elsewhere.then_some(self.now - cut_at));
        }
        let let_go = self.now - cut_at;
        // Whoever resigns calls in both of the others.
        self.calmly_until(self.now + Duration::from_millis(200));
        for _ in 0..20_000 {
            self.calmly_until(self.now + Duration::from_millis(1));
            let holders = self.running_holders().count();
            assert_eq!(holders, 1, "one holder while the cut lasts: {:#?}", self.observer.history);
        }
        let changes = self.observer.transitions.len();
        cut(&mut self, BEST, false);
        self.calmly_until(self.now + Duration::from_secs(10));
        assert!(self.nodes[BEST].holds(self.now), "the best router holds again");
        let changes_after = self.observer.transitions.len() - changes;
        OneWay { held_elsewhere: held_elsewhere.unwrap_or(let_go), let_go, changes_after }
    }

    fn next_running_holder(&mut self) -> Duration {
        let died_at = self.now;
        while self.running_holders().next().is_none() {
            self.calmly_until(self.now + Duration::from_micros(500));
        }
        self.now - died_at
    }

    fn running_holders(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.runs() && node.holds(self.now))
    }

    fn calmly_until(&mut self, end: Moment) {
        if let Err(violation) = self.run_until(end) {
            panic!("{violation}");
        }
    }
}
