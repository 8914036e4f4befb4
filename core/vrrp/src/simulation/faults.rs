//! What goes wrong, and for how long.

use std::time::Duration;

use crate::Event;

use super::node::{Process, Waiting};
use super::random::Random;
use super::world::{FAULTS_FOR, Happening, NODES, World};

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
    /// Nothing comes in; what goes out arrives. The store's answers do not come in, either.
    Deaf(usize),
    /// Nothing that goes out arrives; everything comes in. The store does not hear the questions.
    Mute(usize),
    /// The store cannot be asked.
    StoreAway(usize),
    /// Nothing is wrong: a holder is asked to hand over.
    HandOver(usize),
    /// Health takes priority away; at 0 all of it.
    Health { node: usize, priority: u8 },
}

impl Fault {
    pub(super) fn random(random: &mut Random) -> Fault {
        let node = random.below(NODES);
        let to = (node + 1 + random.below(NODES - 1)) % NODES;
        match random.below(20) {
            0..=4 => Fault::Pause(node),
            5 => Fault::Kill(node),
            6 => Fault::Stop(node),
            7..=9 => Fault::Cut { from: node, to },
            10 | 11 => Fault::Loss { from: node, to, percent: 30 + 10 * random.below(6) as u64 },
            12 => Fault::Isolate(node),
            13 | 14 => Fault::StoreAway(node),
            15 | 16 => Fault::Deaf(node),
            17 => Fault::Mute(node),
            18 => Fault::HandOver(node),
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
fn next_fault_in(random: &mut Random) -> Duration {
    random.between(Duration::from_millis(50)..Duration::from_millis(2_500))
}

impl World {
    pub(super) fn fault_begins(&mut self) {
        let fault = Fault::random(&mut self.random);
        let duration = fault.duration(&mut self.random);
        if self.now + duration < FAULTS_FOR && self.begin(fault) {
            self.observer.note(self.now, format_args!("{fault:?} for {duration:?}"));
            self.after(duration, Happening::FaultEnds(fault));
        }
        if self.now < FAULTS_FOR {
            let next = next_fault_in(&mut self.random);
            self.after(next, Happening::FaultBegins);
        }
    }

    /// False if the thing is broken already.
    fn begin(&mut self, fault: Fault) -> bool {
        match fault {
            Fault::Pause(node) | Fault::Kill(node) | Fault::Stop(node) if !self.nodes[node].runs() => return false,
            Fault::Pause(node) => self.nodes[node].process = Process::Paused,
            Fault::Kill(node) => self.nodes[node].process = Process::Dead,
            Fault::Stop(node) => {
                self.tell(node, |now| Event::Stop { now });
                self.nodes[node].process = Process::Dead;
            }
            Fault::Cut { from, to } => self.links[from][to].cut = true,
            Fault::Loss { from, to, percent } => self.links[from][to].loss_percent = percent,
            Fault::Isolate(node) => {
                self.nodes[node].reaches_store = false;
                self.cut_incoming(node, true);
                self.cut_outgoing(node, true);
            }
            Fault::StoreAway(node) => self.nodes[node].reaches_store = false,
            Fault::Deaf(node) => self.deafen(node, true),
            Fault::Mute(node) => self.mute(node, true),
            Fault::HandOver(node) if !self.nodes[node].runs() => return false,
            Fault::HandOver(node) => {
                self.tell(node, |now| Event::HandOver { now, to: "another".to_owned() });
            }
            Fault::Health { node, .. } if !self.nodes[node].runs() => return false,
            Fault::Health { node, priority } => self.tell(node, |now| Event::PriorityChanged { now, priority }),
        }
        true
    }

    pub(super) fn fault_ends(&mut self, fault: Fault) {
        self.observer.note(self.now, format_args!("{fault:?} is over"));
        match fault {
            Fault::Pause(node) => self.wake(node),
            Fault::Kill(node) | Fault::Stop(node) => {
                self.nodes[node].reborn(node, self.setup);
                self.tell(node, |now| Event::Start { now });
            }
            Fault::Cut { from, to } => self.links[from][to].cut = false,
            Fault::Loss { from, to, .. } => self.links[from][to].loss_percent = 0,
            Fault::Isolate(node) => {
                self.nodes[node].reaches_store = true;
                self.cut_incoming(node, false);
                self.cut_outgoing(node, false);
            }
            Fault::StoreAway(node) => self.nodes[node].reaches_store = true,
            Fault::Deaf(node) => self.deafen(node, false),
            Fault::Mute(node) => self.mute(node, false),
            Fault::HandOver(_) => {}
            Fault::Health { node, .. } => {
                let priority = self.nodes[node].router.config().priority;
                if self.nodes[node].runs() {
                    self.tell(node, |now| Event::PriorityChanged { now, priority });
                } else {
                    // Paused or dead: what it should learn waits until it can.
                    self.after(Duration::from_millis(100), Happening::FaultEnds(fault));
                }
            }
        }
    }

    pub(super) fn deafen(&mut self, node: usize, cut: bool) {
        self.nodes[node].reaches_store = !cut;
        self.cut_incoming(node, cut);
    }

    pub(super) fn mute(&mut self, node: usize, cut: bool) {
        self.nodes[node].reaches_store = !cut;
        self.cut_outgoing(node, cut);
    }

    fn cut_incoming(&mut self, node: usize, cut: bool) {
        for other in (0..NODES).filter(|&other| other != node) {
            self.links[other][node].cut = cut;
        }
    }

    fn cut_outgoing(&mut self, node: usize, cut: bool) {
        for other in (0..NODES).filter(|&other| other != node) {
            self.links[node][other].cut = cut;
        }
    }

    /// What waited comes first, or the timer, as the process likes.
    fn wake(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        node.process = Process::Running;
        node.woke = node.spoke_at.map(|at| (self.now, self.now - at));
        let inbox = std::mem::take(&mut node.inbox);
        let due = node.timer_at.is_some_and(|at| at <= self.now);
        let timer_first = self.random.chance(50);
        if due && timer_first {
            self.tell(index, |now| Event::Timer { now });
        }
        for waiting in inbox {
            match waiting {
                Waiting::Packet { from, packet } => {
                    self.tell(index, |now| Event::Advertisement { now, from, packet });
                }
                Waiting::Verdict { question, verdict } => self.verdict(index, question, verdict),
            }
        }
        if due && !timer_first {
            self.tell(index, |now| Event::Timer { now });
        }
    }
}
