use super::*;
use proptest::prelude::*;

const NOW: i64 = 1_000;

fn spec(task_id: &str) -> TaskSpec {
    TaskSpec { task_id: task_id.to_owned(), kill_grace_ms: 3_000, ..TaskSpec::default() }
}

const CLUSTER: u64 = 7;
const OTHER_CLUSTER: u64 = 8;

fn desired(generation: u64, tasks: Vec<TaskSpec>) -> Desired {
    Desired { generation, tasks, cluster_id: CLUSTER }
}

fn of_other_cluster(generation: u64, tasks: Vec<TaskSpec>) -> Desired {
    Desired { cluster_id: OTHER_CLUSTER, ..desired(generation, tasks) }
}

fn exit(how: How) -> Exit {
    Exit { how, message: String::new(), started_at_ms: NOW }
}

fn state(core: &Core, task_id: &str) -> Option<TaskState> {
    core.reports().into_iter().find(|report| report.task_id == task_id).map(|report| report.state())
}

fn running() -> Core {
    let mut core = Core::default();
    core.desire(desired(1, vec![spec("t")]), NOW);
    core.launched("t", Ok(NOW), NOW);
    assert_eq!(state(&core, "t"), Some(TaskState::TaskRunning));
    core
}

fn launches(effects: &[Effect]) -> Vec<&str> {
    let launch = |effect: &'_ Effect| matches!(effect, Effect::Launch { .. });
    let ids = effects.iter().filter(|effect| launch(effect)).map(|effect| match effect {
        Effect::Launch { task, .. } => task.task_id.as_str(),
        _ => unreachable!("filtered"),
    });
    ids.collect()
}

#[test]
fn a_desired_task_is_launched_once() {
    let mut core = Core::default();
    let effects = core.desire(desired(1, vec![spec("t")]), NOW);
    assert_eq!(launches(&effects), ["t"]);
    assert_eq!(state(&core, "t"), Some(TaskState::TaskStaging));
    assert_eq!(core.desire(desired(2, vec![spec("t")]), NOW), []);
    let effects = core.launched("t", Ok(NOW), NOW);
    assert!(matches!(effects.as_slice(), [Effect::Watch { started_at_ms: NOW, .. }]));
    assert_eq!(core.desire(desired(3, vec![spec("t")]), NOW), []);
}

#[test]
fn a_task_that_is_listed_twice_is_one_task() {
    let mut core = Core::default();
    core.desire(desired(1, vec![spec("t"), spec("t")]), NOW);
    assert_eq!(core.reports().len(), 1);
}

#[test]
fn an_older_set_is_refused() {
    let core = running();
    assert_eq!(core.judge(&desired(0, vec![])), Verdict::Refuse(Outdated { offered: 0, held: 1 }));
    assert_eq!(core.judge(&desired(1, vec![])), Verdict::Take);
    // A controller of before there were cluster ids.
    let unnamed = Desired { cluster_id: 0, ..desired(0, vec![]) };
    assert_eq!(core.judge(&unnamed), Verdict::Refuse(Outdated { offered: 0, held: 1 }));
}

#[test]
fn another_clusters_set_is_taken_when_it_knows_what_runs_here_and_confirmed_when_not() {
    let mut core = running();
    assert_eq!(core.judge(&of_other_cluster(0, vec![spec("t"), spec("u")])), Verdict::Take, "restored from a backup");
    assert_eq!(core.judge(&of_other_cluster(0, vec![])), Verdict::Confirm, "a store that was lost");
    assert_eq!(core.judge(&of_other_cluster(0, vec![spec("u")])), Verdict::Confirm, "a controller of others");
    core.ended("t", &exit(How::Code(0)), NOW);
    assert_eq!(core.judge(&of_other_cluster(0, vec![])), Verdict::Take, "nothing runs that could be lost");
    core.desire(of_other_cluster(0, vec![]), NOW);
    assert_eq!(core.held(), Held { cluster_id: OTHER_CLUSTER, generation: 0, blind: false });
}

