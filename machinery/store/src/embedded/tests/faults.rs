//! The store over a disk whose power is cut.

use super::*;
use crate::{KeyRange, Operation, RangeRequest, Store, TxnRequest};
use durable::FaultyDisk;
use std::collections::BTreeMap;

/// Small segments, snapshots and history, so that all of it happens within a short run.
fn options() -> Options {
    let log = LogOptions { segment_bytes: 2048, record_bytes_max: RECORD_BYTES_MAX, fsync: true };
    let limits = Limits { history_revisions_max: 40, ..Limits::default() };
    Options { limits, log, snapshot_log_bytes_min: 2000 }
}

async fn open(disk: &Arc<FaultyDisk>, options: Options) -> Result<Embedded, OpenError> {
    Embedded::open_with(disk.clone(), "/data/store".into(), options).await
}

async fn contents(store: &Embedded) -> BTreeMap<Bytes, Bytes> {
    let all = RangeRequest::of(KeyRange::prefix(""));
    let all = Store::range(store, all).await.expect("reading works");
    all.kvs.into_iter().map(|kv| (kv.key, kv.value)).collect()
}

/// Several writers at once put numbered values, some with a delete or a lease besides; the power is cut at some
/// operation of the disk; the store is opened again. Returns how many acknowledged writes are missing.
async fn simulate(seed: u64, options: Options, ignore_syncs: bool) -> usize {
    const ROUNDS: u64 = 4;
    const WRITERS: u64 = 3;
    let disk = FaultyDisk::new(seed);
    if ignore_syncs {
        disk.ignore_syncs();
    }
    let mut lost = 0;
    // Per writer: its last acknowledged number and revision.
    let mut acknowledged: BTreeMap<u64, (u64, Revision)> = BTreeMap::new();
    let mut identity = None;
    for round in 0..ROUNDS {
        let store = match open(&disk, options).await {
            Ok(store) => Arc::new(store),
            // The power may go during the very first opening, when nothing was answered yet.
            Err(_) => return lost + acknowledged.len().max(1),
        };
        assert!(*identity.get_or_insert(store.identity()) == store.identity() || ignore_syncs || !options.log.fsync);
        let found = contents(&store).await;
        for (writer, (number, revision)) in &acknowledged {
            let value = found.get(format!("/writer/{writer}").as_bytes());
            let kept: Option<u64> = value.and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
            // A later number was written and not answered: that may survive too.
            let is_there = kept.is_some_and(|kept| *number <= kept) && *revision <= store.revision();
            lost += usize::from(!is_there);
        }
        disk.crash_after_operations(20 + (seed * 37 + round * 101) % 120);
        let writers = (0..WRITERS).map(|writer| {
            let store = Arc::clone(&store);
            let first = acknowledged.get(&writer).map_or(0, |(number, _)| *number) + 1000 * round;
            tokio::spawn(async move {
                let mut last = None;
                for number in first + 1.. {
                    let mut success = vec![Operation::put(format!("/writer/{writer}"), number.to_string())];
                    success.push(match number % 3 {
                        0 => Operation::delete(format!("/other/{writer}")),
                        _ => Operation::put(format!("/other/{writer}"), vec![b'x'; 100]),
                    });
                    match Store::txn(&*store, TxnRequest { success, ..TxnRequest::default() }).await {
                        Ok(done) => last = Some((number, done.revision)),
                        Err(_) => break,
                    }
                }
                (writer, last)
            })
        });
        for done in futures::future::join_all(writers).await {
            let (writer, last) = done.expect("no writer panics");
            acknowledged.extend(last.map(|last| (writer, last)));
        }
        disk.crash();
        store.close().await;
    }
    lost
}

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_write_survives_a_power_cut() {
    for seed in 0..60 {
        assert_eq!(simulate(seed, options(), false).await, 0, "seed {seed}");
    }
}

