//! The object log: opening it, and the one way a change is committed.

mod buckets;
mod compaction;
mod objects;
mod uploads;

pub use objects::{Condition, NewObject};
pub use uploads::Completion;

use crate::body::{BodyReader, BodyWriter, Content};
use crate::extent::Extents;
use crate::locks::{Guards, Locks};
use crate::record::{self, Record};
use crate::state::{Object, State, Stored};
use crate::{Error, Options, PENDING_BYTES_MAX, RECORD_BYTES_MAX};
use durable::{Disk, Log, LogError, LogOptions, Position, RealDisk};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Buckets and objects on one disk. Cheap to clone.
#[derive(Clone)]
pub struct ObjectLog {
    shared: Arc<Shared>,
}

struct Shared {
    dir: PathBuf,
    options: Options,
    log: Log,
    state: RwLock<State>,
    extents: Arc<Extents>,
    locks: Locks,
    /// Every commit holds it for reading from before its append until it is applied; see [`compaction`].
    commits: Arc<tokio::sync::RwLock<()>>,
    /// One permit per byte waiting for the log.
    pending_bytes: Arc<Semaphore>,
    compaction: Arc<tokio::sync::Mutex<compaction::Progress>>,
}

impl ObjectLog {
    /// Opens or makes the object log in `dir`, off the runtime's threads.
    pub async fn open(dir: &Path, options: Options) -> Result<Self, Error> {
        Self::open_on(Arc::new(RealDisk), dir, options).await
    }

    /// As [`Self::open`], on any disk: tests cut the power of theirs.
    pub async fn open_on(disk: Arc<dyn Disk>, dir: &Path, options: Options) -> Result<Self, Error> {
        let dir = dir.to_owned();
        spawn_blocking(move || Self::open_blocking(disk, dir, options)).await.map_err(|_| Error::ShuttingDown)?
    }

    fn open_blocking(disk: Arc<dyn Disk>, dir: PathBuf, options: Options) -> Result<Self, Error> {
        let extents = Extents::open(Arc::clone(&disk), dir.join("extents"), options.fsync)?;
        let mut state = State::default();
        let log_options = LogOptions {
            segment_bytes: options.segment_bytes,
            record_bytes_max: RECORD_BYTES_MAX,
            fsync: options.fsync,
        };
        let mut replay = |position: Position, payload: &[u8]| {
            let (record, body_offset) = record::decode(payload)?;
            state.apply(record, position, body_offset, &extents);
            Ok(())
        };
        let log = Log::open(disk, dir.join("log"), log_options, &mut replay)
            .map_err(|source| Error::Log { dir: dir.clone(), source })?;
        extents.settle()?;
        let shared = Shared {
            dir,
            options,
            log,
            state: RwLock::new(state),
            extents,
            locks: Locks::new(),
            commits: Arc::default(),
            pending_bytes: Arc::new(Semaphore::new(PENDING_BYTES_MAX)),
            compaction: Arc::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Receives the body of an object.
    pub fn writer(&self) -> BodyWriter {
        BodyWriter::new(Arc::clone(&self.shared.extents), true)
    }

    /// Receives the body of a part of an upload.
    pub fn part_writer(&self) -> BodyWriter {
        BodyWriter::new(Arc::clone(&self.shared.extents), false)
    }

    /// Reads `range` of an object, which must lie within its length. What is read is the object as it was when it was
    /// looked up, whatever becomes of its key.
    pub fn reader(&self, object: &Arc<Object>, range: Range<u64>) -> BodyReader {
        match &object.stored {
            Stored::Extents(extents) => BodyReader::extents(extents, range.start, range.end),
            Stored::Inline { .. } => {
                let (shared, object) = (Arc::clone(&self.shared), Arc::clone(object));
                BodyReader::inline(move || {
                    let body = shared.inline_body(&object)?;
                    let end = range.end.min(body.len() as u64) as usize;
                    Ok(body.slice((range.start as usize).min(end)..end))
                })
            }
        }
    }
}

impl Shared {
    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn inline_body(&self, object: &Object) -> Result<bytes::Bytes, Error> {
        let Stored::Inline { offset } = object.stored else { return Ok(bytes::Bytes::new()) };
        let payload = self.log.read(object.position).map_err(|source| match source {
            LogError::NoSuchSegment { .. } => Error::Moved,
            source => self.log_error(source),
        })?;
        Ok(payload.slice(offset.min(payload.len())..))
    }

    fn log_error(&self, source: LogError) -> Error {
        Error::Log { dir: self.dir.clone(), source }
    }

    /// Appends a record, waits until it is durable, applies it. Runs to its end even if the caller goes away, because by
    /// then nobody could say what became of the record; `guards` are held as long.
    async fn commit(self: &Arc<Self>, guards: Guards, record: Record, body: Content) -> Result<(), Error> {
        let shared = Arc::clone(self);
        let committed = tokio::spawn(async move { shared.commit_to_end(guards, record, body).await });
        committed.await.map_err(|_| Error::ShuttingDown)??;
        self.compact_if_due();
        Ok(())
    }

    async fn commit_to_end(self: Arc<Self>, guards: Guards, record: Record, body: Content) -> Result<(), Error> {
        let inline: &[u8] = match &body {
            Content::Inline(bytes) => bytes,
            Content::Extents(_) => &[],
        };
        let payload = record::encode(&record, inline);
        let permits = payload.len().min(PENDING_BYTES_MAX) as u32;
        let pending = Arc::clone(&self.pending_bytes).acquire_many_owned(permits).await;
        let pending = pending.map_err(|_| Error::ShuttingDown)?;
        let in_flight = Arc::clone(&self.commits).read_owned().await;
        let body_offset = record::body_offset(&payload).expect("the payload was encoded above");
        let in_doubt = InDoubt { extents: &self.extents, armed: true };
        let position = self.log.append(payload).await;
        let position = match position {
            Ok(position) => position,
            Err(source) => {
                if matches!(source, LogError::RecordTooLarge { .. } | LogError::Overloaded { .. }) {
                    in_doubt.resolved();
                }
                return Err(self.log_error(source));
            }
        };
        in_doubt.resolved();
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.apply(record, position, body_offset, &self.extents);
        drop(state);
        // Only now may somebody else change the key, and may an extent lose its holder.
        drop((in_flight, guards, pending, body));
        Ok(())
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The index is about to be dropped, which must not remove what it names.
        self.extents.stop_collecting();
    }
}

/// While it is armed nobody knows whether the record is durable: if it ends so (a failed flush, a runtime that stops), no
/// extent may be removed any more. The next start will know.
struct InDoubt<'a> {
    extents: &'a Extents,
    armed: bool,
}

impl InDoubt<'_> {
    fn resolved(mut self) {
        self.armed = false;
    }
}

impl Drop for InDoubt<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.extents.stop_collecting();
        }
    }
}
