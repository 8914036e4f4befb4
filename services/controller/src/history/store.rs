//! The records in the store.

use super::record::{Change, PREFIXES, Record};
use super::rollback::{Plan, Refusal};
use ::store::{
    Compare, KeyRange, KeyValue, Operation, OperationResponse, RangeRequest, RefusalCode, Revision, Store, StoreError,
    TxnRequest,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

pub(crate) const PREFIX: &str = "/roadstead/history/";
/// Behind the records, which begin with digits.
const POSITION: &str = "/roadstead/history/position";

/// What was seen of the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// The format's version: 0.
    pub v: u32,
    /// Another store, a restored one too, counts its revisions anew.
    pub cluster_id: u64,
    /// What changed after this revision is kept.
    pub since: Revision,
    /// Of each prefix: everything up to here was seen.
    pub seen: [Revision; PREFIXES.len()],
}

/// The history as readers and the keeper share it, for one term.
pub(crate) struct History {
    store: Arc<dyn Store>,
    fence: Compare,
    limits: Limits,
    /// [`Position::seen`] of now, which is not written each time.
    seen: [AtomicI64; PREFIXES.len()],
}

/// How much is kept at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub records: usize,
    /// Of all records.
    pub bytes: usize,
    /// Of one; of a larger one it is only kept that there was something.
    pub record_bytes: usize,
}

/// How large each record is.
pub(super) type Sizes = BTreeMap<Revision, usize>;

