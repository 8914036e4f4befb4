//! Bodies of requests that are kept whole, so that they can be sent again: the beginning of each in memory, the rest in an
//! unlinked file, which goes with the process whatever ends it. Both have a bound over all requests; what does not fit into
//! the memory goes to disk, and what does not fit there is refused. Files are written and read by the runtime's blocking
//! threads, so that a slow disk holds up nobody else.

use crate::limits::{
    BUFFERED_BODY_BYTES_MAX, BUFFERED_DISK_BYTES_MAX, BUFFERED_MEMORY_BYTES_MAX, BUFFERED_PIECE_BYTES,
};
use http1::Body;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use std::cell::RefCell;
use std::fmt;
use std::io::{self, ErrorKind, SeekFrom};
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncSeek, AsyncWrite, ReadBuf};

/// The room there is for bodies, over all threads.
#[derive(Debug)]
pub(crate) struct Spool {
    directory: PathBuf,
    memory: Room,
    disk: Room,
    refused: AtomicU64,
}

#[derive(Debug)]
struct Room {
    used: AtomicU64,
    bytes_max: u64,
}

/// Why a body is not kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpoolError {
    #[error("a file")]
    File(#[from] io::Error),
    #[error("there is no room for the request's body among those that are kept")]
    Full,
    #[error("the request's body has more than {BUFFERED_BODY_BYTES_MAX} bytes, which are kept at most")]
    TooLarge,
}

/// A body that is coming.
pub(crate) struct Filling {
    memory: Vec<u8>,
    memory_bytes_max: usize,
    file: Option<File>,
    /// What came and is not in the file yet, and how much of it is.
    pending: Vec<u8>,
    written: usize,
    taken: Taken,
}

/// A body that came whole, framed as it came.
pub(crate) struct Stored {
    memory: Vec<u8>,
    file: Option<RefCell<File>>,
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
    is_rewound: bool,
    piece: Vec<u8>,
}

/// What one body has of the room, until it goes.
struct Taken {
    spool: Arc<Spool>,
    memory_bytes: u64,
    disk_bytes: u64,
}

impl Spool {
    pub fn new(directory: PathBuf) -> Arc<Self> {
        Self::with_room(directory, BUFFERED_MEMORY_BYTES_MAX, BUFFERED_DISK_BYTES_MAX)
    }

    fn with_room(directory: PathBuf, memory_bytes_max: u64, disk_bytes_max: u64) -> Arc<Self> {
        let (memory, disk) = (Room::new(memory_bytes_max), Room::new(disk_bytes_max));
        Arc::new(Self { directory, memory, disk, refused: AtomicU64::new(0) })
    }

    pub fn begin(self: &Arc<Self>, memory_bytes_max: u32) -> Filling {
        Filling {
            memory: Vec::new(),
            memory_bytes_max: memory_bytes_max as usize,
            file: None,
            pending: Vec::new(),
            written: 0,
            taken: Taken { spool: self.clone(), memory_bytes: 0, disk_bytes: 0 },
        }
    }

    /// A body was not kept.
    pub fn count_refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    fn open(&self) -> io::Result<File> {
        let mut file = File::from_std(tempfile::tempfile_in(&self.directory)?);
        file.set_max_buf_size(BUFFERED_PIECE_BYTES);
        Ok(file)
    }
}

impl Room {
    fn new(bytes_max: u64) -> Self {
        Self { used: AtomicU64::new(0), bytes_max }
    }

    /// Whether there was that much.
    fn take(&self, bytes: u64) -> bool {
        let more = |used: u64| used.checked_add(bytes).filter(|used| *used <= self.bytes_max);
        self.used.fetch_update(Relaxed, Relaxed, more).is_ok()
    }
}

impl Filling {
    /// Takes what came; only when all before it is written.
    pub fn put(&mut self, bytes: &[u8]) -> Result<(), SpoolError> {
        let in_memory = if self.file.is_none() { self.keep(bytes) } else { 0 };
        let rest = &bytes[in_memory..];
        if rest.is_empty() {
            return Ok(());
        }
        let Taken { spool, disk_bytes, memory_bytes } = &mut self.taken;
        if *disk_bytes + *memory_bytes + rest.len() as u64 > BUFFERED_BODY_BYTES_MAX {
            return Err(SpoolError::TooLarge);
        }
        if !spool.disk.take(rest.len() as u64) {
            return Err(SpoolError::Full);
        }
        *disk_bytes += rest.len() as u64;
        if self.file.is_none() {
            self.file = Some(spool.open()?);
        }
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

    /// Ready when all that came is written.
    pub fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(file) = &mut self.file else { return Poll::Ready(Ok(())) };
        while self.written < self.pending.len() {
            let written = ready!(Pin::new(&mut *file).poll_write(context, &self.pending[self.written..]))?;
            if written == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            self.written += written;
        }
        // A slow client's piece is not held while the next one is awaited.
        (self.pending, self.written) = (Vec::new(), 0);
        Poll::Ready(Ok(()))
    }

