//! Gives a body, or a range of it, out piece by piece, each verified before it is handed over.

use crate::Error;
use crate::extent::{BLOCK_BYTES, ExtentRef, read_blocks};
use bytes::Bytes;
use durable::DiskFile;
use futures::Stream;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::task::spawn_blocking;

/// Blocks read at once.
const READ_BLOCKS: u64 = 4;

/// Holds the extents it reads: an object may be deleted meanwhile.
pub struct BodyReader {
    source: Source,
}

enum Source {
    Inline(Option<Box<dyn FnOnce() -> Result<Bytes, Error> + Send>>),
    Extents { pieces: VecDeque<Piece>, open: Option<(u64, Arc<dyn DiskFile>)> },
}

/// What is still to be read of one extent.
struct Piece {
    extent: ExtentRef,
    start: u64,
    end: u64,
}

impl BodyReader {
    pub(crate) fn inline(read: impl FnOnce() -> Result<Bytes, Error> + Send + 'static) -> Self {
        Self { source: Source::Inline(Some(Box::new(read))) }
    }

    /// Reads the bytes `start..end` of the row of extents.
    pub(crate) fn extents(extents: &[ExtentRef], start: u64, end: u64) -> Self {
        let mut pieces = VecDeque::new();
        let mut first = 0;
        for extent in extents {
            let last = first + extent.len;
            let (from, to) = (start.max(first), end.min(last));
            if from < to {
                pieces.push_back(Piece { extent: extent.clone(), start: from - first, end: to - first });
            }
            first = last;
        }
        Self { source: Source::Extents { pieces, open: None } }
    }

    /// The next piece; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        match &mut self.source {
            Source::Inline(read) => match read.take() {
                None => Ok(None),
                Some(read) => {
                    let bytes = spawn_blocking(read).await.map_err(|_| Error::ShuttingDown)??;
                    Ok(Some(bytes).filter(|bytes| !bytes.is_empty()))
                }
            },
            Source::Extents { pieces, open } => {
                let Some(piece) = pieces.front_mut() else { return Ok(None) };
                let extent = Arc::clone(&piece.extent.extent);
                let file = open.take().filter(|(id, _)| *id == extent.id).map(|(_, file)| file);
                let (len, start, end) = (piece.extent.len, piece.start, piece.end);
                let read = spawn_blocking(move || read(file, &extent, len, start, end));
                let (file, bytes) = read.await.map_err(|_| Error::ShuttingDown)??;
                *open = Some((piece.extent.extent.id, file));
                piece.start += bytes.len() as u64;
                if piece.start >= piece.end {
                    pieces.pop_front();
                }
                Ok(Some(bytes))
            }
        }
    }

    /// The pieces as a stream; an error ends it.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, Error>> + Send + 'static {
        futures::stream::unfold(Some(self), |reader| async move {
            let mut reader = reader?;
            match reader.next().await {
                Ok(Some(bytes)) => Some((Ok(bytes), Some(reader))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
    }
}

fn read(
    file: Option<Arc<dyn DiskFile>>,
    extent: &crate::extent::Extent,
    len: u64,
    start: u64,
    end: u64,
) -> Result<(Arc<dyn DiskFile>, Bytes), Error> {
    let file = match file {
        Some(file) => file,
        None => extent.open(false)?,
    };
    let block = BLOCK_BYTES as u64;
    let block_first = start / block;
    let count = (end.div_ceil(block) - block_first).min(READ_BLOCKS);
    let data = read_blocks(&*file, extent.id, len, block_first, count)?;
    let skip = (start - block_first * block) as usize;
    let take = (end - block_first * block).min(data.len() as u64) as usize;
    Ok((file, data.slice(skip..take)))
}
