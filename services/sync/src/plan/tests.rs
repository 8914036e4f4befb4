use super::*;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;

fn task(host: &str, port: u16) -> Task {
    Task { endpoint: Endpoint::new(host, port), is_ready: true }
}

fn running(tasks: Vec<Task>) -> Reading {
    Reading::App { instances: tasks.len() as u64, tasks }
}

/// s3pics on b1, which has one server.
fn scene(reading: Reading) -> Seen {
    let server = Endpoint::new("coreos1", 31_000).unwrap();
    let mapping = Mapping { frontend: Some("f1".into()), backend: Some("b1".into()) };
    let is_listed = matches!(reading, Reading::App { .. });
    Seen {
        mappings: [("s3pics".to_owned(), mapping)].into(),
        listed: if is_listed { vec!["s3pics".into()] } else { Vec::new() },
        apps: [("s3pics".to_owned(), reading)].into(),
        servers: [("b1".to_owned(), [(server.to_string(), server.value())].into())].into(),
    }
}

fn removed(plan: &Plan) -> usize {
    plan.steps.iter().filter(|step| matches!(step, Step::Remove { .. })).count()
}

#[test]
fn instances_of_zero_are_believed_at_once() {
    let plan = Planner::default().plan(&scene(Reading::App { instances: 0, tasks: Vec::new() }));
    assert_eq!((removed(&plan), plan.is_in_doubt), (1, false));
}

#[test]
fn a_task_that_is_gone_beside_others_is_believed_at_once() {
    let plan = Planner::default().plan(&scene(running(vec![task("coreos3", 31_000)])));
    assert_eq!((removed(&plan), plan.is_in_doubt), (1, false));
}

#[test]
fn absence_is_believed_when_seen_twice_in_a_row() {
    for absent in [Reading::Absent, Reading::App { instances: 2, tasks: Vec::new() }] {
        let mut planner = Planner::default();
        let first = planner.plan(&scene(absent.clone()));
        assert_eq!((removed(&first), first.is_in_doubt), (0, true), "{absent:?}");
        assert_eq!(removed(&planner.plan(&scene(Reading::Unknown))), 0);
        assert_eq!(removed(&planner.plan(&scene(absent.clone()))), 0, "the row was broken");
        let second = planner.plan(&scene(absent.clone()));
        assert_eq!((removed(&second), second.is_in_doubt), (1, false), "{absent:?}");
    }
}

#[test]
fn what_is_not_ready_is_kept_but_not_added() {
    let sick = |host: &str| Task { is_ready: false, ..task(host, 31_000) };
    let plan = Planner::default().plan(&scene(running(vec![sick("coreos1"), sick("coreos2")])));
    let server = Endpoint::new("coreos1", 31_000).unwrap();
    assert_eq!(plan.steps, [Step::Keep { app: "s3pics".into(), server }]);
}

#[test]
fn apps_may_share_a_backend() {
    let mut seen = scene(running(vec![task("coreos1", 31_000)]));
    seen.mappings.insert("blue".into(), Mapping { frontend: None, backend: Some("b1".into()) });
    seen.apps.insert("blue".into(), running(vec![task("coreos2", 31_000)]));
    let other = Endpoint::new("coreos2", 31_000).unwrap();
    seen.servers.get_mut("b1").unwrap().insert(other.to_string(), other.value());
    assert_eq!(removed(&Planner::default().plan(&seen)), 0, "each app's server stays");
    seen.apps.insert("s3pics".into(), Reading::Unknown);
    assert_eq!(removed(&Planner::default().plan(&seen)), 0, "one of the two is unknown");
}

#[test]
fn servers_of_others_are_left_alone() {
    let mut seen = scene(Reading::App { instances: 0, tasks: Vec::new() });
    let servers = seen.servers.get_mut("b1").unwrap();
    for name in ["srv1", "a-b", "h-031000", "-1", "h-99999"] {
        servers.insert(name.into(), "{}".into());
    }
    assert_eq!(removed(&Planner::default().plan(&seen)), 1);
}

