//! The queue of happenings, and what each does.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::{ADDRESS_LIFETIME, Advertisement, Effect, Event, Fence, Moment};

use super::faults::Fault;
use super::network::Link;
use super::node::{Node, Process, Waiting};
use super::observer::{Observer, Violation};
use super::random::Random;
use super::store::Store;

pub(super) const NODES: usize = 3;
/// How late a timer of a running process fires.
pub(super) const TIMER_LATE_MAX: Duration = Duration::from_millis(5);
pub(super) const FAULTS_FOR: Duration = Duration::from_secs(60);
/// Longer than the longest fault, the pause of preemption after a fenced holder, and a takeover.
const CALM_FOR: Duration = Duration::from_secs(30);

/// Questions to the store, heartbeats, sessions.
const CHATTER_INTERVAL: Duration = Duration::from_millis(500);
/// From the question to the keeper until its answer.
const COUNT_TIME_MAX: Duration = Duration::from_millis(5);

/// Whether advertisements of the first reach the second.
pub(super) type Reach<'a> = dyn Fn(usize, usize) -> bool + 'a;

#[derive(Clone, Copy)]
pub(super) struct Setup {
    pub(super) preempt: bool,
    pub(super) fenced: bool,
    pub(super) sleeper_check: bool,
    pub(super) reach_check: bool,
}

pub(super) enum Happening {
    /// What neighbours say to each other that is not VRRP.
    Chatter,
    Counted {
        node: usize,
        packets: u64,
    },
    Arrives {
        to: usize,
        from: usize,
        packet: Advertisement,
    },
    TimerFires {
        node: usize,
        at: Moment,
    },
    StoreHears {
        node: usize,
        question: u64,
        within: Duration,
    },
    StoreReleases {
        node: usize,
    },
    ChallengeEnds {
        node: usize,
        question: u64,
        revision: u64,
    },
    Verdict {
        node: usize,
        question: u64,
        verdict: Fence,
    },
    AddressExpires,
    FaultBegins,
    FaultEnds(Fault),
}

pub(super) struct World {
    pub(super) setup: Setup,
    pub(super) random: Random,
    pub(super) now: Moment,
    pub(super) queue: BTreeMap<(Moment, u64), Happening>,
    pub(super) happenings: u64,
    pub(super) questions: u64,
    pub(super) nodes: Vec<Node>,
    pub(super) links: Vec<Vec<Link>>,
    pub(super) store: Store,
    pub(super) observer: Observer,
    pub(super) broken: Option<Violation>,
}

impl World {
    /// All nodes start within the first half second; faults begin after that.
    pub(super) fn new(seed: u64, setup: Setup) -> World {
        let mut world = World::calm(seed, setup);
        world.store.slow_percent = 5;
        // Every fourth network is quiet: there a holder without a store gives up though it could hear.
        if seed % 4 != 1 {
            world.after(CHATTER_INTERVAL, Happening::Chatter);
        }
        world.after(Duration::from_secs(1), Happening::FaultBegins);
        world
    }

    /// A world without faults.
    pub(super) fn calm(seed: u64, setup: Setup) -> World {
        let nodes: Vec<Node> = (0..NODES).map(|index| Node::new(index, setup)).collect();
        let observer = Observer::new(nodes[0].router.config());
        let mut world = World {
            setup,
            random: Random::new(seed),
            now: Moment::ZERO,
            queue: BTreeMap::new(),
            happenings: 0,
            questions: 0,
            nodes,
            links: vec![vec![Link::default(); NODES]; NODES],
            store: Store::default(),
            observer,
            broken: None,
        };
        for index in 0..NODES {
            world.tell(index, |now| Event::Start { now });
        }
        world
    }

    pub(super) fn expecting_a_fence(mut self) -> World {
        self.observer.expects_fence = true;
        self
    }

    pub(super) fn run(&mut self) -> Result<(), Violation> {
        self.run_until(FAULTS_FOR + CALM_FOR)?;
        let fit = self.nodes.iter().all(|node| node.router.priority() == node.router.config().priority);
        assert!(fit && self.nodes.iter().all(Node::runs), "every fault has ended");
        self.observer.settled(self.now, &self.nodes, &self.store, self.setup.preempt)
    }

