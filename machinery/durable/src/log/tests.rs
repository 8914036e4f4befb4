use super::*;
use crate::{FaultyDisk, RealDisk};

const DIR: &str = "/data/log";
const OPTIONS: LogOptions = LogOptions { segment_bytes: 4096, record_bytes_max: 2048, fsync: true };

fn open(disk: &Arc<FaultyDisk>) -> Result<(Log, Vec<Bytes>), LogError> {
    open_with(disk, OPTIONS)
}

fn open_with(disk: &Arc<FaultyDisk>, options: LogOptions) -> Result<(Log, Vec<Bytes>), LogError> {
    let mut records = Vec::new();
    let disk: Arc<dyn Disk> = disk.clone();
    let log = Log::open(disk, DIR.into(), options, &mut |_, payload| {
        records.push(Bytes::copy_from_slice(payload));
        Ok(())
    })?;
    Ok((log, records))
}

fn record(number: u64) -> Bytes {
    // Lengths from a few bytes to several sectors, content that tells the record's number.
    let length = 8 + (number * 97 % 1500) as usize;
    number.to_le_bytes().iter().copied().cycle().take(length).collect()
}

async fn append_each(log: &Log, numbers: std::ops::Range<u64>) -> Vec<Position> {
    let mut positions = Vec::new();
    for number in numbers {
        positions.push(log.append(record(number)).await.unwrap());
    }
    positions
}

#[tokio::test]
async fn records_are_replayed_in_order_over_segments_and_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let log = Log::open(Arc::new(RealDisk), path.clone(), OPTIONS, &mut |_, _| Ok(())).unwrap();
    let positions = append_each(&log, 0..40).await;
    assert!(log.segments().len() > 3);
    for (number, position) in positions.iter().enumerate() {
        assert_eq!(log.read(*position).unwrap(), record(number as u64));
    }
    drop(log);
    let mut replayed = Vec::new();
    let mut replay = |position, payload: &[u8]| {
        replayed.push((position, Bytes::copy_from_slice(payload)));
        Ok(())
    };
    let log = Log::open(Arc::new(RealDisk), path, OPTIONS, &mut replay).unwrap();
    assert_eq!(replayed, positions.into_iter().zip((0..).map(record)).collect::<Vec<_>>());
    append_each(&log, 40..41).await;
}

#[tokio::test]
async fn many_appends_share_few_flushes() {
    let disk = FaultyDisk::new(1);
    let (log, _) = open_with(&disk, LogOptions { segment_bytes: 1 << 20, ..OPTIONS }).unwrap();
    let before = disk.syncs();
    let held = disk.hold_syncs();
    let first = tokio::spawn(log.append(record(0)));
    disk.wait_for_held_sync();
    let gathered: Vec<_> = (1..=100).map(|number| log.append(record(number))).collect();
    drop(held);
    first.await.unwrap().unwrap();
    for answer in gathered {
        answer.await.unwrap();
    }
    assert_eq!(disk.syncs() - before, 2, "one flush for the first record, one for the hundred that gathered meanwhile");
}

#[tokio::test]
async fn a_second_opener_is_refused_by_name() {
    let disk = FaultyDisk::new(1);
    let (log, _) = open(&disk).unwrap();
    let refusal = open(&disk).err().unwrap();
    assert_eq!(refusal.to_string(), "/data/log is in use by another process");
    drop(log);
    open(&disk).unwrap();
}

