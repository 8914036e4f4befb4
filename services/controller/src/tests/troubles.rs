//! A seeded run over a real store: machines fall silent, reboot and come back, leaders come and go. What really runs is what
//! is checked.

use super::stage::{Machine, Stage};
use crate::test_random::Random;
use crate::test_world::app;
use std::collections::BTreeSet;

const INSTANCES: u32 = 5;
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

struct Member {
    machine: Machine,
    /// Rounds it is still cut off for.
    cut_for: u64,
    /// Its session is one with an earlier leader, or none.
    is_stranger: bool,
    /// A leader gave it up since it was heard last: only then may its tasks be stopped.
    was_lost: bool,
}

/// Those that are not cut off speak, over a new session where they need one.
async fn round(stage: &Stage, mut members: Vec<Member>) -> Vec<Member> {
    stage.pass(250, &mut []).await;
    stage.look().await;
    for member in &mut members {
        member.was_lost |= stage.standing(&member.machine.node) == "lost";
    }
    let mut after = Vec::new();
    for mut member in members {
        member.cut_for = member.cut_for.saturating_sub(1);
        if member.cut_for == 0 {
            let stops_before = member.machine.stops();
            if member.is_stranger {
                member.machine = stage.rejoin(member.machine).await;
            }
            // What it is told in answer to its first word it does with the second.
            stage.hear(&mut member.machine).await;
            stage.hear(&mut member.machine).await;
            let stopped = member.machine.stops() - stops_before;
            assert!(stopped == 0 || member.was_lost, "{} is told to stop {stopped}", member.machine.node);
            (member.is_stranger, member.was_lost) = (false, false);
        }
        after.push(member);
    }
    after
}

async fn story(seed: u64) {
    let data = tempfile::tempdir().unwrap();
    let mut random = Random(seed);
    let mut stage = Stage::open(data.path()).await;
    let mut machines = Vec::new();
    for name in NAMES {
        machines.push(stage.join(name).await);
    }
    stage.deploy(app("x", INSTANCES), &mut machines.iter_mut().collect::<Vec<_>>()).await;
    let member = |machine| Member { machine, cut_for: 0, is_stranger: false, was_lost: false };
    let mut members: Vec<Member> = machines.into_iter().map(member).collect();
    for step in 0..120 {
        let victim = random.below(NAMES.len() as u64) as usize;
        match random.below(14) {
            _ if step >= 80 => {}
            0 => members[victim].cut_for = 1 + random.below(40),
            1 => {
                members[victim].cut_for = 2 + random.below(40);
                (members[victim].is_stranger, members[victim].machine) = (true, Machine::rebooted(NAMES[victim]));
            }
            2 => members.iter_mut().for_each(|member| member.cut_for = 1 + random.below(30)),
            3 => {
                stage = stage.change_leader().await;
                members.iter_mut().for_each(|member| member.is_stranger = true);
            }
            _ => {}
        }
        members = round(&stage, members).await;
        let routed = stage.routed("x").await;
        assert!(!routed.is_empty(), "seed {seed}, step {step}: the route is empty");
        let view = stage.desk.view();
        assert!(view.tasks.len() <= INSTANCES as usize, "seed {seed}, step {step}: {:#?}", view.tasks.keys());
    }
    let running: Vec<String> = members.iter().flat_map(|member| member.machine.running()).collect();
    assert_eq!(running.len(), INSTANCES as usize, "seed {seed}: what runs");
    let known: BTreeSet<String> = stage.desk.view().tasks.keys().map(ToString::to_string).collect();
    assert_eq!(running.into_iter().collect::<BTreeSet<_>>(), known, "seed {seed}");
    assert_eq!(stage.routed("x").await.len(), INSTANCES as usize, "seed {seed}");
    assert_eq!(stage.desk.view().brake, None, "seed {seed}");
}

#[tokio::test]
async fn machines_and_leaders_in_trouble_end_with_exactly_the_instances() {
    for seed in 0..3 {
        story(seed).await;
    }
}
