//! Three candidates, each with a clock that is never wrong about the past but may stand still for a while, on one store.
//! Answers come late or never, links are cut one by one, processes sleep and die. Every leader tries to write all the time.
//! Whatever happens, only the one whose campaign is the record's writes; when everything has healed, somebody leads soon.

use super::super::*;
use crate::test_random::Random;
use proptest::prelude::*;

const TICK: Duration = Duration::from_millis(10);
const CANDIDATES: usize = 3;
/// The store ends a lease this much after its time, at most (etcd looks every 500 ms).
const EXPIRY_LAG: Duration = Duration::from_millis(500);
/// After everything has healed somebody leads within this time.
const HEALED_WITHIN: Duration = Duration::from_secs(3);

/// What the store holds: the record and its lease.
#[derive(Default)]
struct World {
    now: Duration,
    revision: Revision,
    record: Option<(Record, Revision)>,
    expires_at: Duration,
    /// Successful writes: by whom, and at which revision of the record.
    writes: Vec<(usize, Revision)>,
}

struct Node {
    election: Election,
    incarnation: u32,
    /// Of the campaign it won last.
    fence: Revision,
    /// The revision at which its watch of the record spoke last.
    told: Revision,
    asleep_until: Duration,
    is_cut_off: bool,
    /// A command on its way: when it was given, when its answer arrives, and whether the store hears of it.
    pending: Option<(Command, Duration, Duration, bool)>,
}

impl Node {
    fn new(index: usize, incarnation: u32) -> Self {
        let election = Election::new(name(index), &format!("{index}.{incarnation}"), true);
        Self {
            election,
            incarnation,
            fence: 0,
            told: 0,
            asleep_until: Duration::ZERO,
            is_cut_off: false,
            pending: None,
        }
    }
}

fn name(index: usize) -> &'static str {
    ["a", "b", "c"][index]
}

fn index_of(node: &str) -> usize {
    (0..CANDIDATES).find(|index| name(*index) == node).expect("only these three write records")
}

