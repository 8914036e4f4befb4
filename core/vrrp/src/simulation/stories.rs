//! Two stories without chance in them, for promises with a number.

use std::time::Duration;

use crate::Moment;

use super::node::{Node, Process};
use super::world::{NODES, World};

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
