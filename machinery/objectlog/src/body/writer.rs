//! Takes a body in as it arrives. Memory per writer: the inline bytes, then twice [`WRITE_BYTES`] (one buffer filling, one
//! being written).

use super::{Body, Content};
use crate::extent::{BLOCK_BYTES, Extent, ExtentRef, Extents, write_blocks};
use crate::{Error, INLINE_BYTES_MAX};
use bytes::{Bytes, BytesMut};
use durable::DiskFile;
use std::sync::Arc;
use tokio::task::{JoinHandle, spawn_blocking};

/// Data handed to the disk at once: whole blocks.
const WRITE_BYTES: usize = 4 * BLOCK_BYTES;

pub struct BodyWriter {
    extents: Arc<Extents>,
    buffer: BytesMut,
    /// Up to this size a body stays in memory, for its record.
    inline_bytes_max: usize,
    extent: Option<OpenExtent>,
}

struct OpenExtent {
    extent: Arc<Extent>,
    file: Arc<dyn DiskFile>,
    block_next: u64,
    len: u64,
    in_flight: Option<JoinHandle<Result<(), Error>>>,
}

impl BodyWriter {
    /// `inline` is false for parts, which have to outlive the record they arrived with.
    pub(crate) fn new(extents: Arc<Extents>, inline: bool) -> Self {
        let inline_bytes_max = if inline { INLINE_BYTES_MAX } else { 0 };
        Self { extents, buffer: BytesMut::new(), inline_bytes_max, extent: None }
    }

    pub async fn write(&mut self, mut data: Bytes) -> Result<(), Error> {
        if self.extent.is_none() {
            if self.buffer.len() + data.len() <= self.inline_bytes_max {
                self.buffer.extend_from_slice(&data);
                return Ok(());
            }
            self.begin_extent().await?;
        }
        while !data.is_empty() {
            let take = data.len().min(WRITE_BYTES - self.buffer.len());
            self.buffer.extend_from_slice(&data.split_to(take));
            if self.buffer.len() == WRITE_BYTES {
                self.flush_buffer().await?;
            }
        }
        Ok(())
    }

    /// The whole body; if it lies in an extent, it is durable there.
    pub async fn finish(mut self) -> Result<Body, Error> {
        if self.extent.is_none() {
            if self.inline_bytes_max > 0 {
                return Ok(Body(Content::Inline(self.buffer.freeze())));
            }
            self.begin_extent().await?;
        }
        self.flush_buffer().await?;
        let Some(mut open) = self.extent.take() else { return Err(Error::ShuttingDown) };
        open.written().await?;
        let OpenExtent { extent, file, len, .. } = open;
        let (extents, id) = (self.extents, extent.id);
        spawn_blocking(move || extents.sync(id, &*file)).await.map_err(|_| Error::ShuttingDown)??;
        Ok(Body(Content::Extents(vec![ExtentRef { extent, len }])))
    }

    async fn begin_extent(&mut self) -> Result<(), Error> {
        let extents = Arc::clone(&self.extents);
        let created = spawn_blocking(move || extents.create()).await.map_err(|_| Error::ShuttingDown)?;
        let (extent, file) = created?;
        self.extent = Some(OpenExtent { extent, file, block_next: 0, len: 0, in_flight: None });
        Ok(())
    }

    async fn flush_buffer(&mut self) -> Result<(), Error> {
        let Some(open) = &mut self.extent else { return Ok(()) };
        if self.buffer.is_empty() {
            return Ok(());
        }
        open.written().await?;
        let data = self.buffer.split().freeze();
        let (extent, file, block_first) = (Arc::clone(&open.extent), Arc::clone(&open.file), open.block_next);
        open.len += data.len() as u64;
        open.block_next += data.len().div_ceil(BLOCK_BYTES) as u64;
        open.in_flight = Some(spawn_blocking(move || {
            let written = write_blocks(&*file, extent.id, block_first, &data);
            written.map_err(|source| Error::Extent { action: "write", extent: extent.id, source })
        }));
        Ok(())
    }
}

impl OpenExtent {
    /// Waits for the write in flight.
    async fn written(&mut self) -> Result<(), Error> {
        match self.in_flight.take() {
            Some(write) => write.await.map_err(|_| Error::ShuttingDown)?,
            None => Ok(()),
        }
    }
}