#[test]
fn a_node_that_lost_its_set_stops_and_starts_nothing_until_a_controller_speaks() {
    let mut core = Core::default();
    let found = |id: &str, status| Found { id: id.to_owned(), status };
    let running = || Status::Running { started_at_ms: 5 };
    let lost = || Status::Ended(exit(How::Lost));
    let found =
        vec![found("stays", running()), found("goes", running()), found("died", lost()), found("ended", lost())];
    let effects = core.boot_blind(found, NOW);
    assert!(effects.iter().all(|effect| matches!(effect, Effect::Watch { .. })), "{effects:?}");
    assert_eq!(effects.len(), 2);
    assert!(core.held().blind);
    assert!(core.reports().iter().all(|report| report.state() == TaskState::TaskUnknown));
    assert_eq!(core.judge(&desired(3, vec![])), Verdict::Confirm, "all would be stopped");

    let checked = |id: &str| TaskSpec { checks: vec![protocol::Check::default()], ..spec(id) };
    let told = desired(3, vec![checked("stays"), checked("died"), checked("new")]);
    assert_eq!(core.judge(&told), Verdict::Take);
    let effects = core.desire(told, NOW);
    assert!(!core.held().blind);
    assert_eq!(launches(&effects), ["died", "new"]);
    assert!(effects.contains(&Effect::Launch { task: Box::new(checked("died")), again: true }));
    assert!(effects.contains(&Effect::Watch { task: Box::new(checked("stays")), started_at_ms: 5 }), "with its checks");
    assert!(effects.contains(&Effect::Remove { task_id: "ended".to_owned() }));
    let stopped = |effect: &Effect| matches!(effect, Effect::Stop { task_id, .. } if task_id == "goes");
    assert!(effects.iter().any(stopped));
    assert_eq!(state(&core, "stays"), Some(TaskState::TaskRunning));
}

#[test]
fn a_task_found_blindly_that_is_to_stop_is_stopped() {
    let mut core = Core::default();
    core.boot_blind(vec![Found { id: "t".to_owned(), status: Status::Running { started_at_ms: 5 } }], NOW);
    let effects = core.desire(desired(1, vec![TaskSpec { stop: true, ..spec("t") }]), NOW);
    assert!(matches!(effects.as_slice(), [Effect::Watch { .. }, Effect::Stop { .. }]), "{effects:?}");
    assert_eq!(state(&core, "t"), Some(TaskState::TaskKilling));
}

#[test]
fn a_stop_keeps_the_report_until_the_task_is_no_longer_listed() {
    let mut core = running();
    let stop = TaskSpec { stop: true, ..spec("t") };
    let effects = core.desire(desired(2, vec![stop.clone()]), NOW);
    assert_eq!(effects, [Effect::Stop { task_id: "t".to_owned(), grace: Duration::from_secs(3) }]);
    assert_eq!(state(&core, "t"), Some(TaskState::TaskKilling));
    assert_eq!(core.desire(desired(3, vec![stop.clone()]), NOW), []);
    assert_eq!(core.ended("t", &exit(How::Code(0)), NOW), []);
    assert_eq!(state(&core, "t"), Some(TaskState::TaskKilled));
    assert_eq!(core.desire(desired(4, vec![stop]), NOW), []);
    assert_eq!(core.desire(desired(5, vec![]), NOW), [Effect::Remove { task_id: "t".to_owned() }]);
    assert_eq!(state(&core, "t"), None);
}

#[test]
fn a_shorter_grace_is_told() {
    let mut core = running();
    core.desire(desired(2, vec![TaskSpec { stop: true, ..spec("t") }]), NOW);
    let sooner = TaskSpec { stop: true, kill_grace_ms: 0, ..spec("t") };
    let effects = core.desire(desired(3, vec![sooner]), NOW);
    assert_eq!(effects, [Effect::Stop { task_id: "t".to_owned(), grace: Duration::ZERO }]);
}

#[test]
fn what_is_not_listed_is_stopped_and_then_forgotten() {
    let mut core = running();
    let effects = core.desire(desired(2, vec![]), NOW);
    assert!(matches!(effects.as_slice(), [Effect::Stop { .. }]));
    assert_eq!(core.ended("t", &exit(How::Signal(15)), NOW), [Effect::Remove { task_id: "t".to_owned() }]);
    assert_eq!(core.reports(), []);
}