struct Simulation {
    random: Random,
    world: World,
    nodes: Vec<Node>,
    faults: bool,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let nodes = (0..CANDIDATES).map(|index| Node::new(index, 0)).collect();
        Self { random: Random(seed), world: World::default(), nodes, faults: true }
    }

    fn run(&mut self, time: Duration) {
        let end = self.world.now + time;
        while self.world.now < end {
            self.world.now += TICK;
            if self.world.record.is_some() && self.world.now >= self.world.expires_at + EXPIRY_LAG {
                (self.world.record, self.world.revision) = (None, self.world.revision + 1);
            }
            if self.faults {
                self.break_something();
            }
            for index in 0..CANDIDATES {
                self.step(index);
            }
        }
    }

    fn break_something(&mut self) {
        let index = self.random.below(CANDIDATES as u64) as usize;
        let now = self.world.now;
        match self.random.below(400) {
            0 => self.nodes[index].asleep_until = now + TICK * self.random.below(300) as u32,
            1 => self.nodes[index].is_cut_off = true,
            2..6 => self.nodes[index].is_cut_off = false,
            // Killed, and started again.
            6 => self.nodes[index] = Node::new(index, self.nodes[index].incarnation + 1),
            _ => {}
        }
    }

    fn heal(&mut self) {
        self.faults = false;
        for node in &mut self.nodes {
            (node.is_cut_off, node.asleep_until) = (false, Duration::ZERO);
        }
    }

    fn step(&mut self, index: usize) {
        let now = self.world.now;
        if now < self.nodes[index].asleep_until {
            return;
        }
        self.tell(index);
        if let Some((command, asked_at, arrives_at, is_heard)) = self.nodes[index].pending.take() {
            if now < arrives_at {
                self.nodes[index].pending = Some((command, asked_at, arrives_at, is_heard));
            } else {
                let outcome = if is_heard { self.carry_out(index, &command) } else { Outcome::NoAnswer };
                // The answer, too, may be lost.
                let is_lost = self.faults && (self.nodes[index].is_cut_off || self.random.one_in(20));
                let outcome = if is_lost { Outcome::NoAnswer } else { outcome };
                self.nodes[index].election.heard(asked_at, now, outcome);
            }
        }
        if self.nodes[index].pending.is_none() {
            match self.nodes[index].election.command(now) {
                Command::Rest { .. } => {}
                Command::End => {
                    let incarnation = self.nodes[index].incarnation;
                    self.nodes[index] = Node::new(index, incarnation + 1);
                }
                command => {
                    let is_lost = self.nodes[index].is_cut_off || (self.faults && self.random.one_in(20));
                    let delay = if self.faults { self.random.below(20) } else { self.random.below(2) };
                    let bound = match command {
                        Command::Renew { good_until, .. } => good_until,
                        _ => Duration::MAX,
                    };
                    let arrives_at = (now + TICK * delay as u32).min(bound);
                    self.nodes[index].pending = Some((command, now, arrives_at, !is_lost));
                }
            }
        }
        self.write(index);
    }

    /// The watch of the record: it may be late, and is quiet while the node is cut off.
    fn tell(&mut self, index: usize) {
        let is_late = self.faults && !self.random.one_in(20);
        let (node, revision) = (&mut self.nodes[index], self.world.revision);
        // Like the process: what happens while a command is on its way is taken note of after it.
        if node.told != revision && !node.is_cut_off && !is_late && node.pending.is_none() {
            node.told = revision;
            node.election.nudge(self.world.now);
        }
    }

    /// A leader writes all the time; the fence decides.
    fn write(&mut self, index: usize) {
        let node = &self.nodes[index];
        if !node.election.is_leading() || node.is_cut_off {
            return;
        }
        let holder = self.world.record.as_ref().map(|(_, revision)| *revision);
        if holder == Some(node.fence) {
            self.world.writes.push((index, node.fence));
        } else {
            let now = self.world.now;
            self.nodes[index].election.step_down(now);
        }
    }

    fn carry_out(&mut self, index: usize, command: &Command) -> Outcome {
        let world = &mut self.world;
        let own = format!("{index}.{}", self.nodes[index].incarnation);
        match command {
            Command::Look => {
                let seen = world.record.clone();
                let seen = seen.map(|(record, revision)| Seen { record, revision, is_leased: true });
                let votes = seen.as_ref().map_or(Votes::default(), |seen| self.votes(index, seen));
                Outcome::Saw { at: self.world.revision, seen, votes }
            }
            Command::Campaign { against, .. } => {
                if world.record.as_ref().map(|(_, revision)| *revision) != *against {
                    return Outcome::Lost;
                }
                world.revision += 1;
                let record = Record { node: name(index).into(), incarnation: own, ..Record::default() };
                world.record = Some((record, world.revision));
                world.expires_at = world.now + LEASE_TTL;
                self.nodes[index].fence = self.world.revision;
                Outcome::Won { ttl: LEASE_TTL }
            }
            Command::Renew { looks, .. } => match &world.record {
                Some((_, revision)) if *revision == self.nodes[index].fence => {
                    world.expires_at = world.now + LEASE_TTL;
                    Outcome::Renewed { ttl: LEASE_TTL }
                }
                // Its lease may live on, which says nothing of the record.
                _ if !looks && self.random.one_in(2) => Outcome::Renewed { ttl: LEASE_TTL },
                _ => Outcome::Deposed,
            },
            Command::Rest { .. } | Command::End => Outcome::NoAnswer,
        }
    }

    /// Who sleeps or is cut off reaches nobody and is reached by nobody.
    fn votes(&self, asking: usize, leader: &Seen) -> Votes {
        let reaches = |node: &Node| !node.is_cut_off && self.world.now >= node.asleep_until;
        let leading = index_of(&leader.record.node);
        if reaches(&self.nodes[leading]) && reaches(&self.nodes[asking]) {
            return Votes { against: 0, candidates: CANDIDATES };
        }
        let others = (0..CANDIDATES).filter(|index| *index != asking && *index != leading);
        let against = 1 + others.filter(|index| reaches(&self.nodes[*index]) && reaches(&self.nodes[asking])).count();
        Votes { against, candidates: CANDIDATES }
    }
}

fn check(seed: u64) {
    let mut simulation = Simulation::new(seed);
    simulation.run(Duration::from_secs(30));
    // One revision of the record has one writer, and once a later one has written, an earlier one writes no more.
    for pair in simulation.world.writes.windows(2) {
        let [(writer, revision), (next_writer, next_revision)] = [pair[0], pair[1]];
        assert!(
            revision < next_revision || (revision, writer) == (next_revision, next_writer),
            "seed {seed}: {pair:?}"
        );
    }
    simulation.heal();
    simulation.run(HEALED_WITHIN);
    let leaders: Vec<usize> = (0..CANDIDATES).filter(|index| simulation.nodes[*index].election.is_leading()).collect();
    assert_eq!(leaders.len(), 1, "seed {seed}: somebody leads, and everybody agrees who");
    let (record, _) = simulation.world.record.as_ref().expect("who leads holds the record");
    assert_eq!(record.node, name(leaders[0]), "seed {seed}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn never_do_two_write_and_when_all_is_well_one_leads(seed in any::<u64>()) {
        check(seed);
    }
}
