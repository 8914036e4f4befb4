//! A store's keys and values as one file: for backups, and to move from one kind of store to the other.
//!
//! A dump holds every key and value at one revision. Keys on a lease are left out: whoever holds them is somewhere else, or
//! gone. Revisions and leases are a store's own, so a store that was filled from a dump is another store, with another
//! cluster id and another history.
//!
//! The whole dump is checked before anything of it is written.

mod file;
#[cfg(test)]
mod tests;

use crate::wire::dump::Pair;
use crate::{
    KeyRange, Operation, REQUEST_BYTES_MAX, RangeRequest, Revision, Store, StoreError, TXN_OPERATIONS_MAX, TxnRequest,
};
use file::{Reader, Writer};
use prost::Message;
use std::io::SeekFrom;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncSeek, AsyncSeekExt, AsyncWrite};

/// Where the platform keeps its own: a store that has keys there is in use.
const PLATFORM_PREFIX: &str = "/roadstead/";
/// Bytes of keys and values that one transaction of an import writes, unless a single value is longer.
const TXN_BYTES_MAX: usize = REQUEST_BYTES_MAX / 2;
/// A write that was not answered is repeated for this long; a put that was done twice is still one put.
const REPEAT_MAX: Duration = Duration::from_secs(10);
const REPEAT_PAUSE: Duration = Duration::from_millis(100);

/// What a dump says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The store that was read.
    pub cluster_id: u64,
    pub revision: Revision,
    pub keys: u64,
}

/// What becomes of a store that the platform has used already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    Refuse,
    /// The dump's keys are written over what is there; other keys stay.
    Overwrite,
}

#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    #[error("read the store")]
    Store { source: StoreError },
    #[error("write to the store after {written} of {keys} keys")]
    Import { written: u64, keys: u64, source: StoreError },
    #[error("write the dump")]
    Write { source: std::io::Error },
    #[error("read the dump")]
    Read { source: std::io::Error },
    #[error("this is no dump of a store")]
    NotADump,
    #[error("the dump is damaged at byte {at}: {what}")]
    Damaged { at: u64, what: &'static str },
    #[error("key {key:?} and its value are longer than a store takes")]
    TooLong { key: String },
    #[error("the store is in use: it has {key:?}")]
    InUse { key: String },
}

/// Writes every key of the store as it was at one revision.
pub async fn export<W>(store: &dyn Store, out: &mut W) -> Result<Summary, DumpError>
where
    W: AsyncWrite + Unpin + Send + ?Sized,
{
    let read = |source| DumpError::Store { source };
    let cluster_id = store.cluster_id().await.map_err(read)?;
    let (mut page, mut rest) = store.read_page(KeyRange::prefix(""), 0).await.map_err(read)?;
    let revision = page.revision;
    let mut writer = Writer::begin(out, cluster_id, revision).await?;
    loop {
        for kv in page.kvs.into_iter().filter(|kv| kv.lease == 0) {
            writer.pair(Pair { key: kv.key, value: kv.value }).await?;
        }
        let Some(range) = rest else { break };
        (page, rest) = store.read_page(range, revision).await.map_err(read)?;
    }
    let keys = writer.end().await?;
    Ok(Summary { cluster_id, revision, keys })
}

/// Reads a whole dump and checks it.
pub async fn verify<R>(input: &mut R) -> Result<Summary, DumpError>
where
    R: AsyncRead + Unpin + Send + ?Sized,
{
    let (mut reader, head) = Reader::begin(input).await?;
    while reader.pair().await?.is_some() {}
    Ok(Summary { cluster_id: head.cluster_id, revision: head.revision, keys: reader.pairs() })
}

/// Writes a dump's keys into a store. Ended half-way, it may be repeated with [`Existing::Overwrite`].
pub async fn import<R>(store: &dyn Store, input: &mut R, existing: Existing) -> Result<Summary, DumpError>
where
    R: AsyncRead + AsyncSeek + Unpin + Send + ?Sized,
{
    let start = input.stream_position().await.map_err(|source| DumpError::Read { source })?;
    let summary = verify(input).await?;
    input.seek(SeekFrom::Start(start)).await.map_err(|source| DumpError::Read { source })?;
    if existing == Existing::Refuse {
        refuse_used(store).await?;
    }
    let (mut reader, _) = Reader::begin(input).await?;
    let (mut puts, mut bytes, mut written) = (Vec::new(), 0, 0);
    loop {
        let pair = reader.pair().await?;
        let pair_bytes = pair.as_ref().map_or(0, Message::encoded_len);
        let is_full = puts.len() == TXN_OPERATIONS_MAX || TXN_BYTES_MAX < bytes + pair_bytes;
        if !puts.is_empty() && (is_full || pair.is_none()) {
            let count = puts.len() as u64;
            let put = write(store, std::mem::take(&mut puts)).await;
            put.map_err(|source| DumpError::Import { written, keys: summary.keys, source })?;
            (bytes, written) = (0, written + count);
        }
        let Some(pair) = pair else { return Ok(summary) };
        puts.push(Operation::put(pair.key, pair.value));
        bytes += pair_bytes;
    }
}

async fn refuse_used(store: &dyn Store) -> Result<(), DumpError> {
    let range = KeyRange::prefix(PLATFORM_PREFIX);
    let request = RangeRequest { limit: 1, keys_only: true, ..RangeRequest::of(range) };
    let found = store.range(request).await.map_err(|source| DumpError::Store { source })?;
    match found.kvs.first() {
        Some(kv) => Err(DumpError::InUse { key: String::from_utf8_lossy(&kv.key).into_owned() }),
        None => Ok(()),
    }
}

async fn write(store: &dyn Store, puts: Vec<Operation>) -> Result<(), StoreError> {
    let request = TxnRequest { success: puts, ..TxnRequest::default() };
    let began = Instant::now();
    loop {
        match store.txn(request.clone()).await {
            Ok(_) => return Ok(()),
            Err(StoreError::Unavailable { .. }) if began.elapsed() < REPEAT_MAX => {
                tokio::time::sleep(REPEAT_PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    }
}
