//! Launching a task of an app on the best node.

use super::Pass;
use crate::Change;
use model::{App, Intent, Task, TaskId};

use std::sync::Arc;

/// Linux allows 64 (`HOST_NAME_MAX`), a label of DNS 63.
const HOST_NAME_CHARS_MAX: usize = 63;

impl Pass<'_> {
    /// Launches up to `count` tasks; stops at the first that no node takes.
    pub(super) fn launch(&mut self, app: &App, count: usize) {
        let waiting = self.world.apps.get(&app.id).is_some_and(|record| record.backoff.is_waiting(self.now));
        if waiting {
            return;
        }
        for _ in 0..count {
            let Ok(placement) = self.placer.place(&self.world, app) else { return };
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
            self.placer.take(&task.node, Some(app), &task.ports);
            self.change(Change::Launch(Arc::new(task)));
        }
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
