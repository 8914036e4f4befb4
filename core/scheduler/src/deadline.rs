//! When to look again: what time alone changes, so that a controller need not look all the time.

use crate::{Policy, World};
use model::{Intent, TaskState, Timestamp};

/// The next moment after `now` at which silence, a grace or a delay ends.
pub fn next_deadline(world: &World, now: Timestamp, policy: &Policy) -> Option<Timestamp> {
    let nodes = world
        .nodes
        .values()
        .flat_map(|record| [policy.suspect_after, policy.lost_after].map(|silence| record.last_seen.after(silence)));
    let brake = [world.braked_at.after(policy.lost_after)];
    let edges = world.edges.values().map(|edge| edge.last_seen.after(policy.edge_silence_max));
    let launches = world.apps.values().filter_map(|record| record.backoff.until);
    let tasks = world.tasks.values().filter_map(|record| match &record.task.intent {
        Intent::Drain { since, .. } => Some(since.after(policy.drain_grace)),
        Intent::Run if record.seen.state == TaskState::Staging => {
            Some(record.seen.observed_at.after(policy.staging_timeout))
        }
        _ => None,
    });
    nodes.chain(brake).chain(edges).chain(launches).chain(tasks).filter(|deadline| *deadline > now).min()
}