#[test]
fn a_task_told_to_stop_while_it_starts_is_stopped_once_it_runs() {
    let mut core = Core::default();
    core.desire(desired(1, vec![spec("t")]), NOW);
    let effects = core.desire(desired(2, vec![TaskSpec { stop: true, ..spec("t") }]), NOW);
    assert_eq!(effects, [Effect::GiveUpLaunch { task_id: "t".to_owned() }]);
    let effects = core.launched("t", Ok(NOW), NOW);
    assert!(matches!(effects.as_slice(), [Effect::Watch { .. }, Effect::Stop { .. }]), "{effects:?}");
}

#[test]
fn a_task_that_cannot_start_says_why() {
    let mut core = Core::default();
    core.desire(desired(1, vec![spec("t")]), NOW);
    core.launched("t", Err("image nope: not found".to_owned()), NOW);
    let report = core.reports().remove(0);
    assert_eq!((report.state(), report.message.as_str()), (TaskState::TaskError, "image nope: not found"));
}

#[test]
fn ends_are_told_apart() {
    for (how, expected) in [
        (How::Code(0), TaskState::TaskFinished),
        (How::Code(1), TaskState::TaskFailed),
        (How::Signal(9), TaskState::TaskFailed),
        (How::Lost, TaskState::TaskLost),
        (How::NeverStarted, TaskState::TaskError),
    ] {
        let mut core = running();
        core.ended("t", &exit(how), NOW);
        assert_eq!(state(&core, "t"), Some(expected));
        // The end of a task is told once.
        assert_eq!(core.ended("t", &exit(How::Code(0)), NOW), []);
        assert_eq!(state(&core, "t"), Some(expected));
    }
}

#[test]
fn after_a_restart_what_runs_is_taken_back_and_not_launched() {
    let mut core = Core::default();
    let found = vec![
        Found { id: "runs".to_owned(), status: Status::Running { started_at_ms: 5 } },
        Found { id: "ended".to_owned(), status: Status::Ended(exit(How::Code(3))) },
        Found { id: "lost".to_owned(), status: Status::Ended(exit(How::Lost)) },
        Found { id: "orphan".to_owned(), status: Status::Running { started_at_ms: 5 } },
        Found { id: "rest".to_owned(), status: Status::Ended(exit(How::Code(0))) },
    ];
    let tasks = vec![spec("runs"), spec("ended"), spec("lost"), spec("missing")];
    let effects = core.boot(desired(9, tasks), found, NOW);
    assert_eq!(core.held(), Held { cluster_id: CLUSTER, generation: 9, blind: false });
    assert_eq!(launches(&effects), [""; 0], "what does not run waits");
    assert!(effects.contains(&Effect::Remove { task_id: "rest".to_owned() }));
    let stopped = |effect: &Effect| matches!(effect, Effect::Stop { task_id, .. } if task_id == "orphan");
    assert!(effects.iter().any(stopped));
    assert_eq!(state(&core, "runs"), Some(TaskState::TaskRunning));
    assert_eq!(state(&core, "ended"), Some(TaskState::TaskFailed));
}

/// After the machine was away: of an earlier run of "lost" something is left, "missing" never ran here.
fn waiting() -> Core {
    let mut core = Core::default();
    let found = vec![Found { id: "lost".to_owned(), status: Status::Ended(exit(How::Lost)) }];
    assert_eq!(core.boot(desired(9, vec![spec("lost"), spec("missing")]), found, NOW), []);
    assert_eq!(core.waiting(), 2);
    for task in ["lost", "missing"] {
        assert_eq!(state(&core, task), Some(TaskState::TaskStaging), "it neither runs nor is it lost");
    }
    core
}

fn both_launched() -> Vec<Effect> {
    let launch = |task_id, again| Effect::Launch { task: Box::new(spec(task_id)), again };
    vec![launch("lost", true), launch("missing", false)]
}

#[test]
fn what_waits_is_begun_when_no_controller_speaks() {
    let mut core = waiting();
    assert_eq!(core.begin_waiting(), both_launched());
    assert_eq!((core.waiting(), core.begin_waiting()), (0, vec![]), "once");
    assert_eq!(core.desire(desired(10, vec![spec("lost"), spec("missing")]), NOW), []);
    // A launch that is under way is given up as any other.
    let effects = core.desire(desired(11, vec![spec("lost")]), NOW);
    assert_eq!(effects, [Effect::GiveUpLaunch { task_id: "missing".to_owned() }]);
}

