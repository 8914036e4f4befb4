//! Every limit of the face. Where S3 documents one, it is S3's.

use std::time::Duration;

/// The largest body of one PUT, and of one part (S3: 5 GiB).
pub const PUT_BYTES_MAX: u64 = 5 << 30;
/// The largest object of all parts (S3: 5 TiB).
pub const OBJECT_BYTES_MAX: u64 = 5 << 40;
/// Every part but the last (S3: 5 MiB).
pub const PART_BYTES_MIN: u64 = 5 << 20;
/// UTF-8 bytes of a key (S3).
pub const KEY_BYTES_MAX: usize = 1024;
/// Names and values of `x-amz-meta-*` headers together (S3: 2 KB).
pub const METADATA_BYTES_MAX: usize = 2048;
/// Keys in one page of a listing, and in one DeleteObjects (S3).
pub const PAGE_ITEMS_MAX: usize = 1000;
/// An XML body: the completion of 10,000 parts with their checksums is the largest.
pub const XML_BYTES_MAX: usize = 4 << 20;
/// A bucket's CORS rules (S3: 64 KB, 100 rules).
pub const CORS_BYTES_MAX: usize = 64 << 10;
pub const CORS_RULES_MAX: usize = 100;
/// Deletions of one DeleteObjects under way at once: they share the log's flushes.
pub const DELETES_AT_ONCE: usize = 64;
/// A body may pause this long.
pub const BODY_IDLE_MAX: Duration = Duration::from_secs(60);
/// What is read of a refused body, so that the client can finish sending and read the answer.
pub const REFUSED_BODY_BYTES_MAX: u64 = 256 << 10;
pub const REFUSED_BODY_TIME_MAX: Duration = Duration::from_secs(5);
/// A lookup is repeated this often when the log is rewritten just then.
pub const LOOKUPS_MAX: usize = 4;

/// Fewer connections than other faces: each may hold a body's buffers.
pub const BOUNDS: web::Bounds = web::Bounds {
    connections_max: 1024,
    head_timeout: Duration::from_secs(30),
    head_bytes_max: 64 * 1024,
    drain_grace: Duration::from_secs(10),
};