#[test]
fn a_value_is_written_as_the_author_wrote_it() {
    let server = Endpoint::new("coreos1.ad.forest", 31_000).unwrap();
    assert_eq!(server.value(), r#"{"Id":"coreos1.ad.forest-31000","URL":"http://coreos1.ad.forest:31000"}"#);
    assert_eq!(Endpoint::new("::1", 80).unwrap().value(), r#"{"Id":"::1-80","URL":"http://[::1]:80"}"#);
    assert_eq!(Endpoint::new("a/b", 80), None);
}

fn readings() -> impl Strategy<Value = Reading> {
    let endpoint = ("h[1-3]", 31_000_u16..31_003);
    let task = (prop::option::of(endpoint), any::<bool>()).prop_map(|(endpoint, is_ready)| Task {
        endpoint: endpoint.and_then(|(host, port)| Endpoint::new(&host, port)),
        is_ready,
    });
    prop_oneof![
        Just(Reading::Unknown),
        Just(Reading::Absent),
        (0_u64..4, vec(task, 0..5)).prop_map(|(instances, tasks)| Reading::App { instances, tasks }),
    ]
}

prop_compose! {
    fn scenes()(
        apps in btree_map("[ab]", (readings(), prop::option::of("f[12]"), prop::option::of("b[12]")), 0..3),
        unmapped in prop::option::of("z"),
        servers in btree_map("b[12]", btree_set("(h[1-4]-3100[0-4]|srv|x-y)", 0..6), 0..3),
    ) -> Seen {
        let listed = apps.iter().filter(|(_, (reading, ..))| matches!(reading, Reading::App { .. }));
        let listed = listed.map(|(app, _)| app.clone()).chain(unmapped).collect();
        let mappings = apps.iter().map(|(app, (_, frontend, backend))| {
            (app.clone(), Mapping { frontend: frontend.clone(), backend: backend.clone() })
        }).collect();
        let servers = servers.into_iter().map(|(backend, names)| {
            let value = |name: String| {
                let value = Endpoint::parse(&name).map_or("{}".to_owned(), |endpoint| endpoint.value());
                (name, value)
            };
            (backend, names.into_iter().map(value).collect())
        }).collect();
        Seen { mappings, listed, apps: apps.into_iter().map(|(app, (reading, ..))| (app, reading)).collect(), servers }
    }
}

fn carry_out(seen: &mut Seen, plan: &Plan) {
    for step in &plan.steps {
        match step {
            Step::Put { backend, server, .. } => {
                seen.servers.entry(backend.clone()).or_default().insert(server.to_string(), server.value());
            }
            Step::Remove { backend, server, .. } => {
                seen.servers.get_mut(backend).unwrap().remove(&server.to_string());
            }
            _ => {}
        }
    }
}

proptest! {
    #[test]
    fn nothing_is_removed_on_a_doubt(seen in scenes()) {
        let plan = Planner::default().plan(&seen);
        for step in &plan.steps {
            let Step::Remove { backend, server, .. } = step else { continue };
            for (app, mapping) in &seen.mappings {
                if mapping.backend.as_ref() != Some(backend) {
                    continue;
                }
                let Some(Reading::App { instances, tasks }) = seen.apps.get(app) else {
                    return Err(TestCaseError::fail(format!("{app} is not known")));
                };
                prop_assert!(*instances == 0 || !tasks.is_empty(), "{} has no tasks, seen once", app);
                prop_assert!(tasks.iter().all(|task| task.endpoint.as_ref() != Some(server)));
            }
        }
    }

    #[test]
    fn what_is_added_is_ready(seen in scenes()) {
        for step in Planner::default().plan(&seen).steps {
            let Step::Put { app, server, .. } = step else { continue };
            let found = tasks(&seen, &app).any(|task| task.is_ready && task.endpoint.as_ref() == Some(&server));
            prop_assert!(found);
        }
    }

    #[test]
    fn a_plan_that_was_carried_out_leaves_nothing_to_do(seen in scenes()) {
        let mut seen = seen;
        let mut planner = Planner::default();
        for _ in 0..3 {
            let plan = planner.plan(&seen);
            carry_out(&mut seen, &plan);
        }
        let plan = planner.plan(&seen);
        prop_assert!(!plan.steps.iter().any(Step::is_change), "{:?}", plan.steps);
        prop_assert!(!plan.is_in_doubt);
    }

    #[test]
    fn names_are_read_back(host in "[a-z][a-z0-9.-]{0,8}", port in 1_u16..) {
        let endpoint = Endpoint::new(&host, port).unwrap();
        prop_assert_eq!(Endpoint::parse(&endpoint.to_string()), Some(endpoint));
    }
}
