//! Who leads. A controller that starts writes the leader's key; every transaction of its compares that the key is as it
//! wrote it, so that a controller that was replaced (and may not know it) can write nothing.

use crate::keys;
use crate::uuids::Uuids;
use serde::{Deserialize, Serialize};
use store::{Compare, Operation, Revision, Store, StoreError, TxnRequest};

#[derive(Clone, Debug)]
pub(crate) struct Fence {
    revision: Revision,
    /// The platform's name of itself towards Marathon's clients; the same over restarts.
    pub framework_id: String,
}

#[derive(Serialize, Deserialize)]
struct Leader {
    framework_id: String,
    /// Of this start of a controller.
    incarnation: String,
}

impl Fence {
    pub(crate) async fn take(store: &dyn Store, uuids: &mut Uuids) -> Result<Self, StoreError> {
        let before = store.get(keys::LEADER).await?;
        let before = before.and_then(|kv| serde_json::from_slice::<Leader>(&kv.value).ok());
        let framework_id = before.map_or_else(|| uuids.next(), |leader| leader.framework_id);
        let leader = Leader { framework_id: framework_id.clone(), incarnation: uuids.next() };
        let value = serde_json::to_vec(&leader).expect("two strings are always JSON");
        let success = vec![Operation::put(keys::LEADER, value)];
        let revision = store.txn(TxnRequest { success, ..TxnRequest::default() }).await?.revision;
        Ok(Self { revision, framework_id })
    }

    pub(crate) fn compare(&self) -> Compare {
        Compare::unchanged(keys::LEADER, self.revision)
    }
}
