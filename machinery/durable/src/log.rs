//! An append-only record log over segment files, with group commit.
//!
//! One thread, the committer, owns the tail. While it waits for one `fdatasync`, further records gather in the queue and
//! share the next one, so throughput grows with load and no record waits for a timer. A record is answered after the flush
//! that covers it. A flush that failed is never retried, because the kernel may have dropped the pages: the log then
//! refuses every append until it is opened again.
//!
//! Opening replays every record, cuts off a torn tail, and refuses a log with a record that had been durable and is broken:
//! see [`format`] for how the two are told apart.

mod committer;
mod format;
mod recovery;
#[cfg(test)]
mod tests;

use crate::{BoxError, Disk, DiskFile, LockGuard};
use bytes::Bytes;
use committer::{Committer, Queue, Request};
use crc32c::crc32c;
use format::{RECORD_HEADER_BYTES, RecordHeader};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// Payload bytes that may wait for the committer; a further append is refused.
pub const QUEUE_BYTES_MAX: usize = 64 << 20;
/// Segment files kept open for reading.
const READERS_MAX: usize = 64;
/// The file whose lock marks a log as open.
const LOCK_FILE: &str = "lock";

#[derive(Clone, Copy, Debug)]
pub struct LogOptions {
    /// A segment that has reached this size is closed and the next one begun.
    pub segment_bytes: u64,
    /// A larger record is refused.
    pub record_bytes_max: usize,
    /// False only in the mutants of durability tests.
    pub fsync: bool,
}

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    pub segment: u64,
    pub offset: u64,
    /// Of the payload.
    pub len: u32,
}

/// Takes each record as the log is opened.
pub type Replay<'a> = dyn FnMut(Position, &[u8]) -> Result<(), BoxError> + 'a;

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("{action} {}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is in use by another process", dir.display())]
    Locked { dir: PathBuf },
    #[error("{} is corrupt at byte {offset}: {what}", path.display())]
    Corrupt { path: PathBuf, offset: u64, what: &'static str },
    #[error("replay {} at byte {offset}", path.display())]
    Replay { path: PathBuf, offset: u64, source: BoxError },
    #[error("the log is read-only since a write failed")]
    ReadOnly { source: Arc<io::Error> },
    #[error("a record of {len} bytes exceeds the limit of {max}")]
    RecordTooLarge { len: usize, max: usize },
    #[error("more than {max} bytes wait to be flushed")]
    Overloaded { max: usize },
    #[error("the log has no segment {segment}")]
    NoSuchSegment { segment: u64 },
    #[error("segment {segment} is still written to")]
    SegmentInUse { segment: u64 },
    #[error("the log was closed")]
    Closed,
}

/// Dropping it flushes what was appended and releases the lock.
pub struct Log {
    shared: Arc<Shared>,
    committer: Option<JoinHandle<()>>,
    _lock: LockGuard,
}

/// What the log's callers and its committer have in common.
struct Shared {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    options: LogOptions,
    queue: Queue,
    segments: Mutex<Segments>,
}

struct Segments {
    /// Number to salt.
    salts: BTreeMap<u64, u64>,
    readers: BTreeMap<u64, Arc<dyn DiskFile>>,
}