#[tokio::test]
async fn a_failed_flush_makes_the_log_read_only() {
    let disk = FaultyDisk::new(1);
    let (log, _) = open(&disk).unwrap();
    let kept = append_each(&log, 0..3).await;
    disk.fail_next_sync();
    assert!(matches!(log.append(record(3)).await, Err(LogError::ReadOnly { .. })));
    assert!(matches!(log.append(record(4)).await, Err(LogError::ReadOnly { .. })), "a failed flush is not retried");
    assert!(matches!(log.roll().await, Err(LogError::ReadOnly { .. })));
    assert_eq!(log.read(kept[2]).unwrap(), record(2), "what was durable can still be read");
    disk.crash();
    drop(log);
    let (_, records) = open(&disk).unwrap();
    assert_eq!(records, (0..3).map(record).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_torn_tail_is_cut_off_and_written_over() {
    let disk = FaultyDisk::new(1);
    let (log, _) = open(&disk).unwrap();
    let kept = append_each(&log, 0..2).await;
    let last = log.append(record(5)).await.unwrap();
    drop(log);
    let path = segment_path(Path::new(DIR), last.segment);
    let file = disk.open(&path, false).unwrap();
    file.set_len(last.offset + 100).unwrap();
    file.sync().unwrap();
    let (log, records) = open(&disk).unwrap();
    assert_eq!(records, [record(0), record(1)]);
    assert_eq!(file.len().unwrap(), last.offset);
    assert_eq!(log.append(record(2)).await.unwrap().offset, last.offset);
    assert_eq!(log.read(kept[1]).unwrap(), record(1));
    drop(log);
    assert_eq!(open(&disk).unwrap().1, [record(0), record(1), record(2)]);
}

#[tokio::test]
async fn a_broken_record_before_a_later_flush_is_corruption() {
    for in_payload in [false, true] {
        let disk = FaultyDisk::new(1);
        let (log, _) = open(&disk).unwrap();
        let positions = append_each(&log, 0..3).await;
        drop(log);
        let offset = positions[1].offset + if in_payload { 40 } else { 9 };
        disk.corrupt(&segment_path(Path::new(DIR), 1), offset);
        let error = open(&disk).err().expect("silent loss");
        assert!(matches!(error, LogError::Corrupt { offset, .. } if offset == positions[1].offset), "{error}");
    }
}

#[tokio::test]
async fn a_broken_record_of_an_older_segment_is_corruption() {
    let disk = FaultyDisk::new(1);
    let (log, _) = open(&disk).unwrap();
    let position = append_each(&log, 0..1).await[0];
    log.roll().await.unwrap();
    drop(log);
    disk.corrupt(&segment_path(Path::new(DIR), position.segment), position.offset + 33);
    assert!(matches!(open(&disk), Err(LogError::Corrupt { .. })));
}

#[tokio::test]
async fn a_corrupt_record_is_not_read() {
    let disk = FaultyDisk::new(1);
    let (log, _) = open(&disk).unwrap();
    let position = append_each(&log, 0..1).await[0];
    disk.corrupt(&segment_path(Path::new(DIR), 1), position.offset + 33);
    assert!(matches!(log.read(position), Err(LogError::Corrupt { .. })));
    assert!(matches!(log.read(Position { segment: 9, ..position }), Err(LogError::NoSuchSegment { segment: 9 })));
}

#[tokio::test]
async fn old_segments_are_removed_and_the_log_goes_on() {
    let disk = FaultyDisk::new(1);
    let (log, _) = open(&disk).unwrap();
    append_each(&log, 0..3).await;
    let segment = log.roll().await.unwrap();
    assert!(matches!(log.remove_segment(segment), Err(LogError::SegmentInUse { .. })));
    for old in log.segments().into_iter().filter(|old| *old < segment) {
        log.remove_segment(old).unwrap();
    }
    append_each(&log, 3..5).await;
    drop(log);
    disk.crash();
    let (log, records) = open(&disk).unwrap();
    assert_eq!(records, [record(3), record(4)]);
    assert_eq!(log.segments(), [segment]);
}

#[tokio::test]
async fn a_record_beyond_the_limit_is_refused() {
    let (log, _) = open(&FaultyDisk::new(1)).unwrap();
    let refusal = log.append(Bytes::from(vec![0; 2049])).await;
    assert!(matches!(refusal, Err(LogError::RecordTooLarge { len: 2049, max: 2048 })));
    log.append(Bytes::from(vec![0; 2048])).await.unwrap();
}

/// Writes with several appends in flight, cuts the power at a random operation, opens again; several times over.
/// Returns how many acknowledged records were missing or changed.
async fn simulate_crashes(seed: u64, options: LogOptions, ignore_syncs: bool) -> usize {
    const ROUNDS: u64 = 4;
    let disk = FaultyDisk::new(seed);
    if ignore_syncs {
        disk.ignore_syncs();
    }
    let mut lost = 0;
    let mut acknowledged: Vec<Bytes> = Vec::new();
    let mut number = 0;
    for round in 0..ROUNDS {
        let Ok((log, records)) = open_with(&disk, options) else { return lost + acknowledged.len().max(1) };
        // Everything acknowledged is there, in order; between and after may lie records whose answer never came.
        let mut found = records.iter();
        lost += acknowledged.iter().filter(|expected| !found.by_ref().any(|record| record == *expected)).count();
        acknowledged = records;
        disk.crash_after_operations(seed.wrapping_mul(31).wrapping_add(round * 17) % 60);
        'writing: loop {
            let in_flight: Vec<_> = (number..number + 1 + (seed + number) % 7)
                .map(|number| {
                    let payload = record(number);
                    (payload.clone(), log.append(payload))
                })
                .collect();
            number += in_flight.len() as u64;
            for (payload, answer) in in_flight {
                match answer.await {
                    Ok(_) => acknowledged.push(payload),
                    Err(_) => break 'writing,
                }
            }
        }
        disk.crash();
        drop(log);
    }
    lost
}

#[tokio::test]
async fn every_acknowledged_record_survives_a_power_cut() {
    for seed in 0..500 {
        assert_eq!(simulate_crashes(seed, OPTIONS, false).await, 0, "seed {seed}");
    }
}

/// The mutants: without flushes the simulation above must see loss, or it proves nothing.
#[tokio::test]
async fn without_fsync_the_simulation_sees_loss() {
    let mut lost = [0, 0];
    for seed in 0..50 {
        lost[0] += simulate_crashes(seed, LogOptions { fsync: false, ..OPTIONS }, false).await;
        lost[1] += simulate_crashes(seed, OPTIONS, true).await;
    }
    assert!(lost.iter().all(|lost| *lost > 0), "the simulation cannot see a missing fsync: {lost:?}");
}
