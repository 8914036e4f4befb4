//! A seeded run of agents that are slow, lose reports and fail: the target is reached all the same, and nothing is ever
//! booked twice.

use super::properties::check_bookings;
use super::worlds::{Bench, app, id};
use model::{App, Intent, TaskId, TaskState};
use std::collections::BTreeMap;

/// SplitMix64 (Steele, Lea, Flood 2014): a whole run from one number.
pub(super) struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// What really runs, unknown to the world until it is reported.
#[derive(Default)]
struct Agents {
    real: BTreeMap<TaskId, TaskState>,
}

impl Agents {
    /// Acts on some of what is wanted, lets some tasks fail, and reports with losses.
    fn step(&mut self, bench: &mut Bench, random: &mut Random, trouble: bool) {
        let wanted: BTreeMap<TaskId, bool> = bench
            .world
            .tasks
            .values()
            .map(|record| (record.task.id.clone(), matches!(record.task.intent, Intent::Stop { .. })))
            .collect();
        self.real.retain(|task, _| wanted.contains_key(task));
        for (task, stop) in wanted {
            let state = self.real.entry(task.clone()).or_insert(TaskState::Staging);
            let slow = trouble && random.below(3) == 0;
            if !state.is_terminal() && !slow {
                *state = if stop { TaskState::Killed } else { TaskState::Running };
                if trouble && !stop && random.below(12) == 0 {
                    *state = if random.below(2) == 0 { TaskState::Failed } else { TaskState::Error };
                }
            }
            let lost = trouble && random.below(4) == 0;
            if !lost {
                bench.see(&task, *state);
            }
        }
    }
}

#[test]
fn agents_in_trouble_still_reach_the_target() {
    for seed in 0..60 {
        let mut random = Random(seed);
        let mut bench = Bench::new(&["a", "b", "c"]);
        let mut agents = Agents::default();
        for round in 0..400 {
            let trouble = round < 200;
            if trouble && random.below(10) == 0 {
                let name = ["x", "y"][random.below(2) as usize];
                let cmd = Some(format!("cmd {}", random.below(3)));
                let next = App { cmd, ..app(name, random.below(15) as u32) };
                let _locked = bench.put(vec![next]);
            }
            bench.wait(0.5);
            bench.pass();
            check_bookings(&bench);
            let again = bench.left_to_do();
            assert!(again.is_empty(), "seed {seed}, round {round}: {again:?}");
            agents.step(&mut bench, &mut random, trouble);
        }
        assert!(bench.world.deployments.is_empty(), "seed {seed}: {:?}", bench.world.deployments);
        for name in ["x", "y"] {
            let instances = bench.world.apps.get(&id(name)).map_or(0, |record| record.app.instances);
            assert_eq!(bench.healthy(name), instances as usize, "seed {seed}");
            assert_eq!(bench.tasks(name).len(), instances as usize, "seed {seed}");
        }
    }
}
