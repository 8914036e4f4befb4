//! One full pass over the world: forget what ended, kill what is sick, move deployments on, launch and retire tasks, give
//! up those of lost nodes, stop what has drained. Everything a pass decides is applied to its own copy of the world at once, so that later decisions
//! see earlier ones; a second pass over the result changes nothing.

mod apps;
mod deployments;
mod launch;
mod losses;
mod verdicts;

use crate::placement::Placer;
use crate::{Change, MakeUuid, Policy, RetireReason, TaskRecord, World, drained, submit};
use model::{AppId, Intent, TaskId, Timestamp};

#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub changes: Vec<Change>,
}

/// What the world needs now; its nodes have been judged.
pub fn plan(world: &World, now: Timestamp, policy: &Policy, make_uuid: MakeUuid<'_>) -> Plan {
    let mut pass = Pass::new(world.clone(), now, policy, make_uuid);
    pass.forget_ended();
    pass.judge_health();
    // A step that ends sets goals for the next one, which may have nothing left to do.
    loop {
        let decided = pass.changes.len();
        pass.advance_deployments();
        pass.reconcile_apps();
        if pass.changes.len() == decided {
            break;
        }
    }
    pass.stop_drained();
    pass.forget_versions();
    Plan { changes: pass.changes }
}

struct Pass<'a> {
    world: World,
    placer: Placer,
    now: Timestamp,
    policy: &'a Policy,
    make_uuid: MakeUuid<'a>,
    changes: Vec<Change>,
}

impl<'a> Pass<'a> {
    fn new(world: World, now: Timestamp, policy: &'a Policy, make_uuid: MakeUuid<'a>) -> Self {
        let placer = Placer::of(&world, now);
        Self { world, placer, now, policy, make_uuid, changes: Vec::new() }
    }

    fn change(&mut self, change: Change) {
        self.world.apply(&change);
        self.changes.push(change);
    }

    fn retire(&mut self, task: &TaskId, reason: RetireReason) {
        if let Some(record) = self.world.tasks.get(task) {
            let change = submit::retire(record, reason, self.now, self.policy);
            self.change(change);
        }
    }

    fn stop_drained(&mut self) {
        let done = |record: &&TaskRecord| {
            let waits = matches!(record.task.intent, Intent::Drain { .. });
            let ended = drained(&self.world, record, self.now, self.policy);
            waits && (ended || !self.policy.drain)
        };
        let tasks: Vec<TaskId> = self.world.tasks.values().filter(done).map(|record| record.task.id.clone()).collect();
        for task in tasks {
            self.retire(&task, RetireReason::Drained);
        }
    }

    /// The tasks of an app, in the order of their ids.
    fn tasks_of(&self, app: &AppId) -> impl Iterator<Item = &TaskRecord> {
        self.world.tasks.values().filter(move |record| record.task.app == *app)
    }
}
