//! Apps and tasks for tests.

use model::*;
use scheduler::{AppRecord, TaskRecord, World};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(crate) fn app(name: &str, instances: u32) -> App {
    App {
        id: AppId::parse(name).unwrap(),
        version: Timestamp::from_millis(1_420_980_279_120),
        instances,
        cmd: Some("serve".into()),
        args: None,
        user: None,
        env: BTreeMap::new(),
        labels: BTreeMap::new(),
        cpus_milli: 100,
        mem_bytes: 64 << 20,
        disk_bytes: 0,
        image: Some(Image {
            reference: "s3pics:2.0".into(),
            force_pull: false,
            privileged: false,
            parameters: Vec::new(),
        }),
        network: Network::Bridge,
        ports: vec![PortMapping {
            container_port: 8080,
            host_port: 0,
            service_port: 0,
            protocol: "tcp".into(),
            name: None,
            labels: BTreeMap::new(),
        }],
        require_ports: false,
        volumes: Vec::new(),
        constraints: Vec::new(),
        health_checks: vec![HealthCheck {
            protocol: HealthProtocol::Http,
            path: "/".into(),
            port_index: 0,
            command: None,
            grace: Duration::from_secs(10),
            interval: Duration::from_secs(20),
            timeout: Duration::from_secs(20),
            consecutive_failures_max: 3,
        }],
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

pub(crate) fn task(app: &App, node: &str, port: u16) -> Task {
    Task {
        id: TaskId::of(&app.id, &format!("{port:08x}-9987-11e4-b40a-0242ac110003")),
        app: app.id.clone(),
        version: app.version,
        node: NodeId::new(node),
        host: format!("{node}.example"),
        address: "127.0.0.1".into(),
        ports: vec![port],
        staged_at: app.version,
        container_name: format!("{port:012x}"),
        intent: Intent::Run,
    }
}

pub(crate) fn insert(world: &mut World, app: &App, ports: &[u16]) {
    let shared = Arc::new(app.clone());
    world.apps.insert(app.id.clone(), AppRecord::new(shared.clone()));
    world.versions.entry(app.id.clone()).or_default().insert(app.version, shared);
    for port in ports {
        let task = Arc::new(task(app, "node", *port));
        let seen = Observation::staging(task.staged_at);
        world.tasks.insert(task.id.clone(), TaskRecord { task, seen, unrouted_at: None });
    }
}

pub(crate) fn healthy(record: &mut TaskRecord) {
    let now = record.task.staged_at.after(Duration::from_secs(1));
    record.seen.state = TaskState::Running;
    record.seen.observed_at = now;
    record.seen.checks = vec![CheckResult { alive: true, first_success: Some(now), ..CheckResult::default() }];
}
