//! A store in memory that can be taken away, emptied and given back.

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;
use store::{
    Event, KeyRange, KeyValue, Lease, LeaseId, Operation, OperationResponse, RangeRequest, RangeResponse, Revision,
    Store, StoreError, TxnRequest, TxnResponse, WatchBatch, WatchRequest, WatchStream,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;

#[derive(Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    revision: Revision,
    keys: BTreeMap<Bytes, KeyValue>,
    watchers: Vec<(KeyRange, mpsc::UnboundedSender<Result<WatchBatch, StoreError>>)>,
    away: bool,
    reads: usize,
}

fn covers(range: &KeyRange, key: &[u8]) -> bool {
    key >= &range.key[..] && (if range.end.is_empty() { key == &range.key[..] } else { key < &range.end[..] })
}

fn away() -> StoreError {
    StoreError::Unavailable { message: "taken away by the test".into() }
}

impl MemoryStore {
    /// Ends all watches and refuses everything.
    pub fn take_away(&self) {
        let mut state = self.state.lock().unwrap();
        state.away = true;
        for (_, watcher) in state.watchers.drain(..) {
            let _gone = watcher.send(Err(away()));
        }
    }

    pub fn give_back(&self) {
        self.state.lock().unwrap().away = false;
    }

    /// Changes keys that nobody is told of, as if another store answered from now on.
    pub fn clear_silently(&self) {
        self.state.lock().unwrap().keys.clear();
    }

    pub fn put_silently(&self, key: &str, value: &str) {
        let mut state = self.state.lock().unwrap();
        let kv = KeyValue { key: key.to_owned().into(), value: value.to_owned().into(), ..KeyValue::default() };
        state.keys.insert(kv.key.clone(), kv);
    }

    pub fn revision(&self) -> Revision {
        self.state.lock().unwrap().revision
    }

    /// Ranges that were asked for so far.
    pub fn reads(&self) -> usize {
        self.state.lock().unwrap().reads
    }

    /// Several puts (or deletes, without a value) at one revision.
    pub async fn change(&self, changes: &[(&str, Option<&str>)]) -> Revision {
        let operation = |(key, value): &(&str, Option<&str>)| match value {
            Some(value) => Operation::put(key.to_string(), value.to_string()),
            None => Operation::delete(key.to_string()),
        };
        let success = changes.iter().map(operation).collect();
        self.txn(TxnRequest { success, ..TxnRequest::default() }).await.unwrap().revision
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, StoreError> {
        let mut state = self.state.lock().unwrap();
        state.reads += 1;
        if state.away {
            return Err(away());
        }
        let mut kvs: Vec<KeyValue> =
            state.keys.values().filter(|kv| covers(&request.range, &kv.key)).cloned().collect();
        let count = kvs.len() as i64;
        let more = request.limit > 0 && count > request.limit;
        if more {
            kvs.truncate(request.limit as usize);
        }
        Ok(RangeResponse { revision: state.revision, kvs, count, more })
    }

    async fn txn(&self, request: TxnRequest) -> Result<TxnResponse, StoreError> {
        let mut state = self.state.lock().unwrap();
        assert!(request.compare.is_empty(), "the edge writes nothing; tests write without conditions");
        state.revision += 1;
        let revision = state.revision;
        let mut events = Vec::new();
        for operation in request.success {
            match operation {
                Operation::Put(put) => {
                    let kv = KeyValue { key: put.key, value: put.value, mod_revision: revision, ..KeyValue::default() };
                    state.keys.insert(kv.key.clone(), kv.clone());
                    events.push(Event::Put { kv, prev_kv: None });
                }
                Operation::Delete { range, .. } => {
                    state.keys.remove(&range.key);
                    events.push(Event::Delete { key: range.key, mod_revision: revision, prev_kv: None });
                }
                Operation::Range(_) => unreachable!("tests do not ask for it"),
            }
        }
        let responses = vec![OperationResponse::Put { prev_kv: None }];
        state.watchers.retain(|(range, watcher)| {
            let events = events.iter().filter(|event| covers(range, event.key())).cloned().collect();
            watcher.send(Ok(WatchBatch { revision, events })).is_ok()
        });
        Ok(TxnResponse { revision, succeeded: true, responses })
    }

    async fn watch(&self, request: WatchRequest) -> Result<WatchStream, StoreError> {
        let mut state = self.state.lock().unwrap();
        if state.away {
            return Err(away());
        }
        let (sender, receiver) = mpsc::unbounded_channel();
        if request.start_revision > 0 && request.start_revision <= state.revision {
            // Between a reading and its watch the test wrote: history is told as one batch.
            let missed = state
                .keys
                .values()
                .filter(|kv| covers(&request.range, &kv.key) && kv.mod_revision >= request.start_revision);
            let events = missed.cloned().map(|kv| Event::Put { kv, prev_kv: None }).collect();
            sender.send(Ok(WatchBatch { revision: state.revision, events })).unwrap();
        }
        state.watchers.push((request.range, sender));
        Ok(UnboundedReceiverStream::new(receiver).boxed())
    }

    async fn compact(&self, _revision: Revision) -> Result<(), StoreError> {
        Ok(())
    }

    async fn lease_grant(&self, ttl: Duration) -> Result<Lease, StoreError> {
        Ok(Lease { id: 1, ttl })
    }

    async fn lease_keep_alive(&self, _id: LeaseId) -> Result<Option<Duration>, StoreError> {
        Ok(None)
    }

    async fn lease_revoke(&self, _id: LeaseId) -> Result<(), StoreError> {
        Ok(())
    }

    async fn cluster_id(&self) -> Result<u64, StoreError> {
        Ok(1)
    }
}
