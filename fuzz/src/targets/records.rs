//! What a controller keeps of apps, tasks, deployments and nodes, as the next one reads it: not only its own hand writes to the
//! store.
//!
//! Each line of the input is a kind and a value.

use crate::json::read;
use model::{App, Deployment, Node, Observation, Task, TaskState, Timestamp};
use scheduler::{AppRecord, NodeRecord, Policy, TaskRecord, World, explain, next_deadline, plan};
use std::sync::Arc;

pub const WORDS: &[&str] = crate::json_words![
    "\n",
    "app {",
    "version {",
    "task {",
    "deployment {",
    "node {",
    "running {",
    "/a",
    "a.1",
    "n",
    "[]",
    "{}",
    "0",
    "-1",
    "1e308",
    "18446744073709551615",
    "9223372036854775807",
    "4294967295",
    "65535",
    "\"2015-01-11T12:44:39.120Z\"",
    "\"-009999-01-02T01:59:59Z\"",
    "\"9999-12-30T22:00:00.999Z\"",
    "{\"secs\":18446744073709551615,\"nanos\":999999999}",
    "{\"begin\":31000,\"end\":31001}",
    "{\"begin\":65535,\"end\":0}",
    "{\"intent\":\"run\"}",
    "{\"intent\":\"drain\",\"since\":\"2015-01-11T12:44:39.120Z\",\"reason\":\"r\"}",
    "{\"intent\":\"stop\",\"since\":\"2015-01-11T12:44:39.120Z\",\"reason\":\"r\"}",
    "{\"field\":\"hostname\",\"operator\":\"Like\",\"value\":\"(\"}",
    "{\"field\":\"rack\",\"operator\":\"GroupBy\",\"value\":\"0\"}",
    "{\"field\":\"rack\",\"operator\":\"MaxPer\",\"value\":\"-1\"}",
    "\"RestartApplication\"",
    "\"StopApplication\"",
    "\"current_step\":99",
];

/// Of one app; a plan launches them one by one, also where they cost nothing.
const INSTANCES_MAX: u32 = 50;
const PASSES: i64 = 3;

pub fn controller(bytes: &[u8]) {
    let mut world = World::default();
    let now = Timestamp::from_millis(1_420_980_279_120);
    for line in bytes.split(|byte| *byte == b'\n') {
        let Some(space) = line.iter().position(|byte| *byte == b' ') else { continue };
        let (kind, value) = (&line[..space], &line[space + 1..]);
        match kind {
            b"app" | b"version" => {
                let Some(app) = read::<App>(value).filter(|app| app.instances <= INSTANCES_MAX) else { continue };
                let app = Arc::new(app);
                world.versions.entry(app.id.clone()).or_default().insert(app.version, app.clone());
                if kind == b"app" {
                    world.apps.insert(app.id.clone(), AppRecord::new(app));
                }
            }
            b"task" | b"running" => {
                let Some(task) = read::<Task>(value).map(Arc::new) else { continue };
                let mut record = TaskRecord::unreported(task.clone(), None);
                if kind == b"running" {
                    record.seen = Observation { state: TaskState::Running, ..Observation::staging(now) };
                }
                world.tasks.insert(task.id.clone(), record);
            }
            b"deployment" => {
                let Some(deployment) = read::<Deployment>(value) else { continue };
                let few = |app: &App| app.instances <= INSTANCES_MAX;
                if deployment.target.values().chain(deployment.original.values()).flatten().all(few) {
                    world.deployments.insert(deployment.id.clone(), Arc::new(deployment));
                }
            }
            b"node" => {
                let Some(node) = read::<Node>(value) else { continue };
                let record = NodeRecord { connected: true, ..NodeRecord::new(Arc::new(node), now) };
                world.nodes.insert(record.node.id.clone(), record);
            }
            _ => {}
        }
    }
    let (policy, mut number) = (Policy::default(), 0);
    for pass in 0..PASSES {
        let now = now.after(std::time::Duration::from_secs(20 * pass as u64));
        world.judge(now, &policy);
        let planned = plan(&world, now, &policy, &mut || {
            number += 1;
            format!("00000000-0000-0000-0000-{number:012}")
        });
        planned.changes.iter().for_each(|change| world.apply(change));
        let _whenever = next_deadline(&world, now, &policy);
        for app in world.apps.keys().chain(world.versions.keys()) {
            let _lines = explain(&world, app, now);
        }
    }
}
