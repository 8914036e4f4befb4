//! What the object log does when nothing goes wrong with the disk.

use bytes::Bytes;
use durable::{Disk, FaultyDisk, RealDisk};
use objectlog::{Body, Completion, Condition, Error, Headers, ListQuery, NewObject, ObjectLog, Options};
use std::path::Path;
use std::time::{Duration, Instant};

const DIR: &str = "/data";

fn bytes(len: usize, seed: u8) -> Bytes {
    (0..len).map(|index| (index / 251) as u8 ^ (index as u8).wrapping_mul(31) ^ seed).collect()
}

async fn body(log: &ObjectLog, data: &Bytes, part: bool) -> Body {
    let mut writer = if part { log.part_writer() } else { log.writer() };
    for chunk in data.chunks(10_000) {
        writer.write(Bytes::copy_from_slice(chunk)).await.unwrap();
    }
    writer.finish().await.unwrap()
}

fn object(etag: &str, body: Body) -> NewObject {
    NewObject { etag: etag.into(), modified_ms: 7, headers: Headers::new(), body }
}

async fn put(log: &ObjectLog, key: &str, data: &Bytes) {
    let object = object("etag", body(log, data, false).await);
    log.put("b", key, object, &Condition::Always).await.unwrap();
}

async fn read(log: &ObjectLog, key: &str, range: std::ops::Range<u64>) -> Result<Bytes, Error> {
    let object = log.get("b", key)?.ok_or(Error::NoSuchObject { key: key.into() })?;
    let mut reader = log.reader(&object, range);
    let mut data = Vec::new();
    while let Some(bytes) = reader.next().await? {
        data.extend_from_slice(&bytes);
    }
    Ok(data.into())
}

