//! The fence: the revision of this leader's record. Every transaction of a leader compares that the record is as the
//! leader wrote it, so that one that was replaced (and may not know it) can write nothing.
//!
//! In a cluster the record lies on a lease and vanishes with its leader; what must outlive it, the framework's id, has a
//! key of its own.

use crate::election::{LEASE_TTL, Record, Seen};
use crate::keys;
use crate::uuids::Uuids;
use std::time::Duration;
use store::{Compare, KeyRange, LeaseId, Operation, PutRequest, RangeRequest, Revision, Store, StoreError, TxnRequest};

#[derive(Clone, Debug)]
pub(crate) struct Fence {
    revision: Revision,
    /// 0 without a cluster.
    lease: LeaseId,
    /// The platform's name of itself towards Marathon's clients; the same over restarts.
    pub framework_id: String,
}

/// What came of a campaign.
pub(crate) enum Campaign {
    Won { fence: Fence, ttl: Duration },
    Lost,
}

impl Fence {
    /// Takes the lead from whoever has it, for as long as nobody else does the same: there is one controller.
    pub(crate) async fn take(store: &dyn Store, uuids: &mut Uuids) -> Result<Self, StoreError> {
        let framework_id = framework_id(store, uuids).await?;
        let (framework_id_kept, incarnation) = (framework_id.clone(), uuids.next());
        let record = Record { framework_id: framework_id_kept, incarnation, ..Record::default() };
        let success = record_and_framework(&record, 0);
        let revision = store.txn(TxnRequest { success, ..TxnRequest::default() }).await?.revision;
        Ok(Self { revision, lease: 0, framework_id })
    }

    /// Takes the lead if the record is still the one of revision `against` (`None`: if there is none), on a lease.
    pub(crate) async fn campaign(
        store: &dyn Store,
        uuids: &mut Uuids,
        record: &Record,
        against: Option<Revision>,
    ) -> Result<Campaign, StoreError> {
        let framework_id = framework_id(store, uuids).await?;
        let record = Record { framework_id: framework_id.clone(), ..record.clone() };
        let lease = store.lease_grant(LEASE_TTL).await?;
        let unchanged = match against {
            Some(revision) => Compare::unchanged(keys::LEADER, revision),
            None => Compare::absent(keys::LEADER),
        };
        let success = record_and_framework(&record, lease.id);
        let written = store.txn(TxnRequest { compare: vec![unchanged], success, failure: Vec::new() }).await;
        match written {
            Ok(response) if response.succeeded => {
                let fence = Self { revision: response.revision, lease: lease.id, framework_id };
                Ok(Campaign::Won { fence, ttl: lease.ttl })
            }
            lost => {
                // One that cannot be revoked ends by itself.
                let _expiring = store.lease_revoke(lease.id).await;
                lost.map(|_| Campaign::Lost)
            }
        }
    }

    /// `None` when the lease is gone.
    pub(crate) async fn renew(&self, store: &dyn Store) -> Result<Option<Duration>, StoreError> {
        store.lease_keep_alive(self.lease).await
    }

    /// Gives the lead away, if it is still held.
    pub(crate) async fn release(&self, store: &dyn Store) -> Result<(), StoreError> {
        store.lease_revoke(self.lease).await
    }

    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    pub(crate) fn compare(&self) -> Compare {
        Compare::unchanged(keys::LEADER, self.revision)
    }
}

/// The store's revision and the record, as it is now. One that cannot be read counts as one that nobody holds.
pub(crate) async fn look(store: &dyn Store) -> Result<(Revision, Option<Seen>), StoreError> {
    let response = store.range(RangeRequest::of(KeyRange::one(keys::LEADER))).await?;
    let seen = response.kvs.into_iter().next().map(|kv| {
        let read = serde_json::from_slice::<Record>(&kv.value);
        let is_leased = kv.lease != 0 && read.is_ok();
        Seen { record: read.unwrap_or_default(), revision: kv.mod_revision, is_leased }
    });
    Ok((response.revision, seen))
}

/// The one that is stored; else that of a record of before it had its own key; else a new one.
async fn framework_id(store: &dyn Store, uuids: &mut Uuids) -> Result<String, StoreError> {
    if let Some(kv) = store.get(keys::FRAMEWORK).await?
        && let Ok(id) = serde_json::from_slice(&kv.value)
    {
        return Ok(id);
    }
    let record = look(store).await?.1.map(|seen| seen.record.framework_id).filter(|id| !id.is_empty());
    Ok(record.unwrap_or_else(|| uuids.next()))
}

fn record_and_framework(record: &Record, lease: LeaseId) -> Vec<Operation> {
    let value = serde_json::to_vec(record).expect("strings are always JSON").into();
    let framework = serde_json::to_vec(&record.framework_id).expect("a string is always JSON");
    let put = PutRequest { key: keys::LEADER.into(), value, lease, prev_kv: false };
    vec![Operation::Put(put), Operation::put(keys::FRAMEWORK, framework)]
}
