//! Steps, locks, cancels.

use super::worlds::{Bench, app, at, id};
use crate::submit::{self, Refused};
use model::{ActionKind, App, DeploymentId, TaskState};

fn kinds(bench: &Bench, deployment: &DeploymentId) -> Vec<Vec<(ActionKind, String)>> {
    let actions = |step: &model::Step| {
        step.actions.iter().map(|action| (action.kind, action.app.to_string())).collect::<Vec<_>>()
    };
    bench.world.deployments[deployment].steps.iter().map(actions).collect()
}

#[test]
fn a_new_app_is_started_at_zero_and_scaled() {
    let mut bench = Bench::new(&["a"]);
    let deployment = bench.put(vec![app("s3pics", 3)]).unwrap().unwrap();
    let expected = vec![
        vec![(ActionKind::StartApplication, "/s3pics".to_owned())],
        vec![(ActionKind::ScaleApplication, "/s3pics".to_owned())],
    ];
    assert_eq!(kinds(&bench, &deployment), expected);
    bench.pass();
    assert_eq!(bench.tasks("s3pics").iter().map(|task| task.ports[0]).collect::<Vec<_>>(), [31000, 31001, 31002]);
    assert_eq!(bench.world.deployments[&deployment].current_step, 1);
    bench.settle();
    assert!(bench.world.deployments.is_empty());
    assert_eq!(bench.healthy("s3pics"), 3);
}

#[test]
fn twenty_are_launched_in_one_pass() {
    let mut bench = Bench::new(&["a", "b"]);
    bench.put(vec![app("s3pics", 1)]).unwrap();
    bench.settle();
    bench.put(vec![app("s3pics", 20)]).unwrap();
    bench.pass();
    assert_eq!(bench.running("s3pics"), 20);
    let on_a = bench.tasks("s3pics").iter().filter(|task| task.node.as_str() == "a").count();
    assert_eq!(on_a, 10);
}

#[test]
fn dependencies_come_first() {
    let mut bench = Bench::new(&["a"]);
    let db = app("db", 1);
    let web = App { dependencies: vec![id("db")], ..app("web", 1) };
    bench.put(vec![web, db]).unwrap();
    bench.pass();
    assert_eq!((bench.running("db"), bench.running("web")), (1, 0));
    bench.settle();
    assert_eq!((bench.running("db"), bench.running("web")), (1, 1));
}

#[test]
fn a_cycle_is_refused() {
    let mut bench = Bench::new(&["a"]);
    let one = App { dependencies: vec![id("two")], ..app("one", 1) };
    let two = App { dependencies: vec![id("one")], ..app("two", 1) };
    assert!(matches!(bench.put(vec![one, two]), Err(Refused::Cyclic(_))));
}

#[test]
fn an_app_is_locked_while_it_is_deployed_and_force_takes_over() {
    let mut bench = Bench::new(&["a"]);
    let first = bench.put(vec![app("x", 1)]).unwrap().unwrap();
    assert_eq!(bench.put(vec![app("x", 2)]), Err(Refused::Locked(vec![first.clone()])));
    bench.put(vec![app("y", 1)]).unwrap();
    let forced = bench.submit(|world, now, uuid| submit::put(world, vec![app("x", 2)], true, now, uuid)).unwrap();
    assert!(!bench.world.deployments.contains_key(&first));
    assert!(bench.world.deployments.contains_key(&forced.unwrap()));
    bench.settle();
    assert_eq!(bench.healthy("x"), 2);
}

#[test]
fn a_cancelled_roll_goes_back_and_keeps_the_tasks_that_fit() {
    let mut bench = Bench::new(&["a"]);
    bench.put(vec![app("x", 4)]).unwrap();
    bench.settle();
    let before = bench.tasks("x");
    let changed = App { cmd: Some("other".into()), ..app("x", 4) };
    let roll = bench.put(vec![changed]).unwrap().unwrap();
    bench.pass();
    assert_eq!(bench.running("x"), 8);
    bench.submit(|world, now, uuid| submit::cancel(world, &roll, false, now, uuid)).unwrap();
    bench.settle();
    assert!(bench.world.deployments.is_empty());
    let after = bench.tasks("x");
    assert_eq!(before, after);
    assert_eq!(bench.world.apps[&id("x")].app.cmd.as_deref(), Some("serve"));
}

#[test]
fn a_cancel_by_force_leaves_the_app_as_it_is() {
    let mut bench = Bench::new(&["a"]);
    let deployment = bench.put(vec![app("x", 2)]).unwrap().unwrap();
    bench.submit(|world, now, uuid| submit::cancel(world, &deployment, true, now, uuid)).unwrap();
    assert!(bench.world.deployments.is_empty());
    assert!(bench.world.apps.contains_key(&id("x")));
    let unknown = DeploymentId::new("none");
    let refused = bench.submit(|world, now, uuid| submit::cancel(world, &unknown, true, now, uuid));
    assert_eq!(refused, Err(Refused::NoDeployment(unknown)));
}

