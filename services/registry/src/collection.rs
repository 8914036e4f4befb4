//! The collection: removes what nobody needs, without ever stopping pushes.
//!
//! A reconciler: it takes no input, reads everything ([`snapshot`]), plans ([`plan`], pure), acts ([`act`]), on a nudge and on a
//! timer. Each action is a transaction under the condition that what the plan saw still holds; one that fails is planned
//! anew next time. Five things end here:
//!
//! | what | seen as | removed |
//! |---|---|---|
//! | link of a blob that no manifest of its repository references | marked, the first time | when marked for `unreferenced` |
//! | blob that no repository holds | | at once: its links were graced |
//! | repository that holds nothing | | at once, from the catalog |
//! | upload that nobody feeds | `touched` long ago | after `upload` |
//! | object that no record names | `LastModified` long ago | after `orphan` |

mod act;
mod plan;
mod snapshot;

#[cfg(test)]
mod tests;

use crate::registry::Registry;
use lifecycle::{ErrorChain, Stop};
use std::time::Duration;

/// How often the collection looks when nobody nudges it.
const INTERVAL: Duration = Duration::from_secs(600);

/// How long things stay that may still be needed.
#[derive(Clone, Copy, Debug)]
pub struct Graces {
    /// Between a blob's upload and the manifest that references it.
    pub unreferenced: Duration,
    /// Between two pieces of an upload.
    pub upload: Duration,
    /// Between an object's last byte and its record.
    pub orphan: Duration,
}

impl Default for Graces {
    fn default() -> Self {
        let hour = Duration::from_secs(3600);
        Self { unreferenced: hour, upload: 24 * hour, orphan: 24 * hour }
    }
}

pub async fn run(registry: &Registry, graces: Graces, stop: &Stop) {
    loop {
        let woken = async {
            tokio::select! { () = registry.nudge.notified() => {}, () = tokio::time::sleep(INTERVAL) => {} }
        };
        if stop.or(woken).await.is_none() {
            return;
        }
        // What one pass removes may have been the last thing that kept something else.
        while let Some(taken) = stop.or(pass(registry, graces)).await {
            match taken {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(error = %ErrorChain(&error), "the collection failed; it is tried again later");
                    break;
                }
            }
        }
    }
}

/// One pass; how many actions were taken comes back.
pub(crate) async fn pass(registry: &Registry, graces: Graces) -> Result<usize, crate::error::RegistryError> {
    for (id, session) in registry.sessions.take_idle() {
        crate::face::give_up(registry, &id, session).await;
    }
    let snapshot = snapshot::read(registry).await?;
    let actions = plan::plan(&snapshot, graces, crate::registry::now_seconds());
    let mut taken = 0;
    for action in &actions {
        match act::act(registry, &snapshot, action).await {
            Ok(done) => taken += usize::from(done),
            Err(error) => tracing::warn!(?action, error = %ErrorChain(&error), "an action of the collection failed"),
        }
    }
    if taken > 0 {
        tracing::info!(planned = actions.len(), taken, "collected");
    }
    Ok(taken)
}
