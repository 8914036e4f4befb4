//! The chunked transfer coding (RFC 9112 §7.1).

use crate::body::Decoded;
use crate::refusal::BadChunk;
use crate::trailer::Trailers;

/// Bytes of chunk extensions in one body, as hyper has it: nobody understands them, so nobody needs more.
pub const EXTENSION_BYTES_MAX: usize = 16 * 1024;
/// Bytes of trailers of one body.
pub const TRAILER_BYTES_MAX: usize = 16 * 1024;
/// So that a size fits 64 bits.
const SIZE_DIGITS_MAX: u8 = 16;

/// Ends a chunked body without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// The line before a chunk's data; after the data comes CR LF.
#[derive(Debug, Clone, Copy)]
pub struct ChunkHead {
    bytes: [u8; Self::BYTES_MAX],
    start: u8,
}

impl ChunkHead {
    const BYTES_MAX: usize = SIZE_DIGITS_MAX as usize + b"\r\n".len();

    /// `length` is not 0: an empty chunk is the last one.
    pub fn new(length: usize) -> Self {
        let mut bytes = [b'\r'; Self::BYTES_MAX];
        bytes[Self::BYTES_MAX - 1] = b'\n';
        let mut start = SIZE_DIGITS_MAX as usize;
        let mut left = length;
        loop {
            start -= 1;
            bytes[start] = b"0123456789abcdef"[left % 16];
            left /= 16;
            if left == 0 {
                break;
            }
        }
        Self { bytes, start: start as u8 }
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[usize::from(self.start)..]
    }
}

/// Where in a chunked body the next byte is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chunks {
    at: At,
    /// Of this chunk.
    size: u64,
    /// Of the size.
    digits: u8,
    extension_bytes: usize,
    trailers: Trailers,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Size,
    /// Whitespace between size and extension: allowed, though nobody sends it.
    BeforeExtension,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    Trailers,
    Done,
}

impl Default for Chunks {
    fn default() -> Self {
        Self { at: At::Size, size: 0, digits: 0, extension_bytes: 0, trailers: Trailers::default() }
    }
}

impl Chunks {
    pub fn are_done(&self) -> bool {
        self.at == At::Done
    }

    /// Whether all data was seen, and what follows is trailers.
    pub fn are_in_trailers(&self) -> bool {
        self.at == At::Trailers
    }

    /// Goes on until the end of the next run of data, of all data, of the body, or of the bytes; not into data beyond the most.
    pub fn decode<'a>(&mut self, bytes: &'a [u8], data_bytes_max: usize) -> Result<Decoded<'a>, BadChunk> {
        let mut consumed = 0;
        while let Some(byte) = bytes.get(consumed) {
            if self.at == At::Data {
                let rest = &bytes[consumed..];
                let size = usize::try_from(self.size).unwrap_or(usize::MAX);
                let data = &rest[..rest.len().min(size).min(data_bytes_max)];
                self.size -= data.len() as u64;
                if self.size == 0 {
                    self.at = At::DataCr;
                }
                return Ok(Decoded { data, consumed: consumed + data.len() });
            }
            let before = self.at;
            consumed += 1;
            self.step(*byte)?;
            if self.at != before && matches!(self.at, At::Trailers | At::Done) {
                break;
            }
        }
        Ok(Decoded { data: &[], consumed })
    }

    /// One byte of framing.
    #[inline]
    fn step(&mut self, byte: u8) -> Result<(), BadChunk> {
        self.at = match (self.at, byte) {
            (At::Size, _) if byte.is_ascii_hexdigit() => self.digit(byte)?,
            (At::Size, _) if self.digits == 0 => return Err(BadChunk::Size),
            (At::Size, b'\r') => At::SizeLf,
            (At::Size | At::BeforeExtension, b' ' | b'\t') => self.extension(At::BeforeExtension)?,
            (At::Size | At::BeforeExtension, b';') => self.extension(At::Extension)?,
            (At::Size | At::BeforeExtension, _) => return Err(BadChunk::Size),
            (At::Extension, b'\r') => At::SizeLf,
            (At::Extension, b'\t' | b' '..=b'~' | 0x80..) => self.extension(At::Extension)?,
            (At::Extension, _) => return Err(BadChunk::Extension),
            (At::SizeLf, b'\n') => {
                self.digits = 0;
                if self.size == 0 { At::Trailers } else { At::Data }
            }
            (At::SizeLf, _) => return Err(BadChunk::Size),
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Size,
            (At::DataCr | At::DataLf, _) => return Err(BadChunk::DataEnd),
            (At::Trailers, _) => {
                if self.trailers.step(byte)? {
                    At::Done
                } else {
                    At::Trailers
                }
            }
            (At::Data | At::Done, _) => self.at,
        };
        Ok(())
    }

    #[inline]
    fn digit(&mut self, byte: u8) -> Result<At, BadChunk> {
        if self.digits == SIZE_DIGITS_MAX {
            return Err(BadChunk::Size);
        }
        self.digits += 1;
        let digit = if byte.is_ascii_digit() { byte - b'0' } else { (byte | 0x20) - b'a' + 10 };
        self.size = self.size << 4 | u64::from(digit);
        Ok(At::Size)
    }

    fn extension(&mut self, at: At) -> Result<At, BadChunk> {
        self.extension_bytes += 1;
        if self.extension_bytes > EXTENSION_BYTES_MAX { Err(BadChunk::ExtensionsTooLong) } else { Ok(at) }
    }
}
