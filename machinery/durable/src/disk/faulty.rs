//! A disk in memory whose power can be cut at any moment.
//!
//! What it models (seeded, so that a failure is repeated by its seed):
//! - a write that was not synced may be kept, lost or torn at 512-byte sectors, independently of its neighbours;
//! - a created, renamed or removed name is durable only after its directory was synced; unsynced changes of names are kept
//!   up to some point in their order, as a journalling file system does;
//! - a failed sync loses what it was to make durable, and a later successful one does not bring it back (as Linux does);
//! - after [`FaultyDisk::crash`] every handle opened before is dead, as the process that held it is.

use super::{Disk, DiskFile, LockGuard};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The unit a disk writes whole or not at all.
const SECTOR_BYTES: u64 = 512;

pub struct FaultyDisk {
    world: Mutex<World>,
    changed: Condvar,
    /// Handles hold their disk.
    this: std::sync::Weak<Self>,
}

/// While this lives, every sync waits; its drop lets them go on.
pub struct HeldSyncs(Arc<FaultyDisk>);

struct World {
    random: Random,
    /// Counts crashes; a handle of an earlier epoch is dead.
    epoch: u64,
    files: BTreeMap<u64, Content>,
    file_next: u64,
    names: Names,
    durable_names: Names,
    unsynced_names: Vec<NameChange>,
    directories: BTreeSet<PathBuf>,
    locks: BTreeSet<PathBuf>,
    /// The mutant: sync answers and does nothing.
    sync_is_ignored: bool,
    sync_fails_next: bool,
    syncs_held: bool,
    syncs_waiting: usize,
    syncs: u64,
    /// Operations that still succeed before the power goes.
    operations_left: Option<u64>,
}

type Names = BTreeMap<PathBuf, u64>;

#[derive(Default)]
struct Content {
    seen: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

enum Change {
    Write { offset: u64, bytes: Vec<u8> },
    SetLen(u64),
}

enum NameChange {
    Link(PathBuf, u64),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

impl FaultyDisk {
    pub fn new(seed: u64) -> Arc<Self> {
        let world = World {
            random: Random(seed),
            epoch: 0,
            files: BTreeMap::new(),
            file_next: 0,
            names: Names::new(),
            durable_names: Names::new(),
            unsynced_names: Vec::new(),
            directories: BTreeSet::from([PathBuf::from("/")]),
            locks: BTreeSet::new(),
            sync_is_ignored: false,
            sync_fails_next: false,
            syncs_held: false,
            syncs_waiting: 0,
            syncs: 0,
            operations_left: None,
        };
        Arc::new_cyclic(|this| Self { world: Mutex::new(world), changed: Condvar::new(), this: this.clone() })
    }

    /// Cuts the power and starts the machine again.
    pub fn crash(&self) {
        let mut world = self.lock_world();
        world.crash();
        self.changed.notify_all();
    }

    /// Cuts the power once `count` more operations that change the disk have been done.
    pub fn crash_after_operations(&self, count: u64) {
        self.lock_world().operations_left = Some(count);
    }

    /// The next sync of a file fails, and what it was to make durable is lost.
    pub fn fail_next_sync(&self) {
        self.lock_world().sync_fails_next = true;
    }

    /// The mutant of durability tests: from now on syncs answer without doing anything.
    pub fn ignore_syncs(&self) {
        self.lock_world().sync_is_ignored = true;
    }

    /// Makes every sync wait until the guard is dropped.
    pub fn hold_syncs(&self) -> HeldSyncs {
        self.lock_world().syncs_held = true;
        HeldSyncs(self.this.upgrade().expect("self is alive"))
    }

