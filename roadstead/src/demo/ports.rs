//! A slice of Mesos' host ports for a demo alone: several demos on one machine must not hand out the same ones.

use anyhow::bail;
use nix::fcntl::{Flock, FlockArg};
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::RangeInclusive;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// Mesos' default range, in slices: a roll of 20 instances needs 40 at once.
const FIRST: u16 = 31_000;
const LAST: u16 = 31_999;
const SLICE: u16 = 100;

/// Held by its lock file until it is dropped, which removes the file.
pub struct PortSlice {
    pub ports: RangeInclusive<u16>,
    _lock: Lock,
}

struct Lock {
    path: PathBuf,
    _file: Flock<File>,
}

impl Drop for Lock {
    /// Removed while it is held: whoever opened the file before that sees, once it has the lock, that the file is gone.
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(%error, path = %self.path.display(), "remove a lock file");
        }
    }
}

impl PortSlice {
    /// The lowest slice that nobody holds and whose ports are all free.
    pub fn take() -> anyhow::Result<Self> {
        for begin in (FIRST..=LAST).step_by(SLICE.into()) {
            let ports = begin..=begin + SLICE - 1;
            if let Some(lock) = lock(begin)
                && ports.clone().all(is_free)
            {
                return Ok(Self { ports, _lock: lock });
            }
        }
        bail!("no {SLICE} free ports in a row from {FIRST} to {LAST}: is another platform running?")
    }
}

/// `None` when another process holds the slice, or another user's lock file is in the way.
fn lock(begin: u16) -> Option<Lock> {
    let path = std::env::temp_dir().join(format!("roadstead-ports-{begin}.lock"));
    let file = File::options().create(true).append(true).open(&path).ok()?;
    let file = Flock::lock(file, FlockArg::LockExclusiveNonblock).ok()?;
    let still_there = file.metadata().ok()?.ino() == std::fs::metadata(&path).ok()?.ino();
    still_there.then_some(Lock { path, _file: file })
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::PortSlice;

    #[test]
    fn two_slices_share_no_port() {
        let first = PortSlice::take().unwrap();
        let second = PortSlice::take().unwrap();
        assert!(second.ports.start() > first.ports.end() || first.ports.start() > second.ports.end());
        let path = second._lock.path.clone();
        assert!(path.exists());
        drop(second);
        assert!(!path.exists(), "a slice given back leaves no file");
    }
}
