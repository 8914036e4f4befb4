//! Extents: the files that hold large bodies, and who still needs them.
//!
//! A file `<id as 16 hex digits>.extent` is a row of blocks; block `n` begins at byte `n * (BLOCK_BYTES + 4)`:
//!
//! ```text
//! data (BLOCK_BYTES, the last block shorter) · CRC-32C of extent id, block number and data (4)
//! ```
//!
//! The id and the number are in the checksum, so that a block that strayed is not taken for another. An [`Extent`] is shared
//! by everything that names it; when the last holder drops it, its file is removed in the background. Holders drop an
//! extent only after the record that stops naming it is durable.

use crate::Error;
use bytes::{Bytes, BytesMut};
use crc32c::{crc32c, crc32c_append};
use durable::{Disk, DiskFile};
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

pub const BLOCK_BYTES: usize = 64 << 10;
const CRC_BYTES: usize = 4;

/// One extent file.
#[derive(Debug)]
pub struct Extent {
    pub id: u64,
    owner: Arc<Extents>,
}

/// An extent and how much of it is data.
#[derive(Clone, Debug)]
pub struct ExtentRef {
    pub extent: Arc<Extent>,
    pub len: u64,
}

/// The directory of extents.
pub struct Extents {
    pub disk: Arc<dyn Disk>,
    dir: PathBuf,
    pub fsync: bool,
    id_next: AtomicU64,
    /// While false, dropped extents keep their files: during replay, after a failed commit, and at the end.
    collecting: AtomicBool,
    known: Mutex<HashMap<u64, Weak<Extent>>>,
    garbage: Mutex<Sender<u64>>,
}

impl Extents {
    pub fn open(disk: Arc<dyn Disk>, dir: PathBuf, fsync: bool) -> Result<Arc<Self>, Error> {
        let failed = |action, source| Error::Io { action, path: dir.clone(), source };
        disk.create_dir(&dir).map_err(|source| failed("make directory", source))?;
        let (garbage, collected) = channel();
        let collector = Collector { disk: Arc::clone(&disk), dir: dir.clone(), garbage: collected };
        std::thread::Builder::new()
            .name("extent-collector".into())
            .spawn(move || collector.run())
            .map_err(|source| failed("start the collector of", source))?;
        Ok(Arc::new(Self {
            disk,
            dir,
            fsync,
            id_next: AtomicU64::new(0),
            collecting: AtomicBool::new(false),
            known: Mutex::default(),
            garbage: Mutex::new(garbage),
        }))
    }

