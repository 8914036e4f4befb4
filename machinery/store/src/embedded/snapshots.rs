//! Snapshot files: the whole store at one revision, so that the log before it can go.
//!
//! ```text
//! file    magic "RSTDSNP0" (8) · frames
//! frame   payload length (4) · CRC-32C of payload (4) · payload (storage.proto, Frame)
//! ```
//! Integers are little-endian. The first frame is the head, the last one the end; a file without its end is not used.

use super::Shared;
use crate::engine::{Engine, Limits, SnapshotError};
use crate::wire::storage::Frame;
use crate::wire::storage::frame::Frame as Page;
use durable::{Disk, DiskFile, LogError, Replacement};
use lifecycle::{ErrorChain, Stop};
use prost::Message;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

const MAGIC: [u8; 8] = *b"RSTDSNP0";
const FRAME_HEADER_BYTES: usize = 8;
/// A page of keys is about 1 MiB, but one key may have many versions.
const FRAME_BYTES_MAX: usize = 1 << 30;
pub const FILE_NAME: &str = "snapshot";

#[derive(Debug, thiserror::Error)]
pub enum SnapshotFileError {
    #[error("{action} {}", path.display())]
    File { action: &'static str, path: PathBuf, source: io::Error },
    #[error("begin a new log segment")]
    Log { source: LogError },
    #[error("{} is corrupt at byte {offset}: {what}", path.display())]
    Corrupt { path: PathBuf, offset: u64, what: &'static str },
    #[error("the snapshot is not whole")]
    Content {
        #[from]
        source: SnapshotError,
    },
}

/// The task that makes a snapshot whenever the log has grown enough.
pub async fn run(shared: Arc<Shared>, stop: Stop) {
    while stop.or(shared.snapshot_wanted.notified()).await.is_some() {
        if let Err(error) = make(&shared).await {
            tracing::warn!(error = %ErrorChain(&error), "make a snapshot");
        }
    }
}

/// The snapshot is of the state at which the log's new segment begins; the segments before it are then removed.
pub async fn make(shared: &Arc<Shared>) -> Result<(), SnapshotFileError> {
    let (rolled, mut head, mut pages) = {
        let mut state = shared.write_state();
        let (head, pages) = state.engine.begin_snapshot();
        state.log_bytes_since_snapshot = 0;
        (shared.log.roll(), head, pages)
    };
    let rolled = rolled.await;
    let writer = Arc::clone(shared);
    let written = tokio::task::spawn_blocking(move || {
        let segment = rolled.map_err(|source| SnapshotFileError::Log { source })?;
        head.log_segment = segment;
        let path = writer.dir.join(FILE_NAME);
        let failed = |source| SnapshotFileError::File { action: "write", path: path.clone(), source };
        let mut file = FrameWriter::begin(Arc::clone(&writer.disk), &path).map_err(failed)?;
        file.write(Page::Head(head)).map_err(failed)?;
        loop {
            // The lock is held for one page at a time.
            let page = pages.next(&writer.read().engine);
            let Some(page) = page else { break };
            file.write(page).map_err(failed)?;
        }
        let bytes = file.commit().map_err(failed)?;
        for old in writer.log.segments().into_iter().filter(|old| *old < segment) {
            writer.log.remove_segment(old).map_err(|source| SnapshotFileError::Log { source })?;
        }
        Ok(bytes)
    });
    let written = written.await.unwrap_or_else(|error| {
        let (path, source) = (shared.dir.join(FILE_NAME), io::Error::other(error));
        Err(SnapshotFileError::File { action: "write", path, source })
    });
    let mut state = shared.write_state();
    state.engine.end_snapshot();
    state.snapshot_bytes = written?;
    Ok(())
}

/// The engine in the snapshot file and the first log segment that is not in it; `None` without a file.
pub fn load(
    disk: &dyn Disk,
    dir: &Path,
    limits: Limits,
    now: Instant,
) -> Result<Option<(Engine, u64, u64)>, SnapshotFileError> {
    let path = dir.join(FILE_NAME);
    let opened = disk.open(&path, false).and_then(|file| Ok((file.len()?, file)));
    let (len, file) = match opened {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(SnapshotFileError::File { action: "open", path, source }),
    };
    let frames = FrameReader { file, path, offset: 0 };
    let (engine, segment) = Engine::from_pages(limits, frames, now)?;
    Ok(Some((engine, segment, len)))
}

struct FrameWriter {
    file: Replacement,
    bytes: u64,
}

impl FrameWriter {
    fn begin(disk: Arc<dyn Disk>, path: &Path) -> io::Result<Self> {
        let mut file = Replacement::begin(disk, path)?;
        file.write(&[&MAGIC])?;
        Ok(Self { file, bytes: MAGIC.len() as u64 })
    }

    fn write(&mut self, page: Page) -> io::Result<()> {
        let payload = Frame { frame: Some(page) }.encode_to_vec();
        let len = u32::try_from(payload.len()).map_err(io::Error::other)?;
        let crc = crc32c::crc32c(&payload);
        self.bytes += (FRAME_HEADER_BYTES + payload.len()) as u64;
        self.file.write(&[&len.to_le_bytes(), &crc.to_le_bytes(), &payload])
    }

    fn commit(self) -> io::Result<u64> {
        self.file.commit()?;
        Ok(self.bytes)
    }
}

struct FrameReader {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    offset: u64,
}

impl FrameReader {
    fn read(&mut self, len: usize) -> Result<Option<Vec<u8>>, SnapshotFileError> {
        let mut bytes = vec![0; len];
        let filled = self.file.read_at(&mut bytes, self.offset);
        let filled =
            filled.map_err(|source| SnapshotFileError::File { action: "read", path: self.path.clone(), source })?;
        if filled == 0 && len > 0 {
            return Ok(None);
        }
        if filled < len {
            return Err(self.corrupt("the file ends inside a frame"));
        }
        self.offset += len as u64;
        Ok(Some(bytes))
    }

    fn page(&mut self) -> Result<Option<Page>, SnapshotFileError> {
        if self.offset == 0 && self.read(MAGIC.len())?.as_deref() != Some(&MAGIC) {
            return Err(self.corrupt("it is not a snapshot"));
        }
        let Some(header) = self.read(FRAME_HEADER_BYTES)? else { return Ok(None) };
        let (len, crc) = header.split_at(4);
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte));
        let (len, crc) = (number(len) as usize, number(crc));
        if FRAME_BYTES_MAX < len {
            return Err(self.corrupt("a frame is longer than any of ours"));
        }
        let Some(payload) = self.read(len)? else { return Err(self.corrupt("the file ends inside a frame")) };
        if crc32c::crc32c(&payload) != crc {
            return Err(self.corrupt("a frame's checksum is wrong"));
        }
        match Frame::decode(payload.as_slice()) {
            Ok(Frame { frame: Some(page) }) => Ok(Some(page)),
            _ => Err(self.corrupt("a frame is none of ours")),
        }
    }

    fn corrupt(&self, what: &'static str) -> SnapshotFileError {
        SnapshotFileError::Corrupt { path: self.path.clone(), offset: self.offset, what }
    }
}

impl Iterator for FrameReader {
    type Item = Result<Page, SnapshotFileError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.page().transpose()
    }
}