#[test]
fn what_waits_and_is_listed_is_begun_when_a_controller_speaks() {
    let mut core = waiting();
    assert_eq!(core.desire(desired(9, vec![spec("lost"), spec("missing")]), NOW), both_launched());
    assert_eq!((core.waiting(), core.begin_waiting()), (0, vec![]), "once");
}

#[test]
fn what_waits_and_was_replaced_meanwhile_is_forgotten_unbegun() {
    let mut core = waiting();
    let remove = |task_id: &str| Effect::Remove { task_id: task_id.to_owned() };
    assert_eq!(core.desire(desired(10, vec![]), NOW), [remove("lost"), remove("missing")]);
    assert_eq!((core.reports(), core.begin_waiting()), (vec![], vec![]));
}

#[test]
fn what_waits_and_is_told_to_stop_is_killed_unbegun() {
    let mut core = waiting();
    let stop = |task_id| TaskSpec { stop: true, ..spec(task_id) };
    assert_eq!(core.desire(desired(10, vec![stop("lost"), stop("missing")]), NOW), []);
    assert_eq!(state(&core, "lost"), Some(TaskState::TaskKilled));
    assert_eq!((core.waiting(), core.begin_waiting()), (0, vec![]));
    assert_eq!(core.desire(desired(11, vec![]), NOW).len(), 2, "removed, with what was left of it");
}

#[test]
fn what_waits_goes_on_waiting_when_the_one_who_speaks_is_not_believed() {
    let core = waiting();
    assert_eq!(core.judge(&desired(8, vec![])), Verdict::Refuse(Outdated { offered: 8, held: 9 }));
    assert_eq!(core.judge(&of_other_cluster(1, vec![])), Verdict::Confirm, "all would be forgotten");
    assert_eq!(core.judge(&of_other_cluster(1, vec![spec("lost")])), Verdict::Take);
}

#[test]
fn after_a_restart_a_task_told_to_stop_is_not_started_again() {
    let mut core = Core::default();
    let stop = |task_id| TaskSpec { stop: true, ..spec(task_id) };
    let found = vec![
        Found { id: "runs".to_owned(), status: Status::Running { started_at_ms: 5 } },
        Found { id: "lost".to_owned(), status: Status::Ended(exit(How::Lost)) },
    ];
    let effects = core.boot(desired(9, vec![stop("runs"), stop("lost"), stop("missing")]), found, NOW);
    assert_eq!(launches(&effects), Vec::<&str>::new());
    assert_eq!(state(&core, "runs"), Some(TaskState::TaskKilling));
    assert_eq!(state(&core, "lost"), Some(TaskState::TaskKilled));
    assert_eq!(state(&core, "missing"), Some(TaskState::TaskKilled));
}

#[test]
fn a_verdict_is_urgent_and_a_repetition_is_not() {
    let mut core = Core::default();
    let checked = TaskSpec { checks: vec![protocol::Check::default()], ..spec("t") };
    core.desire(desired(1, vec![checked]), NOW);
    core.launched("t", Ok(NOW), NOW);
    assert!(core.unchecked());
    let alive = CheckReport { alive: true, last_success_ms: NOW, ..CheckReport::default() };
    assert!(core.checked("t", 0, alive.clone(), NOW));
    assert!(!core.unchecked());
    assert!(!core.checked("t", 0, CheckReport { last_success_ms: NOW + 1, ..alive }, NOW));
    assert!(!core.checked("t", 7, CheckReport::default(), NOW));
}

/// What may happen to a node, in any order.
#[derive(Clone, Debug)]
enum Happening {
    Desire(Vec<(u8, bool)>),
    /// No controller has spoken in good time.
    PatienceEnds,
    Launched(u8, bool),
    Ended(u8, i32),
}

fn happening() -> impl Strategy<Value = Happening> {
    let task = 0..4_u8;
    prop_oneof![
        4 => proptest::collection::vec((task.clone(), any::<bool>()), 0..4).prop_map(Happening::Desire),
        1 => Just(Happening::PatienceEnds),
        4 => (task.clone(), any::<bool>()).prop_map(|(task, worked)| Happening::Launched(task, worked)),
        4 => (task, 0..3_i32).prop_map(|(task, code)| Happening::Ended(task, code)),
    ]
}

