//! vulcand's keys in the store: under either prefix, in either form, and changed only as they were read.

use crate::failure::Failure;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use store::{
    Compare, KeyRange, KeyValue, Operation, OperationResponse, Order, PutRequest, RangeRequest, Revision, Store,
    StoreError, Target, TxnRequest,
};
use vulcand::{Key, Kind, Prefix};

pub(crate) const PREFIXES: [Prefix; 2] = [Prefix::Slash, Prefix::Bare];

pub(crate) struct Storage {
    store: Arc<dyn Store>,
    fence: Option<Compare>,
}

/// The keys that may hold one object under one prefix, as they are.
pub(crate) struct Place {
    pub prefix: Prefix,
    /// vulcand's own form first.
    slots: Vec<(String, Option<KeyValue>)>,
}

/// A write that takes effect if what it was decided upon is still so.
#[derive(Default)]
pub(crate) struct Change {
    compare: Vec<Compare>,
    operations: Vec<Operation>,
}

impl Place {
    /// The value that counts: the newest, where there are several.
    pub fn held(&self) -> Option<&KeyValue> {
        self.slots.iter().filter_map(|(_, held)| held.as_ref()).max_by_key(|held| held.mod_revision)
    }
}

impl Storage {
    pub fn new(store: Arc<dyn Store>, fence: Option<Compare>) -> Self {
        Self { store, fence }
    }

    /// The places of some objects, all as of one moment: for each kind one per prefix.
    pub async fn places(&self, kinds: &[Kind]) -> Result<Vec<[Place; 2]>, Failure> {
        let mut places: Vec<[Place; 2]> = kinds.iter().map(|kind| PREFIXES.map(|prefix| empty(prefix, kind))).collect();
        let keys = places.iter().flatten().flat_map(|place| &place.slots).map(|(key, _)| key);
        let success = keys.map(|key| Operation::Range(RangeRequest::of(KeyRange::one(key.clone())))).collect();
        let response = self.store.txn(TxnRequest { success, ..TxnRequest::default() }).await?;
        let mut held = response.responses.into_iter().map(|response| match response {
            OperationResponse::Range(range) => range.kvs.into_iter().next(),
            _ => None,
        });
        for (_, slot) in places.iter_mut().flatten().flat_map(|place| &mut place.slots) {
            *slot = held.next().flatten();
        }
        Ok(places)
    }

    /// Everything below a path, such as `frontends/`, under both prefixes; of an object that has several keys the one that
    /// counts. And the revision up to which nothing is missing.
    pub async fn all_below(&self, path: &str) -> Result<(Revision, BTreeMap<Kind, KeyValue>), StoreError> {
        let (mut all, mut revision) = (BTreeMap::<Kind, (Prefix, KeyValue)>::new(), 0);
        for prefix in PREFIXES {
            let (read_at, held) = self.store.read_prefix(&format!("{}{path}", prefix.as_str()), revision).await?;
            revision = read_at;
            for held in held {
                let Some(key) = Key::parse(&held.key) else { continue };
                let counts = |(known, before): &(Prefix, KeyValue)| {
                    *known == key.prefix && before.mod_revision < held.mod_revision
                };
                if all.get(&key.kind).is_none_or(counts) {
                    all.insert(key.kind, (prefix, held));
                }
            }
        }
        Ok((revision, all.into_iter().map(|(kind, (_, held))| (kind, held)).collect()))
    }

    /// Whether there is any key below a path.
    pub async fn is_anything_below(&self, prefix: Prefix, path: &str) -> Result<bool, StoreError> {
        let range = KeyRange::prefix(format!("{}{path}", prefix.as_str()));
        Ok(self.store.range(RangeRequest { count_only: true, ..RangeRequest::of(range) }).await?.count > 0)
    }

