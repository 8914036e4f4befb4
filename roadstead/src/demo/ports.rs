//! A slice of Mesos' host ports for a demo alone: several demos on one machine must not hand out the same ones.

use anyhow::bail;
use nix::fcntl::{Flock, FlockArg};
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::RangeInclusive;

/// Mesos' default range, in slices: a roll of 20 instances needs 40 at once.
const FIRST: u16 = 31_000;
const LAST: u16 = 31_999;
const SLICE: u16 = 100;

/// Held by its lock file until it is dropped.
pub struct PortSlice {
    pub ports: RangeInclusive<u16>,
    _lock: Flock<File>,
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
fn lock(begin: u16) -> Option<Flock<File>> {
    let path = std::env::temp_dir().join(format!("roadstead-ports-{begin}.lock"));
    let file = File::options().create(true).append(true).open(path).ok()?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).ok()
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
    }
}
