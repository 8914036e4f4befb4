//! Small worlds.

use crate::{EdgeRecord, NodeRecord, Plan, Policy, World, plan, submit};
use model::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

pub(crate) const START: Timestamp = Timestamp::from_millis(1_420_980_279_120);

pub(crate) fn at(seconds: f64) -> Timestamp {
    START.after(Duration::from_secs_f64(seconds))
}

pub(crate) fn id(text: &str) -> AppId {
    AppId::parse(text).unwrap()
}

/// One dynamic port, a tenth of a cpu, 64 MiB, one HTTP check.
pub(crate) fn app(name: &str, instances: u32) -> App {
    let port = PortMapping {
        container_port: 8080,
        host_port: 0,
        service_port: 0,
        protocol: "tcp".into(),
        name: None,
        labels: BTreeMap::new(),
    };
    let check = HealthCheck {
        protocol: HealthProtocol::Http,
        path: "/".into(),
        port_index: 0,
        command: None,
        grace: Duration::from_secs(10),
        interval: Duration::from_secs(20),
        timeout: Duration::from_secs(20),
        consecutive_failures_max: 3,
    };
    App {
        id: id(name),
        version: START,
        instances,
        cmd: Some("serve".into()),
        args: None,
        user: None,
        env: BTreeMap::new(),
        labels: BTreeMap::new(),
        cpus_milli: 100,
        mem_bytes: 64 << 20,
        disk_bytes: 0,
        image: None,
        network: Network::Bridge,
        ports: vec![port],
        require_ports: false,
        volumes: Vec::new(),
        constraints: Vec::new(),
        health_checks: vec![check],
        upgrade_strategy: UpgradeStrategy::default(),
        backoff: Duration::from_secs(1),
        backoff_factor: 1.15,
        launch_delay_max: Duration::from_secs(3600),
        kill_grace: Duration::from_secs(3),
        kill_selection: KillSelection::YoungestFirst,
        dependencies: Vec::new(),
        extra: BTreeMap::new(),
    }
}

pub(crate) fn node(name: &str, cpus_milli: u64) -> NodeRecord {
    let ports = vec![PortRange { begin: 31000, end: 32000 }];
    let resources = Resources { cpus_milli, mem_bytes: 64 << 30, disk_bytes: 0, ports };
    let node = Node {
        id: NodeId::new(name),
        hostname: format!("{name}.example"),
        address: "127.0.0.1".into(),
        resources,
        attributes: BTreeMap::new(),
        runtime: "process".into(),
        limits: Vec::new(),
        draining: false,
    };
    NodeRecord { connected: true, ..NodeRecord::new(Arc::new(node), START) }
}

/// A world with its clock, its UUIDs, and what the controller does around the pure functions.
pub(crate) struct Bench {
    pub world: World,
    pub now: Timestamp,
    pub policy: Policy,
    /// Nodes that cannot be heard; what runs there runs on.
    pub silent: BTreeSet<NodeId>,
    uuids: u32,
    pub revision: i64,
}

impl Bench {
    /// Nodes of 8 cpus each.
    pub fn new(nodes: &[&str]) -> Self {
        let mut world = World::default();
        for name in nodes {
            world.nodes.insert(NodeId::new(*name), node(name, 8000));
        }
        Self { world, now: START, policy: Policy::default(), silent: BTreeSet::new(), uuids: 0, revision: 1 }
    }

    pub fn put(&mut self, apps: Vec<App>) -> Result<Option<DeploymentId>, submit::Refused> {
        self.submit(|world, now, make_uuid| submit::put(world, apps, false, now, make_uuid))
    }

