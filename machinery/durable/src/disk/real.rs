//! The kernel's files: pread, pwritev, fdatasync, flock.

use super::{Disk, DiskFile, LockGuard};
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::uio::pwritev;
use std::fs::{self, File, TryLockError};
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// Slices one `pwritev` takes (`IOV_MAX`, limits.h).
const SLICES_PER_WRITE_MAX: usize = 1024;

#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        let file = File::options().read(true).write(true).create(create).truncate(false).open(path)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        if dir.is_dir() {
            return Ok(());
        }
        if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            self.create_dir(parent)?;
            match fs::create_dir(dir) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => return self.sync_dir(parent),
            }
        }
        fs::create_dir(dir)?;
        self.sync_dir(Path::new("."))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            // A name that is not UTF-8 is none of ours.
            names.extend(entry?.file_name().into_string().ok());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<LockGuard> {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(file)),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

struct RealFile(File);

impl DiskFile for RealFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.0.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, slices: &[&[u8]], mut offset: u64) -> io::Result<()> {
        for chunk in slices.chunks(SLICES_PER_WRITE_MAX) {
            let mut buffers: Vec<IoSlice<'_>> = chunk.iter().map(|slice| IoSlice::new(slice)).collect();
            let mut rest = buffers.as_mut_slice();
            IoSlice::advance_slices(&mut rest, 0); // drops leading empty slices
            while !rest.is_empty() {
                let position = i64::try_from(offset).map_err(io::Error::other)?;
                match pwritev(&self.0, rest, position) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(count) => {
                        offset += count as u64;
                        IoSlice::advance_slices(&mut rest, count);
                    }
                    Err(nix::errno::Errno::EINTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let len = i64::try_from(len).map_err(io::Error::other)?;
        Ok(fallocate(&self.0, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, len)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_slices_are_written_in_order_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/file");
        RealDisk.create_dir(path.parent().unwrap()).unwrap();
        let file = RealDisk.open(&path, true).unwrap();
        let bytes: Vec<u8> = (0..5000u32).map(|number| number as u8).collect();
        let slices: Vec<&[u8]> = bytes.chunks(2).chain([&[][..]]).collect();
        file.write_at(&slices, 7).unwrap();
        file.sync().unwrap();
        let mut read = vec![0; 6000];
        assert_eq!(file.read_at(&mut read, 7).unwrap(), 5000);
        assert_eq!(read[..5000], bytes);
        assert_eq!(RealDisk.list(path.parent().unwrap()).unwrap(), ["file"]);
    }

    #[test]
    fn a_locked_file_refuses_a_second_opener() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let guard = RealDisk.lock(&path).unwrap();
        assert_eq!(RealDisk.lock(&path).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(guard);
        RealDisk.lock(&path).unwrap();
    }
}