impl Log {
    /// Opens or makes the log in `dir` and hands every record in it to `replay`, in order.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        options: LogOptions,
        replay: &mut Replay<'_>,
    ) -> Result<Self, LogError> {
        let failed = |action, source| LogError::Io { action, path: dir.clone(), source };
        disk.create_dir(&dir).map_err(|source| failed("make directory", source))?;
        let lock = disk.lock(&dir.join(LOCK_FILE)).map_err(|source| match source.kind() {
            io::ErrorKind::WouldBlock => LogError::Locked { dir: dir.clone() },
            _ => failed("lock", source),
        })?;
        let recovered = recovery::recover(&*disk, &dir, options.record_bytes_max, replay)?;
        let segments = Segments { salts: recovered.salts, readers: BTreeMap::new() };
        let queue = Queue::default();
        let shared = Arc::new(Shared { disk, dir, options, queue, segments: Mutex::new(segments) });
        let committer = Committer::new(Arc::clone(&shared), recovered.tail, recovered.sequence_next)?;
        let thread = std::thread::Builder::new().name("log-committer".into()).spawn(move || committer.run());
        let path = &shared.dir;
        let thread =
            thread.map_err(|source| LogError::Io { action: "start the committer of", path: path.clone(), source });
        Ok(Self { committer: Some(thread?), shared, _lock: lock })
    }

    /// Order of calls is order in the log. Resolves after the flush that covers the record; dropping the future does not
    /// take the record back.
    pub fn append(&self, payload: Bytes) -> impl Future<Output = Result<Position, LogError>> + Send + 'static + use<> {
        let answer = self.enqueue(payload);
        async move { answer?.await.unwrap_or(Err(LogError::Closed)) }
    }

    fn enqueue(&self, payload: Bytes) -> Result<oneshot::Receiver<Result<Position, LogError>>, LogError> {
        let max = self.shared.options.record_bytes_max;
        if payload.len() > max {
            return Err(LogError::RecordTooLarge { len: payload.len(), max });
        }
        let (answer, receiver) = oneshot::channel();
        let payload_crc = crc32c(&payload);
        self.shared.queue.push(Request::Append { payload, payload_crc, answer })?;
        Ok(receiver)
    }

    /// Begins a new segment after all that was appended so far, and resolves to its number.
    pub fn roll(&self) -> impl Future<Output = Result<u64, LogError>> + Send + 'static + use<> {
        let (answer, receiver) = oneshot::channel();
        let pushed = self.shared.queue.push(Request::Roll { answer });
        async move {
            pushed?;
            receiver.await.unwrap_or(Err(LogError::Closed))
        }
    }

    /// Reads a record back and verifies its checksum.
    pub fn read(&self, position: Position) -> Result<Bytes, LogError> {
        let Position { segment, offset, len } = position;
        let (file, salt) = self.shared.reader(segment)?;
        let path = || segment_path(&self.shared.dir, segment);
        let corrupt = |what| LogError::Corrupt { path: path(), offset, what };
        if len as usize > self.shared.options.record_bytes_max {
            return Err(corrupt("a length beyond the limit was asked for"));
        }
        let mut record = vec![0; RECORD_HEADER_BYTES + len as usize];
        let filled = file.read_at(&mut record, offset);
        let filled = filled.map_err(|source| LogError::Io { action: "read", path: path(), source })?;
        if filled < record.len() {
            return Err(corrupt("the file ends inside the record"));
        }
        let record = Bytes::from(record);
        let payload = record.slice(RECORD_HEADER_BYTES..);
        match RecordHeader::decode(salt, &record[..RECORD_HEADER_BYTES]) {
            Some(header) if header.len == len && header.payload_crc == crc32c(&payload) => Ok(payload),
            Some(_) => Err(corrupt("the payload's checksum is wrong")),
            None => Err(corrupt("no record begins here")),
        }
    }

    /// Numbers of the segments, ascending; the last one is written to.
    pub fn segments(&self) -> Vec<u64> {
        self.shared.lock_segments().salts.keys().copied().collect()
    }

    /// Deletes a segment that is no longer written to, with its records.
    pub fn remove_segment(&self, segment: u64) -> Result<(), LogError> {
        {
            let mut segments = self.shared.lock_segments();
            if segments.salts.keys().next_back() == Some(&segment) {
                return Err(LogError::SegmentInUse { segment });
            }
            segments.salts.remove(&segment).ok_or(LogError::NoSuchSegment { segment })?;
            segments.readers.remove(&segment);
        }
        let path = segment_path(&self.shared.dir, segment);
        let removed = self.shared.disk.remove(&path).and_then(|()| self.shared.disk.sync_dir(&self.shared.dir));
        removed.map_err(|source| LogError::Io { action: "remove", path, source })
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.shared.queue.close();
        if let Some(committer) = self.committer.take() {
            // A committer that panicked has answered nobody; those who wait see `Closed`.
            let _ended = committer.join();
        }
    }
}

impl Shared {
    fn lock_segments(&self) -> MutexGuard<'_, Segments> {
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reader(&self, segment: u64) -> Result<(Arc<dyn DiskFile>, u64), LogError> {
        let mut segments = self.lock_segments();
        let salt = *segments.salts.get(&segment).ok_or(LogError::NoSuchSegment { segment })?;
        if let Some(file) = segments.readers.get(&segment) {
            return Ok((Arc::clone(file), salt));
        }
        let path = segment_path(&self.dir, segment);
        let file = self.disk.open(&path, false);
        let file = file.map_err(|source| LogError::Io { action: "open", path, source })?;
        if segments.readers.len() >= READERS_MAX {
            segments.readers.pop_first();
        }
        segments.readers.insert(segment, Arc::clone(&file));
        Ok((file, salt))
    }
}

fn segment_path(dir: &Path, segment: u64) -> PathBuf {
    dir.join(format!("{segment:016x}.log"))
}

fn segment_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".log").filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}