    /// Waits until a sync is waiting for [`HeldSyncs`] to be dropped.
    pub fn wait_for_held_sync(&self) {
        let mut world = self.lock_world();
        while world.syncs_waiting == 0 {
            world = self.changed.wait(world).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Syncs of files done so far.
    pub fn syncs(&self) -> u64 {
        self.lock_world().syncs
    }

    /// Flips bits of one byte of a file, on the medium itself.
    pub fn corrupt(&self, path: &Path, offset: u64) {
        let mut world = self.lock_world();
        let file = world.names[path];
        let content = world.files.get_mut(&file).expect("a name leads to a file");
        for bytes in [&mut content.seen, &mut content.durable] {
            if let Some(byte) = bytes.get_mut(offset as usize) {
                *byte ^= 0xff;
            }
        }
    }

    fn lock_world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for HeldSyncs {
    fn drop(&mut self) {
        self.0.lock_world().syncs_held = false;
        self.0.changed.notify_all();
    }
}

impl Disk for FaultyDisk {
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        let mut world = self.lock_world();
        let file = match world.names.get(path) {
            Some(file) => *file,
            None if create => {
                if !path.parent().is_some_and(|parent| world.directories.contains(parent)) {
                    return Err(io::ErrorKind::NotFound.into());
                }
                world.spend_operation()?;
                let file = world.file_next;
                world.file_next += 1;
                world.files.insert(file, Content::default());
                world.change_names(NameChange::Link(path.to_owned(), file));
                file
            }
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        let disk = self.this.upgrade().expect("self is alive");
        Ok(Arc::new(FaultyFile { disk, file, epoch: world.epoch }))
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut world = self.lock_world();
        world.directories.extend(dir.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let world = self.lock_world();
        if !world.directories.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = world.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.lock_world();
        if !world.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        world.spend_operation()?;
        world.change_names(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut world = self.lock_world();
        if !world.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        world.spend_operation()?;
        world.change_names(NameChange::Remove(path.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        let mut world = self.lock_world();
        world.spend_operation()?;
        if !world.sync_is_ignored {
            world.unsynced_names.clear();
            world.durable_names = world.names.clone();
        }
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<LockGuard> {
        let mut world = self.lock_world();
        if !world.locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let disk = self.this.upgrade().expect("self is alive");
        Ok(Box::new(FaultyLock { disk, path: path.to_owned(), epoch: world.epoch }))
    }
}

struct FaultyLock {
    disk: Arc<FaultyDisk>,
    path: PathBuf,
    epoch: u64,
}

impl Drop for FaultyLock {
    fn drop(&mut self) {
        let mut world = self.disk.lock_world();
        if world.epoch == self.epoch {
            world.locks.remove(&self.path);
        }
    }
}

struct FaultyFile {
    disk: Arc<FaultyDisk>,
    file: u64,
    epoch: u64,
}

impl FaultyFile {
    fn with<T>(&self, act: impl FnOnce(&mut World, u64) -> io::Result<T>) -> io::Result<T> {
        let mut world = self.disk.lock_world();
        if world.epoch != self.epoch {
            return Err(io::Error::other("the machine that held this file has lost power"));
        }
        act(&mut world, self.file)
    }

    fn change(&self, change: Change) -> io::Result<()> {
        self.with(|world, file| {
            world.spend_operation()?;
            let content = world.content(file);
            apply(&mut content.seen, &change);
            content.unsynced.push(change);
            Ok(())
        })
    }
}

impl DiskFile for FaultyFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(|world, file| {
            let seen = &world.content(file).seen;
            let rest = usize::try_from(offset).ok().and_then(|offset| seen.get(offset..)).unwrap_or_default();
            let length = rest.len().min(buffer.len());
            buffer[..length].copy_from_slice(&rest[..length]);
            Ok(length)
        })
    }

    fn write_at(&self, slices: &[&[u8]], offset: u64) -> io::Result<()> {
        self.change(Change::Write { offset, bytes: slices.concat() })
    }

    fn sync(&self) -> io::Result<()> {
        {
            let mut world = self.disk.lock_world();
            world.syncs_waiting += 1;
            self.disk.changed.notify_all();
            while world.syncs_held && world.epoch == self.epoch {
                world = self.disk.changed.wait(world).unwrap_or_else(PoisonError::into_inner);
            }
            world.syncs_waiting -= 1;
        }
        self.with(|world, file| {
            world.spend_operation()?;
            world.syncs += 1;
            if world.sync_is_ignored {
                return Ok(());
            }
            let fails = std::mem::take(&mut world.sync_fails_next);
            let content = world.content(file);
            let unsynced = std::mem::take(&mut content.unsynced);
            if fails {
                return Err(io::Error::other("injected: the disk failed to sync"));
            }
            for change in &unsynced {
                apply(&mut content.durable, change);
            }
            Ok(())
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.with(|world, file| Ok(world.content(file).seen.len() as u64))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Change::SetLen(len))
    }

    fn allocate(&self, _len: u64) -> io::Result<()> {
        self.with(|_, _| Ok(()))
    }
}

impl World {
    fn content(&mut self, file: u64) -> &mut Content {
        self.files.get_mut(&file).expect("files are never forgotten")
    }

    fn spend_operation(&mut self) -> io::Result<()> {
        match &mut self.operations_left {
            None => Ok(()),
            Some(0) => Err(io::Error::other("injected: the power is gone")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    fn change_names(&mut self, change: NameChange) {
        apply_name(&mut self.names, &change);
        self.unsynced_names.push(change);
    }

    fn crash(&mut self) {
        self.epoch += 1;
        self.locks.clear();
        self.operations_left = None;
        let kept = self.random.below(self.unsynced_names.len() as u64 + 1) as usize;
        for change in std::mem::take(&mut self.unsynced_names).iter().take(kept) {
            apply_name(&mut self.durable_names, change);
        }
        self.names = self.durable_names.clone();
        for content in self.files.values_mut() {
            // Whole runs differ in how much the disk's cache had got down: nothing, everything, or a part.
            let kept_of_4 = self.random.below(5);
            for change in std::mem::take(&mut content.unsynced) {
                match change {
                    Change::SetLen(_) if self.random.below(4) < kept_of_4 => apply(&mut content.durable, &change),
                    Change::SetLen(_) => {}
                    Change::Write { offset, bytes } => {
                        for (offset, sector) in sectors(offset, &bytes) {
                            if self.random.below(4) < kept_of_4 {
                                let bytes = sector.to_vec();
                                apply(&mut content.durable, &Change::Write { offset, bytes });
                            }
                        }
                    }
                }
            }
            content.seen = content.durable.clone();
        }
    }
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::SetLen(len) => bytes.resize(*len as usize, 0),
        Change::Write { offset, bytes: written } => {
            let start = *offset as usize;
            let end = start + written.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[start..end].copy_from_slice(written);
        }
    }
}

fn apply_name(names: &mut Names, change: &NameChange) {
    match change {
        NameChange::Link(path, file) => {
            names.insert(path.clone(), *file);
        }
        NameChange::Rename(from, to) => {
            if let Some(file) = names.remove(from) {
                names.insert(to.clone(), file);
            }
        }
        NameChange::Remove(path) => {
            names.remove(path);
        }
    }
}

/// A write cut at the disk's sector boundaries.
fn sectors(mut offset: u64, mut bytes: &[u8]) -> Vec<(u64, &[u8])> {
    let mut parts = Vec::new();
    while !bytes.is_empty() {
        let room = (SECTOR_BYTES - offset % SECTOR_BYTES) as usize;
        let (sector, rest) = bytes.split_at(room.min(bytes.len()));
        parts.push((offset, sector));
        offset += sector.len() as u64;
        bytes = rest;
    }
    parts
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, seeded, good enough to choose faults.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