fn extents(dir: &Path) -> usize {
    RealDisk.list(&dir.join("extents")).unwrap().len()
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_every_size_survive_a_restart_and_ranges_are_exact() {
    let dir = tempfile::tempdir().unwrap();
    let sizes = [0, 1, 131_072, 131_073, 262_144, 700_001];
    for restart in [false, true] {
        let log = ObjectLog::open(dir.path(), Options::default()).await.unwrap();
        if !restart {
            log.create_bucket("b", "me", 1).await.unwrap();
            for size in sizes {
                put(&log, &format!("k{size}"), &bytes(size, 3)).await;
            }
        }
        for size in sizes {
            let (key, data) = (format!("k{size}"), bytes(size, 3));
            assert_eq!(log.get("b", &key).unwrap().unwrap().len, size as u64);
            for (start, end) in [(0, size), (size / 2, size), (size.min(65_530), size.min(65_550)), (size, size)] {
                assert_eq!(read(&log, &key, start as u64..end as u64).await.unwrap(), data.slice(start..end));
            }
        }
        assert_eq!(log.bucket("b").unwrap().owner, "me");
    }
}

#[tokio::test]
async fn a_completed_upload_is_its_parts_in_order_and_nothing_is_copied() {
    let dir = tempfile::tempdir().unwrap();
    let log = ObjectLog::open(dir.path(), Options::default()).await.unwrap();
    log.create_bucket("b", "me", 1).await.unwrap();
    let upload = log.begin_upload("b", "k", 1, Headers::from([("content-type".into(), "a/b".into())])).await.unwrap();
    for number in [2, 1, 3] {
        let body = body(&log, &bytes(100_000, number as u8), true).await;
        log.put_part("b", "k", &upload, number, object(&format!("e{number}"), body)).await.unwrap();
    }
    let complete = async |chosen: &[(u32, &str)]| {
        let chosen: Vec<(u32, String)> = chosen.iter().map(|(number, etag)| (*number, (*etag).to_owned())).collect();
        let (etag, headers) = ("whole".to_owned(), Headers::from([("sum".into(), "1".into())]));
        let (part_bytes_min, modified_ms, condition) = (100_000, 9, &Condition::Always);
        let completion = Completion { chosen: &chosen, part_bytes_min, modified_ms, condition, etag, headers };
        log.complete_upload("b", "k", &upload, completion).await
    };
    assert!(matches!(complete(&[(1, "e2")]).await, Err(Error::InvalidPart { number: 1 })));
    assert!(matches!(complete(&[(2, "e2"), (1, "e1")]).await, Err(Error::InvalidPartOrder { number: 1 })));
    assert_eq!(extents(dir.path()), 3);
    complete(&[(1, "e1"), (3, "e3")]).await.unwrap();
    until("the part that was left out is removed", || extents(dir.path()) == 2).await;
    let expected = [bytes(100_000, 1), bytes(100_000, 3)].concat();
    assert_eq!(read(&log, "k", 0..200_000).await.unwrap(), expected);
    assert_eq!(read(&log, "k", 99_990..100_010).await.unwrap(), expected[99_990..100_010]);
    let object = log.get("b", "k").unwrap().unwrap();
    assert_eq!((object.headers["content-type"].as_str(), object.headers["sum"].as_str()), ("a/b", "1"));
    assert_eq!((object.etag.as_str(), object.upload.as_ref()), ("whole", Some(&upload)));
    assert!(matches!(complete(&[(1, "e1")]).await, Err(Error::NoSuchUpload { .. })));
}

#[tokio::test]
async fn extents_go_when_the_last_holder_does() {
    let dir = tempfile::tempdir().unwrap();
    let log = ObjectLog::open(dir.path(), Options::default()).await.unwrap();
    log.create_bucket("b", "me", 1).await.unwrap();
    let data = bytes(200_000, 1);
    put(&log, "source", &data).await;
    let source = log.get("b", "source").unwrap().unwrap();
    let copy = object("etag", log.body_of(&source).await.unwrap());
    log.put("b", "copy", copy, &Condition::Always).await.unwrap();
    drop(source);
    log.delete("b", "source", &Condition::Always).await.unwrap();
    assert_eq!(read(&log, "copy", 0..200_000).await.unwrap(), data);
    let held = log.get("b", "copy").unwrap().unwrap();
    log.delete("b", "copy", &Condition::Always).await.unwrap();
    let mut reader = log.reader(&held, 0..200_000);
    drop(held);
    assert_eq!(extents(dir.path()), 1, "a reader keeps what it reads");
    assert!(reader.next().await.unwrap().is_some());
    drop(reader);
    until("the extent is removed", || extents(dir.path()) == 0).await;
    let mut abandoned = log.writer();
    abandoned.write(data.clone()).await.unwrap();
    assert_eq!(extents(dir.path()), 1);
    drop(abandoned);
    until("an abandoned body is removed", || extents(dir.path()) == 0).await;
}

#[tokio::test]
async fn conditions_are_decided_in_turn() {
    let dir = tempfile::tempdir().unwrap();
    let log = ObjectLog::open(dir.path(), Options::default()).await.unwrap();
    log.create_bucket("b", "me", 1).await.unwrap();
    let attempts = (0..20).map(|number: u8| {
        let log = log.clone();
        async move {
            let object = object(&number.to_string(), body(&log, &bytes(10, number), false).await);
            log.put("b", "k", object, &Condition::Absent).await
        }
    });
    let results = futures::future::join_all(attempts).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    let etag = log.get("b", "k").unwrap().unwrap().etag.clone();
    let wrong = Condition::Matches("other".into());
    assert!(matches!(log.delete("b", "k", &wrong).await, Err(Error::Precondition { .. })));
    assert!(matches!(log.delete_bucket("b").await, Err(Error::BucketNotEmpty { .. })));
    assert!(log.delete("b", "k", &Condition::Matches(etag)).await.unwrap());
    assert!(!log.delete("b", "k", &Condition::Always).await.unwrap());
    assert!(matches!(log.create_bucket("b", "me", 1).await, Err(Error::BucketExists { .. })));
    log.delete_bucket("b").await.unwrap();
    assert!(matches!(log.get("b", "k"), Err(Error::NoSuchBucket { .. })));
}

#[tokio::test]
async fn a_log_that_is_mostly_dead_is_rewritten_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { segment_bytes: 256 << 10, log_bytes_min: 1 << 20, fsync: false };
    let log = ObjectLog::open(dir.path(), options).await.unwrap();
    log.create_bucket("b", "me", 1).await.unwrap();
    log.set_document("b", "cors", Some("rules".into())).await.unwrap();
    let upload = log.begin_upload("b", "u", 1, Headers::new()).await.unwrap();
    let part = object("e", body(&log, &bytes(9, 9), true).await);
    log.put_part("b", "u", &upload, 4, part).await.unwrap();
    put(&log, "kept-small", &bytes(1000, 1)).await;
    put(&log, "kept-large", &bytes(200_000, 2)).await;
    for round in 0..200u8 {
        put(&log, "changing", &bytes(60_000, round)).await;
        put(&log, "gone", &bytes(1000, round)).await;
        log.delete("b", "gone", &Condition::Always).await.unwrap();
    }
    let segments = || RealDisk.list(&dir.path().join("log")).unwrap().len();
    until("the log shrinks", || segments() <= 10).await;
    drop(log);
    let reopen = async || ObjectLog::open(dir.path(), options).await;
    let log = loop {
        // Rewriting in the background may hold the log a moment longer.
        match reopen().await {
            Ok(log) => break log,
            Err(Error::Log { source: durable::LogError::Locked { .. }, .. }) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(read(&log, "kept-small", 0..1000).await.unwrap(), bytes(1000, 1));
    assert_eq!(read(&log, "kept-large", 0..200_000).await.unwrap(), bytes(200_000, 2));
    assert_eq!(read(&log, "changing", 0..60_000).await.unwrap(), bytes(60_000, 199));
    assert_eq!(log.document("b", "cors").unwrap().as_deref(), Some("rules"));
    assert_eq!(log.parts("b", "u", &upload).unwrap()[&4].len, 9);
    let listing = log.list("b", ListQuery { items_max: 10, ..ListQuery::default() }).unwrap();
    let keys: Vec<&str> = listing.objects.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["changing", "kept-large", "kept-small"]);
}

#[tokio::test]
async fn a_rotten_byte_is_reported_and_never_returned() {
    let disk = FaultyDisk::new(1);
    let log = ObjectLog::open_on(disk.clone(), Path::new(DIR), Options::default()).await.unwrap();
    log.create_bucket("b", "me", 1).await.unwrap();
    put(&log, "small", &bytes(5000, 1)).await;
    put(&log, "large", &bytes(200_000, 1)).await;
    let extent = disk.list(Path::new("/data/extents")).unwrap().remove(0);
    disk.corrupt(&Path::new("/data/extents").join(extent), 100_000);
    let segment = disk.list(Path::new("/data/log")).unwrap().into_iter().find(|name| name.ends_with(".log")).unwrap();
    disk.corrupt(&Path::new("/data/log").join(segment), 3000);
    assert!(matches!(read(&log, "large", 0..200_000).await, Err(Error::Corrupt { block: 1, .. })));
    assert!(read(&log, "large", 0..1000).await.is_ok(), "other blocks are fine");
    assert!(matches!(read(&log, "small", 0..5000).await, Err(Error::Log { .. })));
}

#[tokio::test]
async fn after_a_failed_flush_nothing_is_acknowledged_any_more() {
    let disk = FaultyDisk::new(1);
    let log = ObjectLog::open_on(disk.clone(), Path::new(DIR), Options::default()).await.unwrap();
    log.create_bucket("b", "me", 1).await.unwrap();
    put(&log, "before", &bytes(10, 1)).await;
    disk.fail_next_sync();
    for key in ["during", "after"] {
        let object = object("e", body(&log, &bytes(10, 2), false).await);
        assert!(matches!(log.put("b", key, object, &Condition::Always).await, Err(Error::Log { .. })));
        assert!(log.get("b", key).unwrap().is_none());
    }
    assert!(read(&log, "before", 0..10).await.is_ok());
}
