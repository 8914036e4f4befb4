//! Leaving a route without losing a request. A task that is to stop first leaves its route; each edge then says which
//! revision of the routes it serves and which servers that left still have requests in flight. Once every live edge is
//! past the revision and done with the server, nothing can be lost by stopping it.

use crate::{EdgeRecord, Policy, TaskRecord, World};
use model::{AppId, Intent, Task, TaskId, Timestamp};
use std::collections::BTreeMap;

/// What an edge dials for a task: its first port, in the form in which edges name servers. `None` for a task without
/// ports: it has no place in a route.
pub fn server_url(task: &Task) -> Option<String> {
    let port = task.ports.first()?;
    let host = task.address.to_ascii_lowercase();
    let is_bare_ipv6 = host.contains(':') && !host.starts_with('[');
    Some(if is_bare_ipv6 { format!("http://[{host}]:{port}") } else { format!("http://{host}:{port}") })
}

/// Whether a draining task may be stopped.
pub fn drained(
    record: &TaskRecord,
    edges: &BTreeMap<String, EdgeRecord>,
    unrouted_at: Option<i64>,
    now: Timestamp,
    policy: &Policy,
) -> bool {
    let Intent::Drain { since, .. } = &record.task.intent else { return false };
    if now.since(*since) >= policy.drain_grace {
        return true;
    }
    let (Some(unrouted_at), Some(url)) = (unrouted_at, server_url(&record.task)) else { return false };
    edges.values().all(|edge| {
        let silent = now.since(edge.last_seen) >= policy.edge_silence_max;
        silent || (edge.applied_revision >= unrouted_at && !edge.busy.contains(&url))
    })
}

/// The tasks that belong in an app's route. A task nobody has reported since the controller started stays in the route if
/// it is there. When no task is healthy, those that once were stay: a check that fails everywhere (an overloaded machine,
/// a bad check) must not turn a slow app into none.
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
    if !healthy.is_empty() {
        return healthy;
    }
    candidates.into_iter().filter(|record| record.was_healthy()).collect()
}
