//! Launching a task of an app on the best node.

use super::Pass;
use crate::Change;
use model::{App, Intent, Task, TaskId};
use std::sync::Arc;

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
            let task = Task {
                id: TaskId::of(&app.id, &unique),
                app: app.id.clone(),
                version: app.version,
                node: placement.node.clone(),
                host: node.hostname.clone(),
                address: node.address.clone(),
                ports: placement.ports,
                staged_at: self.now,
                container_name: container_name(&unique),
                intent: Intent::Run,
            };
            self.placer.take(&task.node, Some(app), &task.ports);
            self.change(Change::Launch(Arc::new(task)));
        }
    }
}

/// A host name as short as Docker's, 12 hexadecimal digits, made of the 48 low bits of the UUID's time (which no two tasks
/// share within 325 days), stirred so that tasks launched together do not look alike.
fn container_name(uuid: &str) -> String {
    const BITS: u64 = (1 << 48) - 1;
    // Odd, so that multiplying is one-to-one modulo 2^48 (the golden ratio's fraction, as in Fibonacci hashing).
    const STIR: u64 = 0x9E37_79B9_7F4B;
    let digits: String = uuid.chars().filter(|c| *c != '-').take(12).collect();
    let time_low = u64::from_str_radix(&digits, 16).unwrap_or_else(|_| {
        uuid.bytes().fold(0, |hash, byte| {
            // A UUID is hexadecimal; whatever else is handed in gets FNV-1a's name.
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        })
    });
    let stirred = (time_low & BITS).wrapping_mul(STIR) & BITS;
    format!("{:012x}", (stirred ^ (stirred >> 24)) & BITS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_short_distinct_and_valid_in_dns() {
        let names: BTreeSet<String> =
            (0..10_000).map(|low| container_name(&format!("{low:08x}-9987-11e4-b40a-0242ac110003"))).collect();
        assert_eq!(names.len(), 10_000);
        assert!(names.iter().all(|name| name.len() == 12 && name.bytes().all(|byte| byte.is_ascii_hexdigit())));
    }
}