/// The mutants: with fsync off the simulation above must see loss, or it proves nothing.
#[tokio::test(flavor = "multi_thread")]
async fn without_fsync_the_simulation_sees_loss() {
    let without_fsync = Options { log: LogOptions { fsync: false, ..options().log }, ..options() };
    let mut lost = [0, 0];
    for seed in 0..10 {
        lost[0] += simulate(seed, without_fsync, false).await;
        lost[1] += simulate(seed, options(), true).await;
    }
    assert!(lost.iter().all(|lost| *lost > 0), "the simulation cannot see a missing fsync: {lost:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_flush_is_not_acknowledged_and_makes_the_store_read_only() {
    let disk = FaultyDisk::new(1);
    let store = open(&disk, options()).await.unwrap();
    let revision = Store::put(&store, "a", "kept".into()).await.unwrap();
    let mut watch = store.watch_prefix("", revision + 1).await.unwrap();
    disk.fail_next_sync();
    assert!(matches!(Store::put(&store, "a", "lost".into()).await, Err(StoreError::Disk { .. })));
    assert!(matches!(Store::put(&store, "b", "never".into()).await, Err(StoreError::Disk { .. })));
    store.failed().await;
    let kv = store.get("a").await.unwrap().unwrap();
    assert_eq!((&kv.value[..], store.revision()), (&b"kept"[..], revision), "only what is durable is seen");
    disk.crash();
    store.close().await;
    drop(store);
    let ended = futures::StreamExt::next(&mut watch).await;
    assert!(matches!(ended, Some(Err(StoreError::Unavailable { .. }))), "no watcher saw the lost write: {ended:?}");
    let store = open(&disk, options()).await.unwrap();
    assert_eq!(store.get("a").await.unwrap().unwrap().value, "kept");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_seen_before_it_is_durable() {
    let disk = FaultyDisk::new(1);
    let store = Arc::new(open(&disk, options()).await.unwrap());
    Store::put(&*store, "a", "old".into()).await.unwrap();
    let mut watch = store.watch_prefix("a", 0).await.unwrap();
    let held = disk.hold_syncs();
    let writer = Arc::clone(&store);
    let put = tokio::spawn(async move { Store::put(&*writer, "a", "new".into()).await });
    let waiting = Arc::clone(&disk);
    tokio::task::spawn_blocking(move || waiting.wait_for_held_sync()).await.unwrap();
    assert_eq!(store.get("a").await.unwrap().unwrap().value, "old");
    assert!(futures::FutureExt::now_or_never(futures::StreamExt::next(&mut watch)).is_none());
    drop(held);
    put.await.unwrap().unwrap();
    assert_eq!(store.get("a").await.unwrap().unwrap().value, "new");
    assert_eq!(futures::StreamExt::next(&mut watch).await.unwrap().unwrap().events.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_share_few_flushes() {
    const WRITES: usize = 200;
    let disk = FaultyDisk::new(1);
    let store = Arc::new(open(&disk, Options::default()).await.unwrap());
    let before = disk.syncs();
    let held = disk.hold_syncs();
    let puts: Vec<_> = (0..WRITES)
        .map(|number| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { Store::put(&*store, &format!("k{number}"), "v".into()).await })
        })
        .collect();
    let waiting = Arc::clone(&disk);
    tokio::task::spawn_blocking(move || waiting.wait_for_held_sync()).await.unwrap();
    // All are applied, none is answered.
    while store.shared.read().engine.revision() < 1 + WRITES as Revision {
        tokio::task::yield_now().await;
    }
    drop(held);
    for put in puts {
        put.await.unwrap().unwrap();
    }
    assert!(disk.syncs() - before <= 2, "{} flushes for {WRITES} writes", disk.syncs() - before);
}

#[tokio::test(flavor = "multi_thread")]
async fn log_memory_and_history_stay_bounded_and_a_snapshot_brings_all_back() {
    let disk = FaultyDisk::new(1);
    let store = open(&disk, options()).await.unwrap();
    let lease = store.lease_grant(7, 60).await.unwrap().0;
    let put = crate::wire::etcdserverpb::PutRequest { key: "leased".into(), lease, ..Default::default() };
    store.put(&put).await.unwrap();
    for number in 0..600 {
        Store::put(&store, &format!("key/{}", number % 10), format!("{number:0>100}").into()).await.unwrap();
    }
    let deadline = Instant::now() + std::time::Duration::from_secs(10);
    // The last compaction may be still on its way ...
    while store.status().revision - store.status().compacted > 41 || store.status().bytes >= 41 * 400 {
        assert!(Instant::now() < deadline, "history is not cut: {:?}", store.status());
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    // ... and the last snapshot, too.
    while store.shared.log.segments().len() > 6 {
        assert!(Instant::now() < deadline, "the log is not cut: {:?}", store.shared.log.segments());
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let before = (contents(&store).await, store.revision(), store.identity(), store.status().bytes);
    store.close().await;
    disk.crash();
    drop(store);
    let store = open(&disk, options()).await.unwrap();
    let after = (contents(&store).await, store.revision(), store.identity(), store.status().bytes);
    assert_eq!(after, before);
    assert_eq!(store.lease_keys(lease), ["leased"]);
    let kv = store.get("key/3").await.unwrap().unwrap();
    assert_eq!(kv.version, 60, "versions go on counting");
    let revision = store.revision();
    let mut watch = store.watch_prefix("", revision - 5).await.unwrap();
    let batch = futures::StreamExt::next(&mut watch).await.unwrap().unwrap();
    assert_eq!((batch.events.len(), batch.revision), (6, revision), "history is there again");
    store.close().await;
}
