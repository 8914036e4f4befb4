//! A seeded run of machines that fall silent, run on unheard, are rebooted, come back; of controllers that come and go; of
//! nodes that are drained. Whatever happened, once it is calm each app runs exactly as often as it should, on what really
//! runs, not on what is believed. And on the way: nothing on a healthy machine is stopped because another one was lost.

use super::properties::check_bookings;
use super::simulation::Random;
use super::worlds::{Bench, app, id};
use crate::{AppRecord, Change, NodeRecord, TaskRecord, World, serving, submit};
use model::{App, CheckResult, Intent, NodeId, Observation, TaskId, TaskState, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

const NODES: [&str; 5] = ["a", "b", "c", "d", "e"];
const STEP_SECONDS: f64 = 0.25;

/// A machine with its agent: it runs what it was told last, heard or not.
#[derive(Default)]
struct Machine {
    runs: BTreeMap<TaskId, TaskState>,
    /// Cut off until then.
    cut_until: Option<Timestamp>,
}

struct Cluster {
    bench: Bench,
    machines: BTreeMap<&'static str, Machine>,
    /// Tasks whose nodes were given up: their agents stop them.
    lost: BTreeSet<TaskId>,
}

impl Cluster {
    fn new() -> Self {
        let machines = NODES.map(|name| (name, Machine::default())).into();
        Self { bench: Bench::new(&NODES), machines, lost: BTreeSet::new() }
    }

    fn cut(&mut self, node: &'static str, seconds: f64) {
        let until = self.bench.now.after(std::time::Duration::from_secs_f64(seconds));
        self.bench.falls_silent(node);
        if let Some(machine) = self.machines.get_mut(node) {
            machine.cut_until = Some(until);
        }
    }

    /// What was stored is read by a new controller; what was only seen is gone.
    fn change_leader(&mut self) {
        let old = std::mem::take(&mut self.bench.world);
        let now = self.bench.now;
        let unreported = |record: TaskRecord| {
            let unrouted_at = (!record.task.intent.is_run()).then_some(0);
            TaskRecord::unreported(record.task, unrouted_at)
        };
        self.bench.world = World {
            apps: old.apps.into_iter().map(|(id, record)| (id, AppRecord::new(record.app))).collect(),
            versions: old.versions,
            tasks: old.tasks.into_iter().map(|(id, record)| (id, unreported(record))).collect(),
            nodes: old.nodes.into_iter().map(|(id, record)| (id, NodeRecord::new(record.node, now))).collect(),
            deployments: old.deployments,
            ..World::default()
        };
    }

    /// One pass, with what it decided checked.
    fn pass(&mut self, is_steady: bool) {
        let planned = self.bench.pass();
        for change in &planned.changes {
            match change {
                Change::Lose { task, .. } => drop(self.lost.insert(task.clone())),
                Change::Retire { task, reason } if is_steady => {
                    panic!("{} on {} is retired: {reason}", task.id, task.node);
                }
                _ => {}
            }
        }
        if self.bench.world.brake.is_some() {
            let given_up = planned.changes.iter().any(|change| matches!(change, Change::Lose { .. }));
            assert!(!given_up || self.bench.world.nodes.values().any(|record| record.standing.is_lost()));
        }
        for name in ["x", "y"] {
            let mut served = BTreeSet::new();
            for record in serving(&self.bench.world, &id(name), |_| true) {
                assert!(served.insert((&record.task.node, &record.task.ports)), "a server is routed twice");
            }
        }
    }

    /// Agents that are heard take their desired sets, act, and report.
    fn step(&mut self, random: &mut Random, trouble: bool) {
        let now = self.bench.now;
        for (name, machine) in &mut self.machines {
            if machine.cut_until.is_some_and(|until| now < until) {
                continue;
            }
            machine.cut_until = None;
            let node = NodeId::new(*name);
            if let Some(record) = self.bench.world.nodes.get_mut(&node) {
                record.connected = true;
            }
            let of_node = |record: &&TaskRecord| record.task.node == node;
            let desired: BTreeMap<TaskId, bool> = self
                .bench
                .world
                .tasks
                .values()
                .filter(of_node)
                .map(|record| (record.task.id.clone(), matches!(record.task.intent, Intent::Stop { .. })))
                .collect();
            machine.runs.retain(|task, _| desired.contains_key(task));
            for (task, stop) in desired {
                let is_new = !machine.runs.contains_key(&task);
                let slow = trouble && random.below(4) == 0;
                let known = self.bench.world.tasks.get_mut(&task).expect("it is desired");
                // What an agent was told of once and does not have any more, it says it has lost.
                if is_new && known.seen.state == TaskState::Running && !stop {
                    known.seen = Observation { state: TaskState::Lost, observed_at: now, ..known.seen.clone() };
                    continue;
                }
                let state = machine.runs.entry(task.clone()).or_insert(TaskState::Staging);
                if !slow && !state.is_terminal() {
                    *state = if stop { TaskState::Killed } else { TaskState::Running };
                }
                known.seen = Observation { state: *state, observed_at: now, ..known.seen.clone() };
                if *state == TaskState::Running {
                    known.seen.started_at.get_or_insert(now);
                    let alive = CheckResult { alive: true, first_success: Some(now), ..CheckResult::default() };
                    known.seen.checks = vec![alive];
                }
            }
            self.bench.is_back(name);
        }
    }

    fn running(&self, name: &str) -> usize {
        let prefix = format!("{name}.");
        let of_app =
            |(task, state): &(&TaskId, &TaskState)| task.as_str().starts_with(&prefix) && **state == TaskState::Running;
        self.machines.values().flat_map(|machine| machine.runs.iter().filter(of_app)).count()
    }

    fn check_calm(&self, seed: u64) {
        assert!(self.bench.world.deployments.is_empty(), "seed {seed}: {:?}", self.bench.world.deployments);
        assert_eq!(self.bench.world.brake, None, "seed {seed}");
        for name in ["x", "y"] {
            let instances = self.bench.world.apps[&id(name)].app.instances as usize;
            assert_eq!(self.running(name), instances, "seed {seed}: what really runs of {name}");
            assert_eq!(self.bench.tasks(name).len(), instances, "seed {seed}: what is recorded of {name}");
            assert_eq!(self.bench.healthy(name), instances, "seed {seed}");
            assert_eq!(serving(&self.bench.world, &id(name), |_| false).len(), instances, "seed {seed}");
        }
        let run = |task: &&TaskId| self.machines.values().any(|machine| machine.runs.contains_key(task));
        assert_eq!(self.lost.iter().find(run), None, "seed {seed}: a lost task runs on");
    }
}

fn deploy(cluster: &mut Cluster, random: &mut Random, name: &str) {
    let cmd = Some(format!("cmd {}", random.below(3)));
    let next = App { cmd, ..app(name, 2 + random.below(12) as u32) };
    let _locked = cluster.bench.put(vec![next]);
}

/// Trouble for a while, then calm; `is_steady`: nobody asks for anything meanwhile, so that no task is ever stopped.
fn story(seed: u64, is_steady: bool) {
    let mut random = Random(seed);
    let mut cluster = Cluster::new();
    for name in ["x", "y"] {
        deploy(&mut cluster, &mut random, name);
    }
    for _ in 0..20 {
        cluster.bench.wait(STEP_SECONDS);
        cluster.pass(false);
        cluster.step(&mut random, false);
    }
    for round in 0..320 {
        let trouble = round < 200;
        if trouble {
            let node = NODES[random.below(5) as usize];
            match random.below(60) {
                0..=2 => cluster.cut(node, 0.5 + random.below(60) as f64 / 4.0),
                3 => {
                    // A reboot: nothing of it runs when it is back.
                    cluster.cut(node, 4.0 + random.below(40) as f64 / 4.0);
                    cluster.machines.get_mut(node).expect("it is there").runs.clear();
                }
                4 => {
                    // Our own link.
                    let seconds = 1.0 + random.below(40) as f64 / 4.0;
                    NODES.into_iter().for_each(|node| cluster.cut(node, seconds));
                }
                5 => cluster.change_leader(),
                6 => {
                    if let Some(record) = cluster.bench.world.nodes.get_mut(&NodeId::new(node)) {
                        record.connected = false;
                    }
                }
                7 | 8 if !is_steady => {
                    let on = random.below(2) == 0;
                    cluster
                        .bench
                        .submit(|world, now, _| submit::drain_node(world, &NodeId::new(node), on, now))
                        .expect("the node is known");
                }
                9 if !is_steady => deploy(&mut cluster, &mut random, "x"),
                _ => {}
            }
        } else if round == 200 {
            for node in NODES {
                let restore = |world: &World, now, _: crate::MakeUuid<'_>| {
                    submit::drain_node(world, &NodeId::new(node), false, now)
                };
                cluster.bench.submit(restore).expect("the node is known");
            }
        }
        cluster.bench.wait(STEP_SECONDS);
        cluster.pass(is_steady);
        check_bookings(&cluster.bench);
        for name in ["x", "y"].into_iter().filter(|_| is_steady) {
            let instances = cluster.bench.world.apps[&id(name)].app.instances as usize;
            assert!(cluster.bench.tasks(name).len() <= instances, "seed {seed}, round {round}: {name} is doubled");
        }
        let again = cluster.bench.left_to_do();
        assert!(again.is_empty(), "seed {seed}, round {round}: {again:?}");
        cluster.step(&mut random, trouble);
    }
    cluster.check_calm(seed);
}

