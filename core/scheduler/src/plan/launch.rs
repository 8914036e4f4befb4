//! Launching tasks of an app, each on the best node.

use super::Pass;
use crate::placement::Spread;
use crate::{Change, TaskRecord};
use model::{App, AppId, Intent, Task, TaskId};
use std::sync::Arc;

/// Linux allows 64 (`HOST_NAME_MAX`), a label of DNS 63.
const HOST_NAME_CHARS_MAX: usize = 63;

impl Pass<'_> {
    /// Launches up to `count` tasks, spread over the nodes together with those that `stay`; stops at the first that no
    /// node takes.
    pub(super) fn launch(&mut self, app: &App, count: usize, stay: impl Fn(&TaskRecord) -> bool) {
        let waiting = self.world.apps.get(&app.id).is_some_and(|record| record.backoff.is_waiting(self.now));
        if waiting || count == 0 {
            return;
        }
        let mut spread = self.spread(&app.id, stay);
        for _ in 0..count {
            let Ok(placement) = self.placer.place(&self.world, app, &spread) else { return };
            let Some(node) = self.world.nodes.get(&placement.node).map(|record| record.node.clone()) else { return };
            let unique = (self.make_uuid)();
            let id = TaskId::of(&app.id, &unique);
            let container_name = container_name(&id, &unique);
            let task = Task {
                id,
                app: app.id.clone(),
                version: app.version,
                node: placement.node.clone(),
                host: node.hostname.clone(),
                address: node.address.clone(),
                ports: placement.ports,
                staged_at: self.now,
                container_name,
                intent: Intent::Run,
            };
            *spread.entry(placement.node).or_default() += 1;
            self.placer.take(&task.node, Some(app), &task.ports);
            self.change(Change::Launch(Arc::new(task)));
        }
    }

    /// How many of up to `count` tasks would find a place now. Nothing is launched.
    pub(super) fn room(&self, app: &App, count: usize) -> usize {
        let mut scratch_uuids = 0_u64;
        let mut make_uuid = || {
            scratch_uuids += 1;
            format!("scratch-{scratch_uuids}")
        };
        let mut scratch = Pass {
            world: self.world.clone(),
            placer: self.placer.clone(),
            now: self.now,
            policy: self.policy,
            make_uuid: &mut make_uuid,
            changes: Vec::new(),
        };
        scratch.launch(app, count, |_| true);
        scratch.changes.len()
    }

    fn spread(&self, app: &AppId, stay: impl Fn(&TaskRecord) -> bool) -> Spread {
        let mut spread = Spread::new();
        for record in self.active(app).into_iter().filter(|record| stay(record)) {
            *spread.entry(record.task.node.clone()).or_default() += 1;
        }
        spread
    }
}

/// The host name inside the container: the task's id, so that who sees the one finds the other, in the characters of DNS.
/// Where that is too long for a host name, the part that no other task shares.
fn container_name(id: &TaskId, unique: &str) -> String {
    let name = id.as_str().replace('_', "-");
    if name.len() <= HOST_NAME_CHARS_MAX { name } else { unique.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::AppId;

    #[test]
    fn a_host_name_is_the_tasks_id_where_it_fits() {
        let unique = "3eb4f9ff-9987-11e4-b40a-0242ac110003";
        let name = |app: &str| container_name(&TaskId::of(&AppId::parse(app).unwrap(), unique), unique);
        assert_eq!(name("/s3pics"), format!("s3pics.{unique}"));
        assert_eq!(name("/shop/cart"), format!("shop-cart.{unique}"));
        assert_eq!(name(&format!("/{}", "long".repeat(20))), unique);
    }
}
