//! Leaving a route without losing a request. A task that is to stop first leaves its route; each edge then says which
//! revision of the routes it serves and which servers that left still have requests in flight. Once every live edge is
//! past the revision and done with the server, nothing can be lost by stopping it.

use crate::{EdgeRecord, Policy, TaskRecord, World};
use model::{AppId, Intent, Task, TaskId, Timestamp};

/// What an edge dials for a task: its first port, in the form in which edges name servers. `None` for a task without
/// ports: it has no place in a route.
pub fn server_url(task: &Task) -> Option<String> {
    let port = task.ports.first()?;
    let host = task.address.to_ascii_lowercase();
    let is_bare_ipv6 = host.contains(':') && !host.starts_with('[');
    Some(if is_bare_ipv6 { format!("http://[{host}]:{port}") } else { format!("http://{host}:{port}") })
}

/// Whether a draining task may be stopped.
pub fn drained(world: &World, record: &TaskRecord, now: Timestamp, policy: &Policy) -> bool {
    let Intent::Drain { since, .. } = &record.task.intent else { return false };
    if now.since(*since) >= policy.drain_grace {
        return true;
    }
    let (Some(unrouted_at), Some(url)) = (record.unrouted_at, server_url(&record.task)) else { return false };
    world.edges.values().all(|edge| {
        is_gone(world, edge, now, policy) || (edge.applied_revision >= unrouted_at && !edge.busy.contains(&url))
    })
}

/// Whether an edge was silent for so long that it holds up no drain: the sessions' bound, or less when its node was given
/// up and the edge, too, has said nothing since.
fn is_gone(world: &World, edge: &EdgeRecord, now: Timestamp, policy: &Policy) -> bool {
    let silence = now.since(edge.last_seen);
    let node = edge.node.as_ref().and_then(|node| world.nodes.get(node));
    let with_its_node = node.is_some_and(|node| node.standing.is_lost());
    silence >= policy.edge_silence_max || (with_its_node && silence >= policy.suspect_after)
}

/// The tasks that belong in an app's route. A task nobody has reported since the controller started stays in the route if
/// it is there. Those of silent nodes leave while another one serves; where none does, or the brake holds, a suspicion is
/// no reason to serve nothing. When no task is healthy, those that once were stay: a check that fails everywhere (an
/// overloaded machine, a bad check) must not turn a slow app into none.
pub fn serving<'a>(world: &'a World, app: &AppId, is_routed: impl Fn(&TaskId) -> bool) -> Vec<&'a TaskRecord> {
    let candidates: Vec<_> = world
        .tasks
        .values()
        .filter(|record| record.task.app == *app && record.task.intent.is_run() && !record.task.ports.is_empty())
        .filter(|record| !record.seen.state.is_terminal())
        .collect();
    let kept = |record: &&&TaskRecord| !record.is_known() && is_routed(&record.task.id);
    let healthy: Vec<_> =
        candidates.iter().filter(|record| world.is_healthy(record) || kept(record)).copied().collect();
    let is_heard = |record: &TaskRecord| {
        let node = world.nodes.get(&record.task.node);
        node.is_some_and(|node| node.standing.is_heard())
    };
    if world.brake.is_none() && healthy.iter().any(|record| is_heard(record)) {
        return healthy.into_iter().filter(|record| is_heard(record)).collect();
    }
    if !healthy.is_empty() {
        return healthy;
    }
    candidates.into_iter().filter(|record| record.was_healthy()).collect()
}
