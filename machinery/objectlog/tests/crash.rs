//! The power is cut in the middle of work, again and again, and what was acknowledged must be there.
//!
//! Four writers, each with keys of its own, put small and large objects, copy, upload in parts and delete, until the disk
//! dies under them. Each keeps a ledger: what a key is known to hold, and, for the change that was not answered, what it
//! may hold instead. After the restart every key must hold one of these, whole. The mutant, which does not flush, must be
//! caught.

use bytes::Bytes;
use durable::FaultyDisk;
use objectlog::{Completion, Condition, Error, Headers, NewObject, ObjectLog, Options};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

const DIR: &str = "/data";
const SEEDS: u64 = 40;
const WRITERS: u64 = 4;
const RESTARTS: u64 = 3;
const OPTIONS: Options = Options { segment_bytes: 128 << 10, log_bytes_min: 384 << 10, fsync: true };

/// What a key may hold: the tag its content was made of, or nothing.
type Content = Option<u64>;

#[derive(Clone, Debug)]
struct Entry {
    acknowledged: Content,
    in_doubt: Option<Content>,
}

type Ledger = BTreeMap<String, Entry>;

/// SplitMix64: choices that a seed repeats.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// The bytes that belong to a tag: its length and every byte follow from it.
fn data(tag: u64) -> Bytes {
    let len = match tag % 3 {
        0 => tag * 7919 % 5000,
        1 => 131_000 + tag * 31 % 200,
        _ => 131_073 + tag * 7919 % 70_000,
    };
    (0..len).map(|index| (index ^ (index >> 8) ^ tag) as u8).collect()
}

struct Writer {
    log: ObjectLog,
    random: Random,
    ledger: Ledger,
    name: u64,
    tag_next: u64,
}

impl Writer {
    /// Works until the disk fails, or `count` changes are done.
    async fn work(mut self, count: u64) -> Ledger {
        for _ in 0..count {
            let key = format!("w{}/k{}", self.name, self.random.below(4));
            let tag = self.tag_next * WRITERS + self.name;
            self.tag_next += 1;
            let old = self.ledger.get(&key).and_then(|entry| entry.acknowledged);
            let (new, result) = match self.random.below(5) {
                0 => (None, self.log.delete("b", &key, &Condition::Always).await.map(|_| ())),
                1 => (Some(tag), self.upload(&key, tag).await),
                _ => (Some(tag), self.put(&key, tag).await),
            };
            let done = result.is_ok();
            let entry = match done {
                true => Entry { acknowledged: new, in_doubt: None },
                false => Entry { acknowledged: old, in_doubt: Some(new) },
            };
            self.ledger.insert(key, entry);
            if !done {
                break;
            }
        }
        self.ledger
    }

    async fn put(&self, key: &str, tag: u64) -> Result<(), Error> {
        let mut writer = self.log.writer();
        writer.write(data(tag)).await?;
        let object = new(tag, writer.finish().await?);
        self.log.put("b", key, object, &Condition::Always).await
    }

    async fn upload(&self, key: &str, tag: u64) -> Result<(), Error> {
        let data = data(tag);
        let upload = self.log.begin_upload("b", key, 0, Headers::new()).await?;
        let half = data.len() / 2;
        let mut chosen = Vec::new();
        for (number, part) in [(1, data.slice(..half)), (2, data.slice(half..))] {
            let mut writer = self.log.part_writer();
            writer.write(part).await?;
            let part = new(tag, writer.finish().await?);
            chosen.push((number, part.etag.clone()));
            self.log.put_part("b", key, &upload, number, part).await?;
        }
        let (etag, headers, condition) = (tag.to_string(), Headers::new(), &Condition::Always);
        let completion = Completion { chosen: &chosen, part_bytes_min: 0, modified_ms: 0, condition, etag, headers };
        self.log.complete_upload("b", key, &upload, completion).await
    }
}

fn new(tag: u64, body: objectlog::Body) -> NewObject {
    NewObject { etag: tag.to_string(), modified_ms: 0, headers: Headers::new(), body }
}