/// How a task is found at the start; `None`: not at all.
fn found() -> impl Strategy<Value = Vec<(u8, Option<Status>)>> {
    let running = Just(Some(Status::Running { started_at_ms: 5 }));
    let ended = prop_oneof![Just(How::Lost), Just(How::NeverStarted), Just(How::Code(1))];
    let status = prop_oneof![Just(None), running, ended.prop_map(|how| Some(Status::Ended(exit(how))))];
    let found = proptest::collection::btree_map(0..4_u8, status, 0..4);
    found.prop_map(|found| found.into_iter().collect())
}

proptest! {
    /// However sets and events interleave, after any start: a task is launched at most once while it is known, and not
    /// before anyone has spoken or patience has ended; nothing is launched that the last set does not list; nothing is
    /// removed that was not told to have ended, and nothing that ended comes back.
    #[test]
    fn no_task_is_doubled_or_removed_alive(
        on_disk in proptest::collection::vec((0..4_u8, any::<bool>()), 0..4),
        found in found(),
        happenings in proptest::collection::vec(happening(), 0..60),
    ) {
        let mut core = Core::default();
        let mut launching: BTreeMap<String, bool> = BTreeMap::new(); // true: running
        let id = |task: u8| format!("t{task}");
        let specs = |tasks: &[(u8, bool)]| tasks.iter().map(|(task, stop)| TaskSpec { stop: *stop, ..spec(&id(*task)) }).collect();
        let found: Vec<Found> =
            found.into_iter().filter_map(|(task, status)| Some(Found { id: id(task), status: status? })).collect();
        for Found { id, status } in &found {
            if matches!(status, Status::Running { .. }) {
                launching.insert(id.clone(), true);
            }
        }
        let mut listed = on_disk.clone();
        let mut may_begin = false;
        let mut happenings = happenings.into_iter().enumerate();
        let mut effects = core.boot(desired(0, specs(&on_disk)), found, NOW);
        loop {
            for effect in effects {
                match effect {
                    Effect::Launch { task, .. } => {
                        prop_assert!(may_begin, "begun at the start: {}", task.task_id);
                        prop_assert!(listed.iter().any(|(listed, _)| id(*listed) == task.task_id), "not listed: {}", task.task_id);
                        prop_assert!(launching.insert(task.task_id.clone(), false).is_none(), "doubled {}", task.task_id);
                    }
                    Effect::Remove { task_id } => prop_assert!(!launching.contains_key(&task_id), "removed alive"),
                    Effect::GiveUpLaunch { task_id } => prop_assert_eq!(launching.get(&task_id), Some(&false)),
                    Effect::Stop { task_id, .. } => prop_assert_eq!(launching.get(&task_id), Some(&true)),
                    Effect::Watch { task, .. } => prop_assert_eq!(launching.get(&task.task_id), Some(&true)),
                }
            }
            for task_id in launching.keys() {
                let seen = state(&core, task_id);
                prop_assert!(matches!(seen, Some(TaskState::TaskStaging | TaskState::TaskRunning | TaskState::TaskKilling)), "{:?}", seen);
            }
            // Nobody waits once someone has spoken, or nobody has for long.
            let staging = core.reports().iter().filter(|report| report.state() == TaskState::TaskStaging).count();
            let begun = launching.values().filter(|runs| !**runs).count();
            prop_assert_eq!(core.waiting(), staging - begun);
            prop_assert!(core.waiting() == 0 || !may_begin);
            let Some((generation, happening)) = happenings.next() else { break };
            effects = match happening {
                Happening::Desire(tasks) => {
                    may_begin = true;
                    listed = tasks;
                    core.desire(desired(generation as u64, specs(&listed)), NOW)
                }
                Happening::PatienceEnds => {
                    may_begin = true;
                    core.begin_waiting()
                }
                Happening::Launched(task, worked) => {
                    let task_id = id(task);
                    // Only what was launched and does not run yet can be told to have started.
                    if launching.get(&task_id) != Some(&false) {
                        Vec::new()
                    } else {
                        if worked { launching.insert(task_id.clone(), true); } else { launching.remove(&task_id); }
                        core.launched(&task_id, if worked { Ok(NOW) } else { Err("no".to_owned()) }, NOW)
                    }
                }
                Happening::Ended(task, code) => match launching.remove(&id(task)) {
                    Some(true) => core.ended(&id(task), &exit(How::Code(code)), NOW),
                    Some(false) => { launching.insert(id(task), false); Vec::new() }
                    None => Vec::new(),
                },
            };
        }
    }
}
