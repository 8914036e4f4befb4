use durable::LogError;
use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no bucket {bucket}")]
    NoSuchBucket { bucket: String },
    #[error("bucket {bucket} exists")]
    BucketExists { bucket: String },
    #[error("bucket {bucket} is not empty")]
    BucketNotEmpty { bucket: String },
    #[error("no upload {upload} of {key}")]
    NoSuchUpload { key: String, upload: String },
    #[error("part {number} was not uploaded, or has another ETag")]
    InvalidPart { number: u32 },
    #[error("part {number} is out of order")]
    InvalidPartOrder { number: u32 },
    #[error("part {number} is smaller than {min} bytes and not the last")]
    PartTooSmall { number: u32, min: u64 },
    #[error("the condition on {key} does not hold")]
    Precondition { key: String },
    #[error("no object {key}")]
    NoSuchObject { key: String },
    #[error("write to the log of {}", dir.display())]
    Log { dir: PathBuf, source: LogError },
    #[error("{action} extent {extent:016x}")]
    Extent { action: &'static str, extent: u64, source: io::Error },
    #[error("extent {extent:016x} is corrupt in block {block}")]
    Corrupt { extent: u64, block: u64 },
    #[error("{action} {}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    /// The log was rewritten since the object was looked up: look it up again.
    #[error("the object was moved or replaced while it was read")]
    Moved,
    #[error("the runtime is shutting down")]
    ShuttingDown,
}
