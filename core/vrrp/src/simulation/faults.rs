//! What goes wrong, and for how long.

use std::time::Duration;

use super::random::Random;
use super::world::NODES;

#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    /// SIGSTOP, or a machine that is starved.
    Pause(usize),
    /// `kill -9`.
    Kill(usize),
    /// An orderly stop.
    Stop(usize),
    /// One direction carries nothing.
    Cut { from: usize, to: usize },
    /// One direction loses packets.
    Loss { from: usize, to: usize, percent: u64 },
    /// No network at all.
    Isolate(usize),
    /// The store cannot be asked.
    StoreAway(usize),
    /// Health takes priority away; at 0 all of it.
    Health { node: usize, priority: u8 },
}

impl Fault {
    pub(super) fn random(random: &mut Random) -> Fault {
        let node = random.below(NODES);
        let to = (node + 1 + random.below(NODES - 1)) % NODES;
        match random.below(16) {
            0..=4 => Fault::Pause(node),
            5 => Fault::Kill(node),
            6 => Fault::Stop(node),
            7..=9 => Fault::Cut { from: node, to },
            10 | 11 => Fault::Loss { from: node, to, percent: 30 + 10 * random.below(6) as u64 },
            12 => Fault::Isolate(node),
            13 | 14 => Fault::StoreAway(node),
            _ => Fault::Health { node, priority: [0, 50, 110][random.below(3)] },
        }
    }

    pub(super) fn duration(self, random: &mut Random) -> Duration {
        let longest = match self {
            Fault::Pause(_) => Duration::from_secs(3),
            _ => Duration::from_secs(8),
        };
        random.between(Duration::from_millis(20)..longest)
    }
}

/// Time from the beginning of one fault to that of the next: they overlap.
pub(super) fn next_fault_in(random: &mut Random) -> Duration {
    random.between(Duration::from_millis(50)..Duration::from_millis(2_500))
}