#[test]
fn a_removed_app_goes_at_once_and_its_tasks_and_versions_after_it() {
    let mut bench = Bench::new(&["a"]);
    bench.put(vec![app("x", 2)]).unwrap();
    bench.settle();
    bench.submit(|world, now, uuid| submit::remove(world, &id("x"), false, now, uuid)).unwrap();
    assert!(bench.world.apps.is_empty());
    assert_eq!(bench.tasks("x").len(), 2);
    bench.settle();
    assert!(bench.tasks("x").is_empty() && bench.world.versions.is_empty() && bench.world.deployments.is_empty());
    let again = bench.submit(|world, now, uuid| submit::remove(world, &id("x"), false, now, uuid));
    assert_eq!(again, Err(Refused::NoApp(id("x"))));
}

#[test]
fn a_restart_replaces_every_task_under_a_new_version() {
    let mut bench = Bench::new(&["a"]);
    bench.put(vec![app("x", 3)]).unwrap();
    bench.settle();
    let before = bench.tasks("x");
    bench.submit(|world, now, uuid| submit::restart(world, &id("x"), false, now, uuid)).unwrap();
    bench.settle();
    let after = bench.tasks("x");
    assert_eq!(after.len(), 3);
    assert!(after.iter().all(|task| before.iter().all(|old| old.id != task.id && old.version < task.version)));
}

#[test]
fn a_scale_after_an_abandoned_roll_still_leads_to_the_target() {
    let mut bench = Bench::new(&["a"]);
    bench.put(vec![app("x", 2)]).unwrap();
    bench.settle();
    let other = App { cmd: Some("other".into()), ..app("x", 2) };
    bench.put(vec![other.clone()]).unwrap();
    bench.pass();
    let scaled = App { instances: 3, ..other };
    bench.submit(|world, now, uuid| submit::put(world, vec![scaled], true, now, uuid)).unwrap();
    bench.settle();
    let version = bench.world.apps[&id("x")].app.version;
    assert_eq!(bench.tasks("x").iter().filter(|task| task.version == version).count(), 3);
    assert_eq!(bench.tasks("x").len(), 3);
}

#[test]
fn service_ports_are_unique_and_kept() {
    let mut bench = Bench::new(&["a"]);
    bench.put(vec![app("x", 1), app("y", 1)]).unwrap();
    let port = |bench: &Bench, name: &str| bench.world.apps[&id(name)].app.ports[0].service_port;
    assert_eq!((port(&bench, "x"), port(&bench, "y")), (10_000, 10_001));
    bench.settle();
    bench.put(vec![App { cmd: Some("other".into()), ..app("y", 1) }]).unwrap();
    bench.put(vec![app("z", 1)]).unwrap();
    assert_eq!((port(&bench, "y"), port(&bench, "z")), (10_001, 10_002));
}

#[test]
fn versions_grow_when_the_clock_does_not_and_old_ones_are_dropped() {
    let mut bench = Bench::new(&["a"]);
    for instances in 0..60 {
        bench.submit(|world, now, uuid| submit::put(world, vec![app("x", instances % 2)], true, now, uuid)).unwrap();
    }
    assert_eq!(bench.world.versions[&id("x")].len(), 60);
    bench.settle();
    assert_eq!(bench.world.versions[&id("x")].len(), 50);
    assert!(bench.world.versions[&id("x")].contains_key(&bench.world.apps[&id("x")].app.version));
}

#[test]
fn a_deployment_of_an_app_that_fits_nowhere_waits_and_says_why() {
    let mut bench = Bench::new(&["a"]);
    bench.put(vec![App { cpus_milli: 9000, ..app("big", 1) }]).unwrap();
    bench.pass();
    assert_eq!(bench.world.deployments.len(), 1);
    let why = crate::explain(&bench.world, &id("big"), bench.now);
    assert!(why.iter().any(|line| line.contains("needs 9 cpus, 8 are free")), "{why:?}");
}

#[test]
fn killing_with_scale_lowers_the_instances() {
    let mut bench = Bench::new(&["a"]);
    bench.put(vec![app("x", 3)]).unwrap();
    bench.settle();
    let victim = bench.tasks("x")[0].id.clone();
    let policy = bench.policy;
    let tasks = [victim.clone()];
    bench.submit(|world, now, uuid| submit::kill(world, &tasks, true, false, now, &policy, uuid)).unwrap();
    bench.settle();
    assert_eq!(bench.world.apps[&id("x")].app.instances, 2);
    assert!(bench.tasks("x").iter().all(|task| task.id != victim));
    assert_eq!(bench.healthy("x"), 2);
}

#[test]
fn killing_without_scale_replaces() {
    let mut bench = Bench::new(&["a"]);
    bench.put(vec![app("x", 2)]).unwrap();
    bench.settle();
    let victim = bench.tasks("x")[0].id.clone();
    let policy = bench.policy;
    let tasks = [victim.clone()];
    bench.submit(|world, now, uuid| submit::kill(world, &tasks, false, false, now, &policy, uuid)).unwrap();
    bench.settle();
    assert_eq!(bench.healthy("x"), 2);
    assert!(bench.tasks("x").iter().all(|task| task.id != victim));
    assert!(bench.world.apps[&id("x")].backoff.failures == 0);
    assert!(bench.now > at(0.0) && bench.tasks("x").iter().all(|task| task.intent.is_run()));
    assert!(bench.world.tasks.values().all(|record| record.seen.state == TaskState::Running));
}
