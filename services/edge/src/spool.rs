//! Bodies of requests that are kept whole, so that they can be sent again: the beginning of each in memory, the rest in an
//! unlinked file, which goes with the process whatever ends it. Both have a bound over all requests; what does not fit into
//! the memory goes to disk, and what does not fit there is refused. Of the disk a client and a route have a share each, so
//! that neither locks the others out, and what a body has of it is the body's until its file is closed. Every touch of a file
//! is that of other threads ([`disk`]): a slow disk holds up nobody else.

mod disk;
mod share;

use crate::limits::{
    BUFFERED_BODY_BYTES_MAX, BUFFERED_DISK_BYTES_MAX, BUFFERED_FILES_MAX, BUFFERED_MEMORY_BYTES_MAX,
    BUFFERED_PIECE_BYTES,
};
use disk::{Asked, Disk, DiskFile};
use http1::Body;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
pub(crate) use share::Owner;
use share::{Place, Room, Shares};
use std::fmt;
use std::io;
use std::mem;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

/// The room there is for bodies, over all threads.
#[derive(Debug)]
pub(crate) struct Spool {
    disk: Arc<Disk>,
    memory: Room,
    shares: Shares,
    refused: AtomicU64,
    /// That could not be read again.
    lost: AtomicU64,
}

/// Why a body is not kept, or is no more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpoolError {
    #[error("a file")]
    File(#[from] io::Error),
    #[error("there is no room for the request's body among those that are kept")]
    Full,
    #[error("the bodies of this client that are kept have their share of the room")]
    ClientShare,
    #[error("the bodies of this route that are kept have their share of the room")]
    RouteShare,
    #[error("the disk takes too long")]
    Slow,
    #[error("the request's body has more than {BUFFERED_BODY_BYTES_MAX} bytes, which are kept at most")]
    TooLarge,
}

/// A body that is coming.
pub(crate) struct Filling {
    memory: Vec<u8>,
    memory_bytes_max: usize,
    owner: Owner,
    /// Once there is more than the memory takes.
    place: Option<Arc<Place>>,
    file: Option<Arc<DiskFile>>,
    disk_bytes: u64,
    /// What came and nobody was asked to write yet.
    pending: Vec<u8>,
    /// A piece on its way into the file.
    writing: Option<Asked<Arc<DiskFile>>>,
    taken: Taken,
}

/// A body that came whole, framed as it came.
pub(crate) struct Stored {
    memory: Vec<u8>,
    file: Option<Arc<DiskFile>>,
    disk_bytes: u64,
    /// Seen to its end.
    pub body: Body,
    taken: Taken,
}

/// A stored body on its way to a server.
pub(crate) struct Replay {
    stored: Rc<Stored>,
    /// Of the file: where the next piece begins.
    from: u64,
    memory_from: usize,
    reading: Option<Asked<Vec<u8>>>,
    piece: Vec<u8>,
}

/// What one body has of the memory, until it goes.
struct Taken {
    spool: Arc<Spool>,
    memory_bytes: u64,
}

impl Spool {
    pub fn start(directory: PathBuf) -> io::Result<Arc<Self>> {
        Self::with_room(directory, BUFFERED_MEMORY_BYTES_MAX, BUFFERED_DISK_BYTES_MAX, BUFFERED_FILES_MAX)
    }

    fn with_room(directory: PathBuf, memory_bytes: u64, disk_bytes: u64, files: u64) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            disk: Disk::start(directory)?,
            memory: Room::new(memory_bytes),
            shares: Shares::of(disk_bytes, files),
            refused: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        }))
    }

    pub fn begin(self: &Arc<Self>, memory_bytes_max: u32, owner: Owner) -> Filling {
        Filling {
            memory: Vec::new(),
            memory_bytes_max: memory_bytes_max as usize,
            owner,
            place: None,
            file: None,
            disk_bytes: 0,
            pending: Vec::new(),
            writing: None,
            taken: Taken { spool: self.clone(), memory_bytes: 0 },
        }
    }

    /// A body was not kept.
    pub fn count_refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }
}

impl Filling {
    /// Takes what came; only when all before it is written.
    pub fn put(&mut self, bytes: &[u8]) -> Result<(), SpoolError> {
        let in_memory = if self.place.is_none() { self.keep(bytes) } else { 0 };
        let rest = &bytes[in_memory..];
        if rest.is_empty() {
            return Ok(());
        }
        let more = rest.len() as u64;
        if self.disk_bytes + self.taken.memory_bytes + more > BUFFERED_BODY_BYTES_MAX {
            return Err(SpoolError::TooLarge);
        }
        let place = match &self.place {
            Some(place) => place,
            None => self.place.insert(self.taken.spool.shares.place(&self.owner)?),
        };
        place.take(more)?;
        self.disk_bytes += more;
        self.pending.extend_from_slice(rest);
        Ok(())
    }