#[test]
fn after_silence_reboots_and_leader_changes_exactly_the_instances_run_and_none_was_stopped() {
    (0..25).for_each(|seed| story(seed, true));
}

#[test]
fn so_they_do_when_apps_are_deployed_and_nodes_drained_meanwhile() {
    (1000..1025).for_each(|seed| story(seed, false));
}

/// Every lengths of silence, every number of silent machines: most of them, and nobody is given up.
#[test]
fn when_more_than_half_vanish_nobody_is_given_up() {
    for silent in 1..=NODES.len() {
        for quarters in [1, 6, 7, 20, 21, 200] {
            let mut cluster = Cluster::new();
            cluster.bench.put(vec![app("x", 10), app("y", 5)]).unwrap();
            cluster.bench.settle();
            let mut random = Random(0);
            cluster.step(&mut random, false);
            cluster.step(&mut random, false);
            let before = cluster.bench.tasks("x");
            NODES[..silent].iter().for_each(|node| cluster.cut(node, f64::from(quarters) / 4.0));
            for _ in 0..quarters {
                cluster.bench.wait(STEP_SECONDS);
                cluster.pass(true);
                cluster.step(&mut random, false);
            }
            let given_up = silent * 2 < NODES.len() && quarters >= 20;
            assert_eq!(cluster.bench.tasks("x") != before, given_up, "{silent} for {quarters} quarters of a second");
            for _ in 0..40 {
                cluster.bench.wait(STEP_SECONDS);
                cluster.pass(true);
                cluster.step(&mut random, false);
            }
            cluster.check_calm(0);
        }
    }
}