    /// False: something was changed meanwhile, and nothing was written.
    pub async fn write(&self, change: Change, ttl: Option<Duration>) -> Result<bool, Failure> {
        let Change { mut compare, operations: mut success } = change;
        compare.extend(self.fence.clone());
        let lease = match ttl {
            Some(ttl) => Some(self.store.lease_grant(ttl).await?.id),
            None => None,
        };
        for operation in &mut success {
            if let (Operation::Put(put), Some(lease)) = (operation, lease) {
                put.lease = lease;
            }
        }
        let failure = self.fence.iter().map(|fence| Operation::Range(RangeRequest::of(fence.range.clone()))).collect();
        let written = self.store.txn(TxnRequest { compare, success, failure }).await;
        if !matches!(&written, Ok(response) if response.succeeded)
            && let Some(lease) = lease
        {
            // One that cannot be revoked ends by itself.
            let _ending = self.store.lease_revoke(lease).await;
        }
        let response = written?;
        if response.succeeded {
            return Ok(true);
        }
        match (&self.fence, response.responses.first()) {
            (Some(fence), Some(OperationResponse::Range(range))) if !holds(fence, range.kvs.first()) => {
                Err(Failure::Superseded(fence.clone()))
            }
            _ => Ok(false),
        }
    }
}

impl Change {
    /// The place is as it was read.
    pub fn if_unchanged(&mut self, place: &Place) {
        for (key, held) in &place.slots {
            let revision = held.as_ref().map_or(0, |held| held.mod_revision);
            self.compare.push(Compare::unchanged(key.clone(), revision));
        }
    }

    /// Nothing below a path, under either prefix, was written after a revision.
    pub fn if_unwritten_since(&mut self, path: &str, revision: Revision) {
        for prefix in PREFIXES {
            let range = KeyRange::prefix(format!("{}{path}", prefix.as_str()));
            self.compare.push(Compare { range, order: Order::Less, target: Target::ModRevision(revision + 1) });
        }
    }

    /// One key holds the object afterwards: the one that did, or vulcand's own form.
    pub fn put(&mut self, place: &Place, value: Bytes) {
        let key = place.held().map_or_else(|| Bytes::from(place.slots[0].0.clone()), |held| held.key.clone());
        for (other, held) in &place.slots {
            if held.is_some() && other.as_bytes() != key {
                self.operations.push(Operation::delete(other.clone()));
            }
        }
        self.operations.push(Operation::Put(PutRequest { key, value, lease: 0, prev_kv: false }));
    }

    /// Exactly these keys.
    pub fn delete(&mut self, place: &Place) {
        let held = place.slots.iter().filter(|(_, held)| held.is_some());
        self.operations.extend(held.map(|(key, _)| Operation::delete(key.clone())));
    }

    /// All keys below a path, which ends with a slash: what belongs to `f10` is not below `frontends/f1/`.
    pub fn delete_below(&mut self, place: &Place, path: &str) {
        debug_assert!(path.ends_with('/'), "a neighbour would go, too");
        let range = KeyRange::prefix(format!("{}{path}", place.prefix.as_str()));
        self.operations.push(Operation::Delete { range, prev_kv: false });
    }
}

/// vulcand reads `…/backends/b` as it reads `…/backends/b/backend`.
fn empty(prefix: Prefix, kind: &Kind) -> Place {
    let key = Key { prefix, kind: kind.clone() }.to_string();
    let short = match kind {
        Kind::Host { .. } | Kind::Backend { .. } | Kind::Frontend { .. } => {
            key.rsplit_once('/').map(|(short, _)| short)
        }
        Kind::Listener { .. } | Kind::Server { .. } | Kind::Middleware { .. } => None,
    };
    let short = short.map(|short| (short.to_owned(), None));
    Place { prefix, slots: [(key, None)].into_iter().chain(short).collect() }
}

fn holds(fence: &Compare, held: Option<&KeyValue>) -> bool {
    match fence.target {
        Target::ModRevision(revision) => held.map_or(0, |held| held.mod_revision) == revision,
        _ => true,
    }
}