    /// After replay: removes the files nobody names, reports those that are missing, and begins to collect.
    pub fn settle(&self) -> Result<(), Error> {
        let failed = |action, source| Error::Io { action, path: self.dir.clone(), source };
        let names = self.disk.list(&self.dir).map_err(|source| failed("list", source))?;
        let present: BTreeSet<u64> = names.iter().filter_map(|name| id_of(name)).collect();
        let live: BTreeSet<u64> = self.lock_known().keys().copied().collect();
        for id in present.difference(&live) {
            self.disk.remove(&path_of(&self.dir, *id)).map_err(|source| failed("remove an orphan of", source))?;
        }
        for id in live.difference(&present) {
            tracing::error!(extent = format!("{id:016x}"), "an extent that an object names is missing");
        }
        let last = present.last().copied().max(live.last().copied()).unwrap_or(0);
        self.id_next.store(last + 1, Ordering::Relaxed);
        self.collecting.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// From now on no file is removed: what a record that may or may not be durable names must stay.
    pub fn stop_collecting(&self) {
        self.collecting.store(false, Ordering::Relaxed);
    }

    /// A new, empty extent and its file.
    pub fn create(self: &Arc<Self>) -> Result<(Arc<Extent>, Arc<dyn DiskFile>), Error> {
        let extent = self.share(self.id_next.fetch_add(1, Ordering::Relaxed));
        let file = extent.open(true)?;
        Ok((extent, file))
    }

    /// The extent with this id, one for all who ask.
    pub fn share(self: &Arc<Self>, id: u64) -> Arc<Extent> {
        let mut known = self.lock_known();
        if let Some(extent) = known.get(&id).and_then(Weak::upgrade) {
            return extent;
        }
        let extent = Arc::new(Extent { id, owner: Arc::clone(self) });
        known.insert(id, Arc::downgrade(&extent));
        extent
    }

    /// Makes a file's data and its name durable.
    pub fn sync(&self, extent: u64, file: &dyn DiskFile) -> Result<(), Error> {
        if !self.fsync {
            return Ok(());
        }
        let synced = file.sync().and_then(|()| self.disk.sync_dir(&self.dir));
        synced.map_err(|source| Error::Extent { action: "flush", extent, source })
    }

    fn lock_known(&self) -> MutexGuard<'_, HashMap<u64, Weak<Extent>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Extents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Extents").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Extent {
    pub fn open(&self, create: bool) -> Result<Arc<dyn DiskFile>, Error> {
        let opened = self.owner.disk.open(&path_of(&self.owner.dir, self.id), create);
        opened.map_err(|source| Error::Extent { action: "open", extent: self.id, source })
    }
}

impl Drop for Extent {
    fn drop(&mut self) {
        let mut known = self.owner.lock_known();
        // Another holder may have asked for the id since the count reached zero; then the file is theirs.
        match known.get(&self.id) {
            Some(other) if other.strong_count() > 0 => return,
            _ => known.remove(&self.id),
        };
        drop(known);
        if self.owner.collecting.load(Ordering::Relaxed) {
            let garbage = self.owner.garbage.lock().unwrap_or_else(PoisonError::into_inner);
            // Without a collector the file is found and removed at the next start.
            let _collector_ended = garbage.send(self.id);
        }
    }
}

/// Removes files where nobody waits for it. Its queue holds ids only.
struct Collector {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    garbage: Receiver<u64>,
}

impl Collector {
    fn run(self) {
        for id in self.garbage {
            if let Err(error) = self.disk.remove(&path_of(&self.dir, id)) {
                tracing::warn!(%error, extent = format!("{id:016x}"), "remove an extent");
            }
        }
    }
}

/// Writes `data` as the blocks from `block_first` on; all but the last must be whole.
pub fn write_blocks(file: &dyn DiskFile, extent: u64, block_first: u64, data: &[u8]) -> io::Result<()> {
    let blocks: Vec<(&[u8], [u8; CRC_BYTES])> = (block_first..)
        .zip(data.chunks(BLOCK_BYTES))
        .map(|(block, data)| (data, block_crc(extent, block, data).to_le_bytes()))
        .collect();
    let slices: Vec<&[u8]> = blocks.iter().flat_map(|(data, crc)| [*data, crc.as_slice()]).collect();
    file.write_at(&slices, block_offset(block_first))
}

/// Reads `count` blocks of an extent of `len` bytes, checks them, and returns their data.
pub fn read_blocks(file: &dyn DiskFile, extent: u64, len: u64, block_first: u64, count: u64) -> Result<Bytes, Error> {
    let data_first = block_first * BLOCK_BYTES as u64;
    let data_bytes = (count * BLOCK_BYTES as u64).min(len.saturating_sub(data_first)) as usize;
    let blocks = data_bytes.div_ceil(BLOCK_BYTES);
    let mut raw = vec![0; data_bytes + blocks * CRC_BYTES];
    let filled = file.read_at(&mut raw, block_offset(block_first));
    let filled = filled.map_err(|source| Error::Extent { action: "read", extent, source })?;
    if filled < raw.len() {
        let block = block_first + (filled / (BLOCK_BYTES + CRC_BYTES)) as u64;
        return Err(Error::Corrupt { extent, block });
    }
    let mut data = BytesMut::with_capacity(data_bytes);
    for (block, raw) in (block_first..).zip(raw.chunks(BLOCK_BYTES + CRC_BYTES)) {
        let (bytes, crc) = raw.split_at(raw.len() - CRC_BYTES);
        if crc != block_crc(extent, block, bytes).to_le_bytes() {
            return Err(Error::Corrupt { extent, block });
        }
        data.extend_from_slice(bytes);
    }
    Ok(data.freeze())
}

fn block_crc(extent: u64, block: u64, data: &[u8]) -> u32 {
    let seed = crc32c_append(crc32c(&extent.to_le_bytes()), &block.to_le_bytes());
    crc32c_append(seed, data)
}

fn block_offset(block: u64) -> u64 {
    block * (BLOCK_BYTES + CRC_BYTES) as u64
}

fn path_of(dir: &Path, id: u64) -> PathBuf {
    dir.join(format!("{id:016x}.extent"))
}

fn id_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".extent").filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}