#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    #[error("another controller leads")]
    Superseded,
    #[error("what was compared is not so any more")]
    Changed,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl History {
    pub fn new(store: Arc<dyn Store>, fence: Compare, limits: Limits) -> Self {
        Self { store, fence, limits, seen: Default::default() }
    }

    pub(super) fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    pub(super) fn saw(&self, prefix: usize, revision: Revision) {
        self.seen[prefix].store(revision, Relaxed);
    }

    /// All that are kept, the oldest first, and where they begin.
    pub async fn read(&self) -> Result<(Revision, Vec<Record>), StoreError> {
        let (now, held) = self.store.read_prefix(PREFIX, 0).await?;
        let since = held.iter().find(|kv| kv.key == POSITION).and_then(position_of).map_or(now, |at| at.since);
        Ok((since, held.iter().filter_map(record_of).collect()))
    }

    /// Every route document.
    pub async fn documents(&self) -> Result<Vec<KeyValue>, StoreError> {
        Ok(self.store.read_prefix(routing::document::ROUTES_PREFIX, 0).await?.1)
    }

    pub async fn one(&self, revision: Revision) -> Result<Option<Record>, StoreError> {
        Ok(self.store.get(&key(revision)).await?.as_ref().and_then(record_of))
    }

    /// What would bring people's keys back to what they were after a revision.
    pub async fn plan(&self, revision: Revision) -> Result<Result<Plan, Refusal>, StoreError> {
        let mut held = BTreeMap::new();
        for (place, prefix) in PREFIXES.iter().enumerate() {
            let seen = self.seen[place].load(Relaxed);
            for kv in self.store.read_prefix(prefix, 0).await?.1 {
                let Ok(key) = std::str::from_utf8(&kv.key).map(str::to_owned) else { continue };
                if kv.mod_revision > seen && kv.lease == 0 && !super::record::is_controllers(&key) {
                    return Ok(Err(Refusal::Behind));
                }
                held.insert(key, kv);
            }
            if seen == 0 || self.has_unseen_deletes(prefix, seen, &held).await? {
                return Ok(Err(Refusal::Behind));
            }
        }
        // Read later: it holds all that was seen of those.
        let (since, records) = self.read().await?;
        let now = self.store.range(RangeRequest::of(KeyRange::one(POSITION))).await?.revision;
        Ok(match revision {
            revision if revision < since => Err(Refusal::TooOld { since }),
            revision if revision > now => Err(Refusal::NotYet { revision, now }),
            revision => Plan::new(revision, &records, &held),
        })
    }

    /// Whether a key of people's that was there when the prefix was seen last is not there now: a delete leaves no revision at
    /// its key. Where the store has compacted that moment, a delete of the last milliseconds may be missed.
    async fn has_unseen_deletes(
        &self,
        prefix: &str,
        seen: Revision,
        held: &BTreeMap<String, KeyValue>,
    ) -> Result<bool, StoreError> {
        let then = match self.store.read_prefix(prefix, seen).await {
            Err(StoreError::Refused { code: RefusalCode::OutOfRange, .. }) => return Ok(false),
            read => read?.1,
        };
        Ok(then
            .iter()
            .filter(|kv| kv.lease == 0)
            .filter_map(|kv| std::str::from_utf8(&kv.key).ok())
            .any(|key| !held.contains_key(key) && !super::record::is_controllers(key)))
    }

    /// Does what was planned, all at once, if nobody changed any of it meanwhile.
    pub async fn carry_out(&self, plan: &Plan) -> Result<Revision, WriteError> {
        let compare = plan.steps.iter().map(|step| Compare::unchanged(step.key.clone(), step.read_at)).collect();
        let operation = |step: &super::rollback::Step| match &step.after {
            Some(value) => Operation::put(step.key.clone(), value.clone()),
            None => Operation::delete(step.key.clone()),
        };
        self.write(compare, plan.steps.iter().map(operation).collect()).await
    }

    /// Only while this controller leads.
    pub async fn write(&self, mut compare: Vec<Compare>, success: Vec<Operation>) -> Result<Revision, WriteError> {
        compare.push(self.fence.clone());
        let failure = vec![Operation::Range(RangeRequest::of(self.fence.range.clone()))];
        let response = self.store.txn(TxnRequest { compare, success, failure }).await?;
        if response.succeeded {
            return Ok(response.revision);
        }
        let leader = match response.responses.first() {
            Some(OperationResponse::Range(range)) => range.kvs.first().map_or(0, |kv| kv.mod_revision),
            _ => 0,
        };
        match self.fence.target {
            ::store::Target::ModRevision(revision) if revision == leader => Err(WriteError::Changed),
            _ => Err(WriteError::Superseded),
        }
    }

    /// Where the keeper goes on, and what is kept already. A history of another store is of no use here; a new one begins when
    /// this controller took the lead.
    pub(super) async fn resume(&self) -> Result<(Position, Sizes), WriteError> {
        let cluster_id = self.store.cluster_id().await?;
        let (now, held) = self.store.read_prefix(PREFIX, 0).await?;
        let begins = match self.fence.target {
            ::store::Target::ModRevision(revision) => revision,
            _ => now,
        };
        let position = held.iter().find(|kv| kv.key == POSITION).and_then(position_of);
        let sizes = held.iter().filter_map(|kv| Some((revision_of(kv)?, kv.value.len())));
        let (position, sizes) = match position {
            Some(position) if position.cluster_id == cluster_id => (position, sizes.collect()),
            _ => {
                let position = Position { v: 0, cluster_id, since: begins, seen: [begins; PREFIXES.len()] };
                if !held.is_empty() {
                    let records = KeyRange { key: PREFIX.into(), end: POSITION.into() };
                    self.write(Vec::new(), vec![Operation::Delete { range: records, prev_kv: false }]).await?;
                }
                self.write(Vec::new(), vec![put_position(&position)]).await?;
                (position, Sizes::new())
            }
        };
        position.seen.iter().enumerate().for_each(|(place, revision)| self.saw(place, *revision));
        Ok((position, sizes))
    }

    /// Keeps what one watch saw of a revision; the oldest go where there are too many.
    pub(super) async fn keep(
        &self,
        revision: Revision,
        changes: Vec<Change>,
        position: &mut Position,
        sizes: &mut Sizes,
    ) -> Result<(), WriteError> {
        let at_ms = jiff::Timestamp::now().as_millisecond();
        let known = if sizes.contains_key(&revision) { self.one(revision).await? } else { None };
        let record = match known {
            Some(record) => record.merge(changes),
            None => Record::new(revision, at_ms, changes),
        };
        self.keep_record(record, position, sizes).await
    }

    /// Keeps that the changes between two revisions were not seen.
    pub(super) async fn keep_gap(
        &self,
        after: Revision,
        until: Revision,
        position: &mut Position,
        sizes: &mut Sizes,
    ) -> Result<(), WriteError> {
        let known = if sizes.contains_key(&until) { self.one(until).await? } else { None };
        let at_ms = jiff::Timestamp::now().as_millisecond();
        let record = known.unwrap_or_else(|| Record::new(until, at_ms, Vec::new()));
        self.keep_record(record.unseen_after(after), position, sizes).await
    }

    async fn keep_record(&self, record: Record, position: &mut Position, sizes: &mut Sizes) -> Result<(), WriteError> {
        let mut value = value_of(&record);
        if value.len() > self.limits.record_bytes {
            value = value_of(&record.clone().without_changes());
        }
        match self.put_record(record.revision, value, position, sizes).await {
            // It would be refused again and again, and nothing after it be kept.
            Err(WriteError::Store(StoreError::Refused { code: RefusalCode::InvalidArgument, message })) => {
                tracing::warn!(revision = record.revision, message, "changes of routes are too large to be kept");
                self.put_record(record.revision, value_of(&record.without_changes()), position, sizes).await
            }
            put => put,
        }
    }

    async fn put_record(
        &self,
        revision: Revision,
        value: Vec<u8>,
        position: &mut Position,
        sizes: &mut Sizes,
    ) -> Result<(), WriteError> {
        let mut after = sizes.clone();
        after.insert(revision, value.len());
        let mut last_gone = None;
        while after.len() > self.limits.records || after.values().sum::<usize>() > self.limits.bytes {
            last_gone = after.pop_first().map(|(revision, _)| revision);
        }
        let mut operations = Vec::new();
        // No transaction puts and deletes the same key.
        if after.contains_key(&revision) {
            operations.push(Operation::put(key(revision), value));
        }
        if let Some(last) = last_gone {
            position.since = position.since.max(last);
            let range = KeyRange { key: PREFIX.into(), end: key(last + 1).into() };
            operations.push(Operation::Delete { range, prev_kv: false });
        }
        operations.push(put_position(position));
        self.write(Vec::new(), operations).await?;
        *sizes = after;
        Ok(())
    }

    pub(super) async fn keep_position(&self, position: &Position) -> Result<(), WriteError> {
        self.write(Vec::new(), vec![put_position(position)]).await.map(drop)
    }
}

