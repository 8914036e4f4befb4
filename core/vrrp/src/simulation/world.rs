//! The queue of happenings, and what each does.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::{ADDRESS_LIFETIME, Advertisement, Effect, Event, Fence, Moment, State};

use super::faults::{Fault, next_fault_in};
use super::network::Link;
use super::node::{Node, Process, Waiting};
use super::observer::{Observer, Violation};
use super::random::Random;
use super::store::{Store, challenge_time};

pub(super) const NODES: usize = 3;
/// How late a timer of a running process fires.
pub(super) const TIMER_LATE_MAX: Duration = Duration::from_millis(5);
const FAULTS_FOR: Duration = Duration::from_secs(60);
/// Longer than the longest fault, the pause of preemption after a fenced holder, and a takeover.
const CALM_FOR: Duration = Duration::from_secs(30);

/// Whether advertisements of the first reach the second.
pub(super) type Reach<'a> = dyn Fn(usize, usize) -> bool + 'a;

#[derive(Clone, Copy)]
pub(super) struct Setup {
    pub(super) preempt: bool,
    pub(super) fenced: bool,
    pub(super) sleeper_check: bool,
}

enum Happening {
    Arrives { to: usize, from: usize, packet: Advertisement },
    TimerFires { node: usize, at: Moment },
    StoreHears { node: usize, question: u64, within: Duration },
    StoreReleases { node: usize },
    ChallengeEnds { node: usize, question: u64, revision: u64 },
    Verdict { node: usize, question: u64, verdict: Fence },
    AddressExpires,
    FaultBegins,
    FaultEnds(Fault),
}

pub(super) struct World {
    setup: Setup,
    random: Random,
    now: Moment,
    queue: BTreeMap<(Moment, u64), Happening>,
    happenings: u64,
    questions: u64,
    nodes: Vec<Node>,
    links: Vec<Vec<Link>>,
    store: Store,
    pub(super) observer: Observer,
    broken: Option<Violation>,
}

impl World {
    /// All nodes start within the first half second; faults begin after that.
    pub(super) fn new(seed: u64, setup: Setup) -> World {
        let mut world = World::calm(seed, setup);
        world.store.slow_percent = 5;
        world.after(Duration::from_secs(1), Happening::FaultBegins);
        world
    }

    /// A world without faults.
    pub(super) fn calm(seed: u64, setup: Setup) -> World {
        let nodes: Vec<Node> = (0..NODES).map(|index| Node::new(index, setup)).collect();
        let observer = Observer::new(nodes[0].router.config().two_holders_max());
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

    fn run_until(&mut self, end: Moment) -> Result<(), Violation> {
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

    fn after(&mut self, delay: Duration, happening: Happening) {
        self.happenings += 1;
        self.queue.insert((self.now + delay, self.happenings), happening);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrives { to, from, packet } => {
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

    fn tell(&mut self, index: usize, event: impl FnOnce(Moment) -> Event) {
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

    fn store_hears(&mut self, node: usize, question: u64, within: Duration) {
        match self.store.record {
            Some(holder) if holder != node => {
                let revision = self.store.revision;
                if self.answers_challenge(holder) {
                    self.reply(node, question, Fence::Refused { holder: format!("n{holder}") });
                } else {
                    self.after(challenge_time(within), Happening::ChallengeEnds { node, question, revision });
                }
            }
            _ if self.nodes[node].question == Some(question) => {
                self.store.write(Some(node));
                self.reply(node, question, Fence::Granted);
            }
            _ => {}
        }
    }

    fn challenge_ends(&mut self, node: usize, question: u64, revision: u64) {
        if self.nodes[node].question != Some(question) || !self.nodes[node].reaches_store {
            return;
        }
        match self.store.record {
            Some(holder) if holder != node && (self.store.revision != revision || self.answers_challenge(holder)) => {
                self.reply(node, question, Fence::Refused { holder: format!("n{holder}") });
            }
            _ => {
                self.store.write(Some(node));
                self.reply(node, question, Fence::Granted);
            }
        }
    }

    fn answers_challenge(&self, holder: usize) -> bool {
        let node = &self.nodes[holder];
        node.runs() && node.reaches_store && node.router.state() == State::Active
    }

    fn reply(&mut self, node: usize, question: u64, verdict: Fence) {
        let delay = self.store.latency(&mut self.random);
        self.after(delay, Happening::Verdict { node, question, verdict });
    }

    fn verdict(&mut self, node: usize, question: u64, verdict: Fence) {
        if self.nodes[node].question == Some(question) {
            self.nodes[node].question = None;
            self.tell(node, |now| Event::Fence { now, verdict });
        }
    }

    fn fault_begins(&mut self) {
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
                self.cut_all(node, true);
            }
            Fault::StoreAway(node) => self.nodes[node].reaches_store = false,
            Fault::Health { node, .. } if !self.nodes[node].runs() => return false,
            Fault::Health { node, priority } => self.tell(node, |now| Event::PriorityChanged { now, priority }),
        }
        true
    }

    fn fault_ends(&mut self, fault: Fault) {
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
                self.cut_all(node, false);
            }
            Fault::StoreAway(node) => self.nodes[node].reaches_store = true,
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

    fn cut_all(&mut self, node: usize, cut: bool) {
        for other in (0..NODES).filter(|&other| other != node) {
            self.links[node][other].cut = cut;
            self.links[other][node].cut = cut;
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
