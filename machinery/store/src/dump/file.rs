//! The file: a line that names the format, then frames.
//!
//! ```text
//! "roadstead dump 1\n"
//! frame: length of the payload (u32, little endian) | checksum (u32, little endian) | payload (proto/dump.proto)
//! ```
//!
//! A frame's checksum is CRC-32C over the checksum of the frame before it (0 before the first), its own length and its
//! payload: a frame that is changed, missing, doubled or out of place breaks the chain. The last frame counts the pairs, so
//! that a dump that was cut off between frames is found out, too.

use super::DumpError;
use crate::REQUEST_BYTES_MAX;
use crate::wire::dump::{End, Frame, Head, Pair, frame};
use prost::Message;
use std::io::ErrorKind;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const MAGIC: &[u8] = b"roadstead dump 1\n";
/// A frame holds a pair, which came in one request; what surrounds it is a few bytes.
const FRAME_BYTES_MAX: usize = REQUEST_BYTES_MAX + 1024;
const HEADER_BYTES: usize = 8;

pub struct Writer<'a, W: ?Sized> {
    out: &'a mut W,
    checksum: u32,
    pairs: u64,
}

impl<'a, W: AsyncWrite + Unpin + ?Sized> Writer<'a, W> {
    pub async fn begin(out: &'a mut W, cluster_id: u64, revision: i64) -> Result<Self, DumpError> {
        out.write_all(MAGIC).await.map_err(|source| DumpError::Write { source })?;
        let mut writer = Self { out, checksum: 0, pairs: 0 };
        writer.frame(frame::Frame::Head(Head { cluster_id, revision })).await?;
        Ok(writer)
    }

    pub async fn pair(&mut self, pair: Pair) -> Result<(), DumpError> {
        if REQUEST_BYTES_MAX < pair.key.len() + pair.value.len() {
            return Err(DumpError::TooLong { key: String::from_utf8_lossy(&pair.key).into_owned() });
        }
        self.pairs += 1;
        self.frame(frame::Frame::Pair(pair)).await
    }

    /// Returns the number of pairs. The bytes have left for their destination; whether they are on a disk is its affair.
    pub async fn end(mut self) -> Result<u64, DumpError> {
        self.frame(frame::Frame::End(End { pairs: self.pairs })).await?;
        self.out.flush().await.map_err(|source| DumpError::Write { source })?;
        Ok(self.pairs)
    }

    async fn frame(&mut self, frame: frame::Frame) -> Result<(), DumpError> {
        let payload = Frame { frame: Some(frame) }.encode_to_vec();
        let length = u32::try_from(payload.len()).expect("FRAME_BYTES_MAX fits");
        self.checksum = chain(self.checksum, length, &payload);
        let mut bytes = Vec::with_capacity(HEADER_BYTES + payload.len());
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&self.checksum.to_le_bytes());
        bytes.extend_from_slice(&payload);
        self.out.write_all(&bytes).await.map_err(|source| DumpError::Write { source })
    }
}

pub struct Reader<'a, R: ?Sized> {
    input: &'a mut R,
    /// Bytes read so far.
    at: u64,
    checksum: u32,
    pairs: u64,
}

impl<'a, R: AsyncRead + Unpin + ?Sized> Reader<'a, R> {
    pub async fn begin(input: &'a mut R) -> Result<(Self, Head), DumpError> {
        let mut magic = [0; MAGIC.len()];
        match input.read_exact(&mut magic).await {
            Ok(_) if magic == MAGIC => {}
            Err(source) if source.kind() != ErrorKind::UnexpectedEof => return Err(DumpError::Read { source }),
            _ => return Err(DumpError::NotADump),
        }
        let mut reader = Self { input, at: MAGIC.len() as u64, checksum: 0, pairs: 0 };
        match reader.frame().await? {
            frame::Frame::Head(head) => Ok((reader, head)),
            _ => Err(reader.damaged("it does not begin with its head")),
        }
    }

    /// `None` behind the last pair, once the end was found to be right. Not to be asked again afterwards.
    pub async fn pair(&mut self) -> Result<Option<Pair>, DumpError> {
        match self.frame().await? {
            frame::Frame::Pair(pair) if pair.key.is_empty() => Err(self.damaged("a key is empty")),
            frame::Frame::Pair(pair) => {
                self.pairs += 1;
                Ok(Some(pair))
            }
            frame::Frame::End(end) if end.pairs != self.pairs => Err(self.damaged("keys are missing")),
            frame::Frame::End(_) => match self.input.read(&mut [0]).await {
                Ok(0) => Ok(None),
                Ok(_) => Err(self.damaged("something follows its end")),
                Err(source) => Err(DumpError::Read { source }),
            },
            frame::Frame::Head(_) => Err(self.damaged("it has a second head")),
        }
    }

    pub fn pairs(&self) -> u64 {
        self.pairs
    }

    async fn frame(&mut self) -> Result<frame::Frame, DumpError> {
        let mut header = [0; HEADER_BYTES];
        self.read(&mut header).await?;
        let [l0, l1, l2, l3, c0, c1, c2, c3] = header;
        let (length, checksum) = (u32::from_le_bytes([l0, l1, l2, l3]), u32::from_le_bytes([c0, c1, c2, c3]));
        let payload_bytes = usize::try_from(length).unwrap_or(usize::MAX);
        if FRAME_BYTES_MAX < payload_bytes {
            return Err(self.damaged("a length is impossible"));
        }
        let mut payload = vec![0; payload_bytes];
        self.read(&mut payload).await?;
        self.checksum = chain(self.checksum, length, &payload);
        if self.checksum != checksum {
            return Err(self.damaged("a checksum is wrong"));
        }
        self.at += (HEADER_BYTES + payload_bytes) as u64;
        let frame = Frame::decode(payload.as_slice()).ok().and_then(|frame| frame.frame);
        frame.ok_or_else(|| self.damaged("a frame cannot be read"))
    }

    async fn read(&mut self, bytes: &mut [u8]) -> Result<(), DumpError> {
        match self.input.read_exact(bytes).await {
            Ok(_) => Ok(()),
            Err(source) if source.kind() == ErrorKind::UnexpectedEof => Err(self.damaged("it ends too early")),
            Err(source) => Err(DumpError::Read { source }),
        }
    }

    fn damaged(&self, what: &'static str) -> DumpError {
        DumpError::Damaged { at: self.at, what }
    }
}

fn chain(before: u32, length: u32, payload: &[u8]) -> u32 {
    let checksum = crc32c::crc32c(&before.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(checksum, &length.to_le_bytes()), payload)
}