async fn held(log: &ObjectLog, key: &str) -> Result<Content, String> {
    let Some(object) = log.get("b", key).map_err(|error| format!("{key}: {}", chain(&error)))? else { return Ok(None) };
    let tag: u64 = object.etag.parse().map_err(|_| format!("{key}: etag {}", object.etag))?;
    let mut reader = log.reader(&object, 0..object.len);
    let mut bytes = Vec::new();
    while let Some(piece) = reader.next().await.map_err(|error| format!("{key}: {}", chain(&error)))? {
        bytes.extend_from_slice(&piece);
    }
    match bytes == data(tag) {
        true => Ok(Some(tag)),
        false => Err(format!("{key}: the bytes are not those of {tag}")),
    }
}

/// Several crashes on one disk; an error says which promise was broken.
async fn crashes(seed: u64, options: Options) -> Result<(), String> {
    let disk = FaultyDisk::new(seed);
    let mut random = Random(seed);
    let mut ledgers: Vec<Ledger> = vec![Ledger::new(); WRITERS as usize];
    for restart in 0..=RESTARTS {
        let log = ObjectLog::open_on(disk.life(), Path::new(DIR), options).await;
        let log = log.map_err(|error| format!("open: {}", chain(&error)))?;
        if restart == 0 {
            log.create_bucket("b", "me", 0).await.map_err(|error| error.to_string())?;
        }
        for (key, entry) in ledgers.iter_mut().flatten() {
            let content = held(&log, key).await?;
            if content != entry.acknowledged && Some(content) != entry.in_doubt {
                return Err(format!("{key} holds {content:?}, expected {entry:?}"));
            }
            *entry = Entry { acknowledged: content, in_doubt: None };
        }
        if restart == RESTARTS {
            return Ok(());
        }
        disk.crash_after_operations(20 + random.below(250));
        let writers = ledgers.drain(..).enumerate().map(|(name, ledger)| {
            let (name, random) = (name as u64, Random(seed ^ (restart << 32) ^ (name as u64) << 40));
            let writer = Writer { log: log.clone(), random, ledger, name, tag_next: restart * 1000 + 1 };
            writer.work(100)
        });
        ledgers = futures::future::join_all(writers).await;
        disk.crash();
        drop(log);
    }
    Ok(())
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_changes_survive_power_cuts_and_others_are_whole_or_absent() {
    for seed in 0..SEEDS {
        if let Err(error) = crashes(seed, OPTIONS).await {
            panic!("seed {seed}: {error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_flushes_the_same_test_fails() {
    for seed in 0..SEEDS {
        if crashes(seed, Options { fsync: false, ..OPTIONS }).await.is_err() {
            return;
        }
    }
    panic!("no seed of {SEEDS} showed that nothing is flushed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_opener_is_refused() {
    let disk = FaultyDisk::new(1);
    let _open = ObjectLog::open_on(disk.clone(), Path::new(DIR), OPTIONS).await.unwrap();
    let second = ObjectLog::open_on(disk.clone(), Path::new(DIR), OPTIONS).await;
    assert!(matches!(second.err(), Some(Error::Log { source: durable::LogError::Locked { .. }, .. })));
    let _keeps_the_disk: Arc<FaultyDisk> = disk;
}

/// The process is told to stop while a record is being flushed: the record may still become durable, so what it names must
/// not be cleaned up by those who no longer wait.
#[test]
fn what_a_record_in_doubt_names_is_kept() {
    let disk = FaultyDisk::new(1);
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let (stopped, tag) = (runtime(), 131_075);
    assert!(data(tag).len() > objectlog::INLINE_BYTES_MAX);
    let log = stopped.block_on(async {
        let log = ObjectLog::open_on(disk.clone(), Path::new(DIR), OPTIONS).await.unwrap();
        log.create_bucket("b", "me", 0).await.unwrap();
        log
    });
    let body = stopped.block_on(async {
        let mut writer = log.writer();
        writer.write(data(tag)).await.unwrap();
        writer.finish().await.unwrap()
    });
    let held_syncs = disk.hold_syncs();
    let putting = log.clone();
    stopped.spawn(async move { putting.put("b", "k", new(tag, body), &Condition::Always).await });
    disk.wait_for_held_sync();
    drop(stopped);
    drop(held_syncs);
    drop(log);
    runtime().block_on(async {
        let log = ObjectLog::open_on(disk.clone(), Path::new(DIR), OPTIONS).await.unwrap();
        assert_eq!(held(&log, "k").await, Ok(Some(tag)));
    });
}