    /// As many bytes as the memory has room for.
    fn keep(&mut self, bytes: &[u8]) -> usize {
        let wanted = (self.memory.len() + bytes.len()).min(self.memory_bytes_max);
        let capacity = self.memory.capacity();
        if wanted > capacity {
            let grown = wanted.max(2 * capacity).min(self.memory_bytes_max);
            if self.taken.spool.memory.take((grown - capacity) as u64) {
                self.memory.reserve_exact(grown - self.memory.len());
                self.taken.memory_bytes += (grown - capacity) as u64;
            }
        }
        let kept = wanted.min(self.memory.capacity()).saturating_sub(self.memory.len());
        self.memory.extend_from_slice(&bytes[..kept]);
        kept
    }

    /// Ready when all that came is written, as far as the kernel tells.
    pub fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if let Some(writing) = &mut self.writing {
                let written = ready!(writing.poll(context));
                self.writing = None;
                self.file = Some(written?);
            }
            let Some(place) = self.place.as_ref().filter(|_| !self.pending.is_empty()) else {
                return Poll::Ready(Ok(()));
            };
            // It goes with the piece: a slow client holds none while the next one is awaited.
            let piece = mem::take(&mut self.pending);
            let at = self.disk_bytes - piece.len() as u64;
            self.writing = Some(self.taken.spool.disk.write(self.file.take(), place, at, piece));
        }
    }

    /// Only when all of it is written.
    pub fn finish(self, body: Body) -> Stored {
        let Self { memory, file, disk_bytes, taken, .. } = self;
        Stored { memory, file, disk_bytes, body, taken }
    }
}

impl Stored {
    /// All of it, if it is in memory.
    pub fn in_memory(&self) -> Option<&[u8]> {
        self.file.is_none().then_some(&self.memory)
    }
}

impl Replay {
    pub fn new(stored: Rc<Stored>) -> Self {
        Self { stored, from: 0, memory_from: 0, reading: None, piece: Vec::new() }
    }

    pub fn is_done(&self) -> bool {
        self.memory_from == self.stored.memory.len() && self.from == self.stored.disk_bytes
    }

    /// The next piece; empty at the end.
    pub fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let Stored { memory, file, disk_bytes, taken, .. } = &*self.stored;
        if self.memory_from < memory.len() {
            let piece = self.memory_from..(self.memory_from + BUFFERED_PIECE_BYTES).min(memory.len());
            self.memory_from = piece.end;
            return Poll::Ready(Ok(&memory[piece]));
        }
        let Some(file) = file.as_ref().filter(|_| self.from < *disk_bytes) else {
            return Poll::Ready(Ok(&[]));
        };
        let left = usize::try_from(disk_bytes - self.from).unwrap_or(usize::MAX);
        let ask = || file.read(self.from, left.min(BUFFERED_PIECE_BYTES), mem::take(&mut self.piece));
        let read = ready!(self.reading.get_or_insert_with(ask).poll(context));
        self.reading = None;
        if read.is_err() {
            taken.spool.lost.fetch_add(1, Relaxed);
        }
        self.piece = read?;
        self.from += self.piece.len() as u64;
        Poll::Ready(Ok(&self.piece))
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stored").field("bytes", &self.body.data_bytes()).finish_non_exhaustive()
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.spool.memory.give_back(self.memory_bytes);
    }
}

/// For `/metrics`.
#[derive(Debug)]
pub(crate) struct SpoolMetrics(pub Arc<Spool>);

impl Collector for SpoolMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Spool { memory, shares, refused, lost, .. } = &*self.0;
        let gauges = [
            ("edge_buffered_memory_bytes", "Bodies of requests that are kept: in memory", memory),
            ("edge_buffered_disk_bytes", "Bodies of requests that are kept: on disk", &shares.all.bytes),
        ];
        for (name, help, room) in gauges {
            let encoder = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(room.used() as i64).encode(encoder)?;
        }
        let counters = [
            ("edge_buffered_bodies_refused", "Requests refused since their bodies could not be kept", refused),
            ("edge_buffered_bodies_lost", "Bodies that were kept and could not be read again", lost),
        ];
        for (name, help, count) in counters {
            let mut counter = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            counter.encode_counter::<NoLabelSet, _, u64>(&count.load(Relaxed), None)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
