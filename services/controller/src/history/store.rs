//! The records in the store.

use super::record::{Change, PREFIXES, Record};
use ::store::{
    Compare, KeyRange, KeyValue, Operation, OperationResponse, RangeRequest, RefusalCode, Revision, Store, StoreError,
    TxnRequest,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;

pub(crate) const PREFIX: &str = "/roadstead/history/";
/// Behind the records, which begin with digits.
const POSITION: &str = "/roadstead/history/position";

/// Records of servers that one transaction lets go.
const DROPS_MAX: usize = 100;

/// What was seen of the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// The format's version: 0.
    pub v: u32,
    /// Another store, a restored one too, counts its revisions anew.
    pub cluster_id: u64,
    /// What changed after this revision is kept, but for servers…
    pub since: Revision,
    /// …of which it is what changed after this one.
    #[serde(default)]
    pub servers_since: Revision,
    /// Of each prefix: everything up to here was seen.
    pub seen: [Revision; PREFIXES.len()],
}

/// The history as readers and the keeper share it, for one term.
pub(crate) struct History {
    store: Arc<dyn Store>,
    fence: Compare,
    limits: Limits,
    /// [`Position::seen`] of now, which is not written each time.
    seen: watch::Sender<[Revision; PREFIXES.len()]>,
}

/// All that is kept.
pub(crate) struct Past {
    /// As in [`Position`].
    pub since: Revision,
    pub servers_since: Revision,
    /// The oldest first.
    pub records: Vec<Record>,
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
pub(super) type Sizes = BTreeMap<Revision, Size>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    bytes: usize,
    servers_only: bool,
}

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
        Self { store, fence, limits, seen: watch::Sender::default() }
    }

    pub(super) fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    pub(super) fn saw(&self, prefix: usize, revision: Revision) {
        self.seen.send_modify(|seen| seen[prefix] = revision);
    }

    pub(super) fn seen(&self) -> watch::Receiver<[Revision; PREFIXES.len()]> {
        self.seen.subscribe()
    }

    pub async fn read(&self) -> Result<Past, StoreError> {
        let (now, held) = self.store.read_prefix(PREFIX, 0).await?;
        let position = held.iter().find(|kv| kv.key == POSITION).and_then(position_of);
        let (since, servers_since) = position.map_or((now, now), |at| (at.since, at.servers_since));
        let records = held.iter().filter_map(record_of).collect();
        Ok(Past { since, servers_since: servers_since.max(since), records })
    }

    /// Every route document.
    pub async fn documents(&self) -> Result<Vec<KeyValue>, StoreError> {
        Ok(self.store.read_prefix(routing::document::ROUTES_PREFIX, 0).await?.1)
    }

    pub async fn one(&self, revision: Revision) -> Result<Option<Record>, StoreError> {
        Ok(self.store.get(&key(revision)).await?.as_ref().and_then(record_of))
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
        let size = |kv: &KeyValue| {
            let servers_only = record_of(kv).is_some_and(|record| record.servers_only);
            Some((revision_of(kv)?, Size { bytes: kv.value.len(), servers_only }))
        };
        let sizes = held.iter().filter_map(size);
        let (position, sizes) = match position {
            Some(position) if position.cluster_id == cluster_id => (position, sizes.collect()),
            _ => {
                let position =
                    Position { v: 0, cluster_id, since: begins, servers_since: begins, seen: [begins; PREFIXES.len()] };
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
        let small = |record: Record| match value_of(&record).len() > self.limits.record_bytes {
            true => record.without_changes(),
            false => record,
        };
        match self.put_record(&small(record.clone()), position, sizes).await {
            // It would be refused again and again, and nothing after it be kept.
            Err(WriteError::Store(StoreError::Refused { code: RefusalCode::InvalidArgument, message })) => {
                tracing::warn!(revision = record.revision, message, "changes of routes are too large to be kept");
                self.put_record(&record.without_changes(), position, sizes).await
            }
            put => put,
        }
    }

    /// Where there are too many, records of servers go before any other.
    async fn put_record(&self, record: &Record, position: &mut Position, sizes: &mut Sizes) -> Result<(), WriteError> {
        let (revision, value) = (record.revision, value_of(record));
        let mut after = sizes.clone();
        after.insert(revision, Size { bytes: value.len(), servers_only: record.servers_only });
        let (mut servers, mut last_gone) = (Vec::new(), None);
        let Limits { records, bytes, .. } = self.limits;
        while after.len() > records || after.values().map(|size| size.bytes).sum::<usize>() > bytes {
            match after.iter().find(|(_, size)| size.servers_only).map(|(revision, _)| *revision) {
                Some(of_servers) => {
                    after.remove(&of_servers);
                    servers.push(of_servers);
                }
                None => last_gone = after.pop_first().map(|(revision, _)| revision),
            }
        }
        position.since = position.since.max(last_gone.unwrap_or_default());
        position.servers_since = position.servers_since.max(servers.last().copied().unwrap_or_default());
        let delete = |revision| Operation::delete(key(revision));
        while servers.len() > DROPS_MAX {
            let some = servers.split_off(servers.len() - DROPS_MAX).into_iter();
            self.write(Vec::new(), some.map(delete).chain([put_position(position)]).collect()).await?;
        }
        let mut operations: Vec<Operation> = servers.into_iter().map(delete).collect();
        // No transaction puts and deletes the same key.
        if after.contains_key(&revision) {
            operations.push(Operation::put(key(revision), value));
        }
        if let Some(last) = last_gone {
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
        history.read().await.unwrap().records.iter().map(|record| record.revision).collect()
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
    async fn servers_go_before_any_other_change() {
        let server = "/vulcand/backends/b/servers/s";
        let (_data, history, mut position, mut sizes) = open(Limits { records: 3, ..super::super::LIMITS }).await;
        for (revision, key) in [(10, "a"), (11, server), (12, server), (13, "b"), (14, server), (15, "c")] {
            history.keep(revision, made(key, "1"), &mut position, &mut sizes).await.unwrap();
        }
        assert_eq!((revisions(&history).await, position.servers_since), (vec![10, 13, 15], 14));
        assert!(position.since < 10, "what people changed is known from the beginning on");
        history.keep(16, made(server, "1"), &mut position, &mut sizes).await.unwrap();
        history.keep(17, made("d", "1"), &mut position, &mut sizes).await.unwrap();
        assert_eq!((revisions(&history).await, position.since), (vec![13, 15, 17], 10));
        let (resumed, kept) = history.resume().await.unwrap();
        assert_eq!((resumed, kept), (position.clone(), sizes), "what is written is what is known");
        // More of them than one transaction takes.
        let (_data, history, mut position, mut sizes) = open(super::super::LIMITS).await;
        for revision in 100..100 + 3 * DROPS_MAX as Revision {
            history.keep(revision, made(server, "1"), &mut position, &mut sizes).await.unwrap();
        }
        let large = made("a", &"x".repeat(30_000));
        let small = Limits { bytes: 31_000, ..super::super::LIMITS };
        let history = History { limits: small, ..history };
        history.keep(1_000, large, &mut position, &mut sizes).await.unwrap();
        let left = revisions(&history).await;
        assert!(left.len() < 10 && left.contains(&1_000), "{left:?}");
        assert_eq!(history.resume().await.unwrap(), (position, sizes));
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
