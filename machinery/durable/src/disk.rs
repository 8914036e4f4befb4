//! The file layer: what a durable structure may ask of a disk.
//!
//! Architecture invariant: nothing in this crate touches a file except through this trait, so a fault can be injected at
//! every point where a real disk can fail.

mod faulty;
mod real;

pub use faulty::{FaultyDisk, HeldSyncs, Life};
pub use real::RealDisk;

use std::any::Any;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Held as long as a lock is; dropped to release it.
pub type LockGuard = Box<dyn Any + Send + Sync>;

pub trait Disk: Send + Sync + 'static {
    /// Opens for reading and writing. A created file is durable by name only after [`Disk::sync_dir`].
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>>;
    /// With parents; durable when it returns.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// File names, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals in `dir` durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Locks the file at `path` (made when absent) against every other opener, or fails with `WouldBlock`.
    fn lock(&self, path: &Path) -> io::Result<LockGuard>;
}

pub trait DiskFile: Send + Sync {
    /// Reads up to the buffer's length; less only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of the slices, one after the other, or fails.
    fn write_at(&self, slices: &[&[u8]], offset: u64) -> io::Result<()>;
    /// `fdatasync`: what was written, and the length, is durable when this returns.
    fn sync(&self) -> io::Result<()>;
    fn len(&self) -> io::Result<u64>;
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Reserves room for the first `len` bytes without changing the file's length.
    fn allocate(&self, len: u64) -> io::Result<()>;

    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}