    pub fn submit(
        &mut self,
        ask: impl FnOnce(&World, Timestamp, crate::MakeUuid<'_>) -> Result<submit::Submitted, submit::Refused>,
    ) -> Result<Option<DeploymentId>, submit::Refused> {
        let uuids = &mut self.uuids;
        let submitted = ask(&self.world, self.now, &mut || uuid(uuids))?;
        self.apply(&submitted.changes);
        Ok(submitted.deployment.map(|deployment| deployment.id.clone()))
    }

    pub fn plan(&mut self) -> Plan {
        self.world.judge(self.now, &self.policy);
        let uuids = &mut self.uuids;
        plan(&self.world, self.now, &self.policy, &mut || uuid(uuids))
    }

    /// Plans and applies once.
    pub fn pass(&mut self) -> Plan {
        let planned = self.plan();
        self.apply(&planned.changes);
        planned
    }

    fn apply(&mut self, changes: &[crate::Change]) {
        self.revision += 1;
        for change in changes {
            self.world.apply(change);
            if let crate::Change::Retire { task, .. } = change
                && let Some(record) = self.world.tasks.get_mut(&task.id)
            {
                record.unrouted_at.get_or_insert(self.revision);
            }
        }
    }

    /// Time passes; nodes with a session are heard.
    pub fn wait(&mut self, seconds: f64) {
        self.now = self.now.after(Duration::from_secs_f64(seconds));
        self.hear();
    }

    fn hear(&mut self) {
        let is_heard = |record: &&mut NodeRecord| record.connected && !self.silent.contains(&record.node.id);
        for record in self.world.nodes.values_mut().filter(is_heard) {
            record.last_seen = self.now;
        }
    }

    pub fn falls_silent(&mut self, node: &str) {
        self.silent.insert(NodeId::new(node));
    }

    pub fn is_back(&mut self, node: &str) {
        self.silent.remove(&NodeId::new(node));
        self.hear();
    }

    pub fn standing(&self, node: &str) -> &'static str {
        self.world.nodes[&NodeId::new(node)].standing.name()
    }

    /// Seconds pass in steps of a tenth, with a pass and obedient agents at each.
    pub fn run(&mut self, seconds: f64) {
        for _ in 0..(seconds * 10.0).round() as u32 {
            self.wait(0.1);
            self.pass();
            self.obey();
        }
    }

    /// Tasks of an app that are wanted, per node.
    pub fn on(&self, name: &str, node: &str) -> usize {
        self.tasks(name).iter().filter(|task| task.node.as_str() == node && task.intent.is_run()).count()
    }

    pub fn see(&mut self, task: &TaskId, state: TaskState) {
        let now = self.now;
        let record = self.world.tasks.get_mut(task).unwrap();
        record.seen.state = state;
        record.seen.observed_at = now;
        if state == TaskState::Running {
            record.seen.started_at.get_or_insert(now);
            let success = CheckResult { alive: true, first_success: Some(now), ..CheckResult::default() };
            record.seen.checks = vec![success];
        }
    }

    /// Every wanted task runs and is healthy; every stopped one has ended. Silent nodes report nothing.
    pub fn obey(&mut self) {
        let tasks: Vec<_> = self.world.tasks.values().map(|record| record.task.clone()).collect();
        for task in tasks.into_iter().filter(|task| !self.silent.contains(&task.node)).collect::<Vec<_>>() {
            match task.intent {
                Intent::Stop { .. } => self.see(&task.id, TaskState::Killed),
                _ => self.see(&task.id, TaskState::Running),
            }
        }
    }

    /// Passes and obedient agents until nothing changes.
    pub fn settle(&mut self) {
        for _ in 0..200 {
            self.obey();
            self.wait(0.1);
            if self.pass().changes.is_empty() {
                return;
            }
        }
        panic!("it does not settle: {:#?}", self.plan());
    }

    pub fn edge(&mut self, name: &str, applied_revision: i64, busy: &[&str]) {
        let busy = busy.iter().map(|url| (*url).to_owned()).collect();
        let record = EdgeRecord { applied_revision, busy, last_seen: self.now, ..EdgeRecord::default() };
        self.world.edges.insert(name.into(), record);
    }

    pub fn tasks(&self, name: &str) -> Vec<Arc<Task>> {
        let app = id(name);
        self.world.tasks.values().filter(|record| record.task.app == app).map(|record| record.task.clone()).collect()
    }

    pub fn running(&self, name: &str) -> usize {
        self.tasks(name).iter().filter(|task| task.intent.is_run()).count()
    }

    pub fn healthy(&self, name: &str) -> usize {
        let app = id(name);
        self.world.tasks.values().filter(|record| record.task.app == app && self.world.is_healthy(record)).count()
    }
}

fn uuid(count: &mut u32) -> String {
    *count += 1;
    format!("{count:08x}-9987-11e4-b40a-0242ac110003")
}

impl Bench {
    /// What a second pass would do, but for stopping drained tasks (which waits for the revision of the first pass).
    pub fn left_to_do(&mut self) -> Vec<crate::Change> {
        let drained = |change: &crate::Change| {
            matches!(change, crate::Change::Retire { reason: crate::RetireReason::Drained, .. })
        };
        let mut changes = self.plan().changes;
        changes.retain(|change| !drained(change));
        changes
    }
}