fn value_of(record: &Record) -> Vec<u8> {
    serde_json::to_vec(record).expect("strings and numbers are always JSON")
}

fn put_position(position: &Position) -> Operation {
    Operation::put(POSITION, serde_json::to_vec(position).expect("numbers are always JSON"))
}

/// In the order of revisions.
fn key(revision: Revision) -> String {
    format!("{PREFIX}{revision:020}")
}

fn revision_of(kv: &KeyValue) -> Option<Revision> {
    std::str::from_utf8(&kv.key).ok()?.strip_prefix(PREFIX)?.parse().ok()
}

fn record_of(kv: &KeyValue) -> Option<Record> {
    revision_of(kv).and_then(|_| serde_json::from_slice(&kv.value).ok())
}

fn position_of(kv: &KeyValue) -> Option<Position> {
    serde_json::from_slice(&kv.value).ok()
}

#[cfg(test)]
mod tests {
    use super::super::record::Kept;
    use super::*;

    async fn open(limits: Limits) -> (tempfile::TempDir, History, Position, Sizes) {
        let data = tempfile::tempdir().unwrap();
        let store = Arc::new(::store::Embedded::open(data.path().to_owned()).await.unwrap());
        let history = History::new(store, Compare::absent("leader"), limits);
        let (position, sizes) = history.resume().await.unwrap();
        (data, history, position, sizes)
    }

    fn made(key: &str, value: &str) -> Vec<Change> {
        vec![Change { key: key.to_owned(), before: Kept::Absent, after: Kept::Text(value.to_owned()) }]
    }

    async fn revisions(history: &History) -> Vec<Revision> {
        history.read().await.unwrap().1.iter().map(|record| record.revision).collect()
    }

    #[tokio::test]
    async fn what_is_older_than_all_that_is_kept_is_let_go_at_once() {
        let (_data, history, mut position, mut sizes) = open(Limits { records: 2, ..super::super::LIMITS }).await;
        for revision in [10, 20, 30, 5, 20] {
            history.keep(revision, made("a", "1"), &mut position, &mut sizes).await.unwrap();
        }
        assert_eq!((revisions(&history).await, position.since), (vec![20, 30], 10));
        let (resumed, kept) = history.resume().await.unwrap();
        assert_eq!((resumed, kept), (position, sizes), "what is written is what is known");
    }

    #[tokio::test]
    async fn a_record_that_is_too_large_is_a_gap() {
        let (_data, history, mut position, mut sizes) =
            open(Limits { record_bytes: 1_000, ..super::super::LIMITS }).await;
        history.keep(7, made("a", &"x".repeat(2_000)), &mut position, &mut sizes).await.unwrap();
        let record = history.one(7).await.unwrap().unwrap();
        assert_eq!((record.changes, record.unseen_after), (Vec::new(), Some(6)));
        // Larger than the store takes at all.
        let (_data, history, mut position, mut sizes) =
            open(Limits { record_bytes: usize::MAX, ..super::super::LIMITS }).await;
        let long = made(&"k".repeat(2 << 20), "1");
        history.keep(7, long, &mut position, &mut sizes).await.unwrap();
        assert_eq!(history.one(7).await.unwrap().unwrap().unseen_after, Some(6));
    }

    #[tokio::test]
    async fn a_gap_leaves_what_is_known_of_its_revision() {
        let (_data, history, mut position, mut sizes) = open(super::super::LIMITS).await;
        history.keep(7, made("a", "1"), &mut position, &mut sizes).await.unwrap();
        for after in [4, 3, 5] {
            history.keep_gap(after, 7, &mut position, &mut sizes).await.unwrap();
        }
        history.keep(7, made("b", "1"), &mut position, &mut sizes).await.unwrap();
        let record = history.one(7).await.unwrap().unwrap();
        assert_eq!((record.changes.len(), record.unseen_after), (2, Some(3)));
    }
}
