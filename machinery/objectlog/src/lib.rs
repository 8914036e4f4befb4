//! Durable objects on one disk: buckets, keys, bodies, multipart uploads.
//!
//! One append-only [`durable::Log`] is data and write-ahead log at once, after Haystack (OSDI 2010) and Bitcask:
//!
//! ```text
//! log/      records: small objects whole, and for large ones the list of their extents
//! extents/  one file per streamed body or part: 64 KiB blocks, each followed by its CRC-32C
//! memory    an ordered index per bucket, rebuilt from the log when it is opened
//! ```
//!
//! - A small object is one record: one write, one flush, shared with every other object of that moment (group commit).
//! - A large body is streamed into an extent in bounded memory and flushed *before* the record that names it is written,
//!   so a record never names bytes that are not there. A multipart upload is completed by one record that names its parts'
//!   extents; a copy is a record that names the source's. Nothing is moved.
//! - An extent lives as long as something names it: the index, an upload, or a reader (a reference count).
//! - Writers of one key take turns, so `If-None-Match` and `If-Match` are exact; writers of different keys share flushes.
//! - The oldest segment of the log is rewritten once more than half of a large log is dead ([`Options::log_bytes_min`]).
//!
//! What is promised, given a disk that keeps what it has flushed and writes 512-byte sectors whole: an acknowledged change
//! survives a power cut, a change that was not acknowledged is there whole or not at all, and a byte that rotted is
//! reported, never returned.

mod body;
mod error;
mod extent;
mod listing;
mod locks;
mod log;
mod record;
mod state;

pub use body::{Body, BodyReader, BodyWriter};
pub use error::Error;
pub use listing::{ListQuery, Listing};
pub use log::{Completion, Condition, NewObject, ObjectLog};
pub use record::Headers;
pub use state::{BucketInfo, Object, Part, UploadInfo};

/// An object up to this size travels in its record; a larger one gets an extent. Larger values save flushes, and cost
/// memory per upload and work when the log is rewritten.
pub const INLINE_BYTES_MAX: usize = 128 << 10;
/// Parts of one multipart upload (S3's limit).
pub const PARTS_MAX: u32 = 10_000;
/// Inline bodies that may wait for the log's flush; further writers wait their turn.
pub(crate) const PENDING_BYTES_MAX: usize = 32 << 20;
/// The largest record: the completion of an upload of [`PARTS_MAX`] parts, or an inline object with its headers.
const RECORD_BYTES_MAX: usize = 4 << 20;

const _: () = assert!(INLINE_BYTES_MAX * 2 < RECORD_BYTES_MAX);
const _: () = assert!(PENDING_BYTES_MAX < durable::QUEUE_BYTES_MAX);

/// How a log is kept.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub segment_bytes: u64,
    /// A log smaller than this is never rewritten.
    pub log_bytes_min: u64,
    /// False only in the mutants of durability tests.
    pub fsync: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, log_bytes_min: 256 << 20, fsync: true }
    }
}