    pub(super) fn run_until(&mut self, end: Moment) -> Result<(), Violation> {
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= end) {
            let ((at, _), happening) = entry.remove_entry();
            self.now = at;
            self.happen(happening);
            let reach = |from: usize, to: usize| !self.links[from][to].cut;
            self.observer.look(self.now, &self.nodes, &reach)?;
            if let Some(violation) = self.broken.take() {
                return Err(violation);
            }
        }
        self.now = end;
        Ok(())
    }

    pub(super) fn after(&mut self, delay: Duration, happening: Happening) {
        self.happenings += 1;
        self.queue.insert((self.now + delay, self.happenings), happening);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Chatter => {
                for from in (0..NODES).filter(|&from| self.nodes[from].runs()).collect::<Vec<_>>() {
                    for to in (0..NODES).filter(|&to| to != from) {
                        // Asked again when it is lost: only a cut keeps it away.
                        self.nodes[to].packets += u64::from(!self.links[from][to].cut);
                    }
                }
                self.after(CHATTER_INTERVAL, Happening::Chatter);
            }
            Happening::Counted { node, packets } => {
                if self.nodes[node].runs() {
                    self.tell(node, |now| Event::Received { now, packets });
                }
            }
            Happening::Arrives { to, from, packet } => {
                self.nodes[to].packets += 1;
                let from = self.nodes[from].address;
                match self.nodes[to].process {
                    Process::Running => self.tell(to, |now| Event::Advertisement { now, from, packet }),
                    Process::Paused => self.nodes[to].inbox.push(Waiting::Packet { from, packet }),
                    Process::Dead => {}
                }
            }
            Happening::TimerFires { node, at } => {
                if self.nodes[node].timer_at == Some(at) && self.nodes[node].runs() {
                    self.tell(node, |now| Event::Timer { now });
                }
            }
            Happening::StoreHears { node, question, within } => self.store_hears(node, question, within),
            Happening::StoreReleases { node } => {
                if self.store.record == Some(node) {
                    self.store.write(None);
                }
            }
            Happening::ChallengeEnds { node, question, revision } => self.challenge_ends(node, question, revision),
            Happening::Verdict { node, question, verdict } => match self.nodes[node].process {
                Process::Running => self.verdict(node, question, verdict),
                Process::Paused => self.nodes[node].inbox.push(Waiting::Verdict { question, verdict }),
                Process::Dead => {}
            },
            Happening::AddressExpires => {}
            Happening::FaultBegins => self.fault_begins(),
            Happening::FaultEnds(fault) => self.fault_ends(fault),
        }
    }

    pub(super) fn tell(&mut self, index: usize, event: impl FnOnce(Moment) -> Event) {
        let effects = self.nodes[index].router.handle(event(self.now));
        for effect in effects {
            self.apply(index, effect);
        }
    }

    /// The shell.
    fn apply(&mut self, index: usize, effect: Effect) {
        let now = self.now;
        match effect {
            Effect::SendAdvertisement { priority } => self.send(index, priority),
            Effect::AddAddresses => {
                self.nodes[index].holds_until = Some(now + ADDRESS_LIFETIME);
                self.after(ADDRESS_LIFETIME, Happening::AddressExpires);
            }
            Effect::RemoveAddresses => self.nodes[index].holds_until = None,
            Effect::Announce { .. } => {}
            Effect::SetTimer { at } => {
                self.nodes[index].timer_at = Some(at);
                let late = self.random.between(Duration::ZERO..TIMER_LATE_MAX);
                self.after(at.saturating_sub(now) + late, Happening::TimerFires { node: index, at });
            }
            Effect::AskFence { within } => {
                self.questions += 1;
                let question = self.questions;
                self.nodes[index].question = Some(question);
                if self.nodes[index].reaches_store {
                    let delay = self.store.latency(&mut self.random);
                    self.after(delay, Happening::StoreHears { node: index, question, within });
                } else if self.random.chance(50) {
                    let verdict = Fence::Unknown;
                    self.after(within, Happening::Verdict { node: index, question, verdict });
                }
            }
            Effect::ReleaseFence => {
                self.nodes[index].question = None;
                if self.nodes[index].reaches_store {
                    let delay = self.store.latency(&mut self.random);
                    self.after(delay, Happening::StoreReleases { node: index });
                }
            }
            Effect::CountReceived => {
                let delay = self.random.between(Duration::ZERO..COUNT_TIME_MAX);
                let packets = self.nodes[index].packets;
                self.after(delay, Happening::Counted { node: index, packets });
            }
            Effect::Transition { from, to, cause } => {
                self.observer.note(now, format_args!("n{index} {from:?} → {to:?}: {cause}"));
                self.observer.transitions.push((now, index, cause));
                self.nodes[index].spoke_at = None;
            }
            Effect::Stay { cause, .. } => self.observer.note(now, format_args!("n{index} stays: {cause}")),
        }
    }

    fn send(&mut self, index: usize, priority: u8) {
        if priority > 0 {
            if let Err(violation) = self.observer.speaks(self.now, index, &self.nodes[index]) {
                self.broken.get_or_insert(violation);
            }
            self.nodes[index].spoke_at = Some(self.now);
        }
        let packet = self.nodes[index].router.config().advertisement(priority);
        for to in (0..NODES).filter(|&to| to != index) {
            if let Some(delay) = self.links[index][to].carry(&mut self.random) {
                self.after(delay, Happening::Arrives { to, from: index, packet: packet.clone() });
            }
        }
    }
}
