//! A disk in memory whose power can be cut at any moment.
//!
//! What it models (seeded, so that a failure is repeated by its seed):
//! - a write that was not synced may be kept, lost or torn at 512-byte sectors, independently of its neighbours;
//! - a created, renamed or removed name is durable only after its directory was synced; unsynced changes of names are kept
//!   up to some point in their order, as a journalling file system does;
//! - a failed sync loses what it was to make durable, and a later successful one does not bring it back (as Linux does);
//! - after [`FaultyDisk::crash`] every handle opened before is dead, as the process that held it is; so is a [`Life`], whose
//!   process may still have threads that would go on by the names of files.

mod world;

use super::{Disk, DiskFile, LockGuard};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use world::{Change, Content, NameChange, World, apply};

pub struct FaultyDisk {
    world: Mutex<World>,
    changed: Condvar,
    /// Handles hold their disk.
    this: std::sync::Weak<Self>,
}

/// The disk as one process sees it, until the power is cut.
pub struct Life {
    disk: Arc<FaultyDisk>,
    epoch: u64,
}

/// While this lives, every sync waits; its drop lets them go on.
pub struct HeldSyncs(Arc<FaultyDisk>);

impl FaultyDisk {
    pub fn new(seed: u64) -> Arc<Self> {
        let world = World::new(seed);
        Arc::new_cyclic(|this| Self { world: Mutex::new(world), changed: Condvar::new(), this: this.clone() })
    }

    /// Cuts the power and starts the machine again.
    pub fn crash(&self) {
        let mut world = self.lock_world();
        world.crash();
        self.changed.notify_all();
    }

    /// For a process that begins now.
    pub fn life(&self) -> Arc<Life> {
        Arc::new(self.lived())
    }

    fn lived(&self) -> Life {
        let epoch = self.lock_world().epoch;
        Life { disk: self.this.upgrade().expect("self is alive"), epoch }
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

/// For tests of one process, or of those that leave nothing running.
impl Disk for FaultyDisk {
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        self.lived().open(path, create)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.lived().create_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.lived().list(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.lived().rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.lived().remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.lived().sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<LockGuard> {
        self.lived().lock(path)
    }
}

impl Life {
    fn world(&self) -> io::Result<MutexGuard<'_, World>> {
        let world = self.disk.lock_world();
        if world.epoch == self.epoch { Ok(world) } else { Err(powerless()) }
    }
}

fn powerless() -> io::Error {
    io::Error::other("the machine that held this file has lost power")
}

impl Disk for Life {
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        let mut world = self.world()?;
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
        Ok(Arc::new(FaultyFile { disk: self.disk.clone(), file, epoch: self.epoch }))
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut world = self.world()?;
        world.directories.extend(dir.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let world = self.world()?;
        if !world.directories.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = world.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.world()?;
        if !world.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        world.spend_operation()?;
        world.change_names(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world()?;
        if !world.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        world.spend_operation()?;
        world.change_names(NameChange::Remove(path.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        let mut world = self.world()?;
        world.spend_operation()?;
        if !world.sync_is_ignored {
            world.unsynced_names.clear();
            world.durable_names = world.names.clone();
        }
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<LockGuard> {
        let mut world = self.world()?;
        if !world.locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(FaultyLock { disk: self.disk.clone(), path: path.to_owned(), epoch: self.epoch }))
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
            return Err(powerless());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_lost_power_changes_nothing_by_name() {
        let disk = FaultyDisk::new(1);
        let (life, path) = (disk.life(), Path::new("/a"));
        let file = life.open(path, true).unwrap();
        life.sync_dir(Path::new("/")).unwrap();
        disk.crash();
        assert!(file.write_at(&[b"x"], 0).is_err() && life.open(path, false).is_err());
        assert!(life.remove(path).is_err() && life.rename(path, Path::new("/b")).is_err());
        assert!(disk.life().open(path, false).is_ok());
    }
}