    /// Ready when the disk has all of it, as far as the kernel tells.
    pub fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write(context))?;
        match &mut self.file {
            Some(file) => Pin::new(file).poll_flush(context),
            None => Poll::Ready(Ok(())),
        }
    }

    pub fn finish(self, body: Body) -> Stored {
        Stored { memory: self.memory, file: self.file.map(RefCell::new), body, taken: self.taken }
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
        Self { stored, from: 0, memory_from: 0, is_rewound: false, piece: Vec::new() }
    }

    pub fn is_done(&self) -> bool {
        self.memory_from == self.stored.memory.len() && self.from == self.stored.taken.disk_bytes
    }

    /// The next piece; empty at the end.
    pub fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let memory = &self.stored.memory;
        if self.memory_from < memory.len() {
            let piece = self.memory_from..(self.memory_from + BUFFERED_PIECE_BYTES).min(memory.len());
            self.memory_from = piece.end;
            return Poll::Ready(Ok(&memory[piece]));
        }
        let Some(file) = self.stored.file.as_ref().filter(|_| self.from < self.stored.taken.disk_bytes) else {
            return Poll::Ready(Ok(&[]));
        };
        let mut file = file.borrow_mut();
        if !self.is_rewound {
            // What an attempt before was about to read.
            ready!(Pin::new(&mut *file).poll_complete(context))?;
            Pin::new(&mut *file).start_seek(SeekFrom::Start(0))?;
            self.is_rewound = true;
        }
        ready!(Pin::new(&mut *file).poll_complete(context))?;
        self.piece.resize(BUFFERED_PIECE_BYTES, 0);
        let mut buffer = ReadBuf::new(&mut self.piece);
        ready!(Pin::new(&mut *file).poll_read(context, &mut buffer))?;
        let count = buffer.filled().len();
        if count == 0 {
            return Poll::Ready(Err(ErrorKind::UnexpectedEof.into()));
        }
        self.from += count as u64;
        Poll::Ready(Ok(&self.piece[..count]))
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stored").field("bytes", &self.body.data_bytes()).finish_non_exhaustive()
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.spool.memory.used.fetch_sub(self.memory_bytes, Relaxed);
        self.spool.disk.used.fetch_sub(self.disk_bytes, Relaxed);
    }
}

/// For `/metrics`.
#[derive(Debug)]
pub(crate) struct SpoolMetrics(pub Arc<Spool>);

impl Collector for SpoolMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Spool { memory, disk, refused, .. } = &*self.0;
        let gauges = [
            ("edge_buffered_memory_bytes", "Bodies of requests that are kept: in memory", memory),
            ("edge_buffered_disk_bytes", "Bodies of requests that are kept: on disk", disk),
        ];
        for (name, help, room) in gauges {
            let encoder = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(room.used.load(Relaxed) as i64).encode(encoder)?;
        }
        let help = "Requests refused since their bodies could not be kept";
        let mut counter = encoder.encode_descriptor("edge_buffered_bodies_refused", help, None, MetricType::Counter)?;
        counter.encode_counter::<NoLabelSet, _, u64>(&refused.load(Relaxed), None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http1::Framing;
    use std::future::poll_fn;

    async fn fill(spool: &Arc<Spool>, memory_bytes: u32, pieces: &[&[u8]]) -> Result<Rc<Stored>, SpoolError> {
        let mut filling = spool.begin(memory_bytes);
        for piece in pieces {
            filling.put(piece)?;
            poll_fn(|context| filling.poll_write(context)).await?;
        }
        poll_fn(|context| filling.poll_flush(context)).await?;
        Ok(Rc::new(filling.finish(Body::new(Framing::None))))
    }

    async fn read(stored: &Rc<Stored>, bytes_max: usize) -> Vec<u8> {
        let mut replay = Replay::new(stored.clone());
        let mut all = Vec::new();
        while !replay.is_done() && all.len() < bytes_max {
            let piece = poll_fn(|context| replay.poll_piece(context).map_ok(<[u8]>::to_vec)).await.unwrap();
            all.extend(piece);
        }
        all
    }

    fn used(spool: &Spool) -> (u64, u64) {
        (spool.memory.used.load(Relaxed), spool.disk.used.load(Relaxed))
    }

    #[tokio::test]
    async fn what_was_kept_is_read_again_and_again_from_its_beginning() {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::new(directory.path().to_owned());
        let large: Vec<u8> = (0..=u8::MAX).cycle().take(300_000).collect();
        for memory_bytes in [0, 10, 1000, 1 << 20] {
            let stored = fill(&spool, memory_bytes, &[b"begin", &large, b"end"]).await.unwrap();
            assert_eq!(stored.in_memory().is_some(), memory_bytes == 1 << 20);
            let expected = [b"begin", &large[..], b"end"].concat();
            // The first reader stops in the middle of it.
            assert!(expected.starts_with(&read(&stored, 100_000).await));
            for _ in 0..2 {
                assert!(read(&stored, usize::MAX).await == expected, "{memory_bytes}");
            }
        }
        assert_eq!(used(&spool), (0, 0), "what is gone has no room");
        assert_eq!(directory.path().read_dir().unwrap().count(), 0, "files have no names");
    }

    #[tokio::test]
    async fn memory_that_is_full_leaves_the_disk_and_a_full_disk_refuses() {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::with_room(directory.path().to_owned(), 1000, 5000);
        let first = fill(&spool, 1000, &[&[1; 800]]).await.unwrap();
        let second = fill(&spool, 1000, &[&[2; 800]]).await.unwrap();
        assert!(first.in_memory().is_some() && second.in_memory().is_none());
        assert_eq!(used(&spool), (800, 800));
        let third = fill(&spool, 0, &[&[3; 4000], &[3; 4000]]).await;
        assert!(matches!(third, Err(SpoolError::Full)));
        assert_eq!(used(&spool), (800, 800), "a refused one leaves nothing");
        drop((first, second));
        assert_eq!(used(&spool), (0, 0));
        drop(directory);
        assert!(matches!(fill(&spool, 0, &[b"x"]).await, Err(SpoolError::File(_))));
    }
}
