//! Files that survive power loss: group commit, checksums, fault injection.
//!
//! [`Log`] is an append-only record log: what it has answered survives a crash. It does all of its I/O through [`Disk`], so
//! that a test can put [`FaultyDisk`] under it, cut the power at any moment, and look at what is left.

mod atomic;
mod disk;
mod log;

pub use atomic::{Replacement, replace};
pub use disk::{Disk, DiskFile, FaultyDisk, HeldSyncs, Life, LockGuard, RealDisk};
pub use log::{Log, LogError, LogOptions, Position, QUEUE_BYTES_MAX, Replay};

/// What a replay callback may fail with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;
