//! Bodies of responses, encoded on their way (`compress`): what comes in one piece goes on in one piece, and what the
//! server pauses after is flushed, so that events pass as they come. The windows are small: memory is per response.

use super::answer::Failure;
use flate2::Compression;
use flate2::write::GzEncoder;
use http1::{Body, ChunkHead, LAST_CHUNK};
use middleware::Encoding;
use std::io::{self, Write};
use std::mem;

/// Of 9: half of the time of zlib's default for 2 % more bytes.
const GZIP_LEVEL: u32 = 4;
/// Of 11: about gzip's speed.
const BROTLI_QUALITY: u32 = 4;
/// 256 KiB.
const BROTLI_WINDOW_BITS: u32 = 18;
const BROTLI_BUFFER_BYTES: usize = 4096;
/// Of 22.
const ZSTD_LEVEL: i32 = 3;
/// 256 KiB; browsers take up to 8 MiB (RFC 9659).
const ZSTD_WINDOW_BITS: u32 = 18;

pub(super) struct Encoder {
    codec: Codec,
    /// Else the end of the connection ends the body.
    in_chunks: bool,
    /// Something went in that may not have come out.
    is_dirty: bool,
    /// Bytes of the encoded body.
    pub encoded_bytes: u64,
}

enum Codec {
    Gzip(GzEncoder<Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    Finished(Vec<u8>),
}

impl Encoder {
    pub fn new(encoding: Encoding, in_chunks: bool) -> io::Result<Self> {
        let out = Vec::new();
        let codec = match encoding {
            Encoding::Gzip => Codec::Gzip(GzEncoder::new(out, Compression::new(GZIP_LEVEL))),
            Encoding::Brotli => {
                let writer =
                    brotli::CompressorWriter::new(out, BROTLI_BUFFER_BYTES, BROTLI_QUALITY, BROTLI_WINDOW_BITS);
                Codec::Brotli(Box::new(writer))
            }
            Encoding::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(out, ZSTD_LEVEL)?;
                encoder.window_log(ZSTD_WINDOW_BITS)?;
                Codec::Zstd(encoder)
            }
        };
        Ok(Self { codec, in_chunks, is_dirty: false, encoded_bytes: 0 })
    }

    /// Takes what belongs to the body from `bytes`, and writes what has become of it; returns how much that is.
    pub fn put(&mut self, out: &mut Vec<u8>, body: &mut Body, bytes: &[u8]) -> Result<usize, Failure> {
        let mut used = 0;
        while used < bytes.len() && !body.is_done() {
            let decoded = body.decode(&bytes[used..]).map_err(Failure::Chunk)?;
            used += decoded.consumed;
            if !decoded.data.is_empty() {
                self.codec.write(decoded.data).map_err(Failure::Body)?;
                self.is_dirty = true;
            }
        }
        if body.is_done() {
            self.finish(out)?
        } else {
            self.pass(out)
        }
        Ok(used)
    }

    /// Writes all that went in so far; whether there was anything.
    pub fn flush(&mut self, out: &mut Vec<u8>) -> Result<bool, Failure> {
        if !mem::take(&mut self.is_dirty) {
            return Ok(false);
        }
        self.codec.flush().map_err(Failure::Body)?;
        self.pass(out);
        Ok(true)
    }

    /// Nothing more comes.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Failure> {
        self.codec.finish().map_err(Failure::Body)?;
        self.is_dirty = false;
        self.pass(out);
        if self.in_chunks {
            out.extend_from_slice(LAST_CHUNK);
        }
        Ok(())
    }

    fn pass(&mut self, out: &mut Vec<u8>) {
        let encoded = self.codec.encoded();
        if encoded.is_empty() {
            return;
        }
        self.encoded_bytes += encoded.len() as u64;
        if self.in_chunks {
            out.extend_from_slice(ChunkHead::new(encoded.len()).as_bytes());
        }
        out.append(encoded);
        if self.in_chunks {
            out.extend_from_slice(b"\r\n");
        }
    }
}

impl Codec {
    fn write(&mut self, data: &[u8]) -> io::Result<()> {
        match self {
            Self::Gzip(encoder) => encoder.write_all(data),
            Self::Brotli(encoder) => encoder.write_all(data),
            Self::Zstd(encoder) => encoder.write_all(data),
            Self::Finished(_) => Ok(()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Gzip(encoder) => encoder.flush(),
            Self::Brotli(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
            Self::Finished(_) => Ok(()),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        let encoded = match mem::replace(self, Self::Finished(Vec::new())) {
            Self::Gzip(encoder) => encoder.finish()?,
            Self::Brotli(encoder) => encoder.into_inner(),
            Self::Zstd(encoder) => encoder.finish()?,
            Self::Finished(encoded) => encoded,
        };
        *self = Self::Finished(encoded);
        Ok(())
    }

    fn encoded(&mut self) -> &mut Vec<u8> {
        match self {
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Brotli(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
            Self::Finished(encoded) => encoded,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http1::Framing;
    use proptest::prelude::*;
    use std::io::Read;

    fn decoded(encoding: Encoding, encoded: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        match encoding {
            Encoding::Gzip => flate2::read::GzDecoder::new(encoded).read_to_end(&mut plain).unwrap(),
            Encoding::Brotli => brotli::Decompressor::new(encoded, 4096).read_to_end(&mut plain).unwrap(),
            Encoding::Zstd => zstd::stream::read::Decoder::new(encoded).unwrap().read_to_end(&mut plain).unwrap(),
        };
        plain
    }

    proptest! {
        #[test]
        fn what_went_in_comes_out_whatever_the_pieces(
            pieces in proptest::collection::vec(
                (proptest::collection::vec(proptest::sample::select(b"ab\n".to_vec()), 0..5000), any::<bool>()), 0..8),
        ) {
            for encoding in [Encoding::Gzip, Encoding::Brotli, Encoding::Zstd] {
                let (mut encoder, mut body) = (Encoder::new(encoding, false).unwrap(), Body::new(Framing::UntilClose));
                let mut out = Vec::new();
                for (piece, pauses) in &pieces {
                    prop_assert_eq!(encoder.put(&mut out, &mut body, piece).unwrap(), piece.len());
                    if *pauses {
                        encoder.flush(&mut out).unwrap();
                    }
                }
                encoder.finish(&mut out).unwrap();
                prop_assert_eq!(encoder.encoded_bytes, out.len() as u64);
                let plain: Vec<u8> = pieces.iter().flat_map(|(piece, _)| piece.clone()).collect();
                prop_assert!(decoded(encoding, &out) == plain);
            }
        }
    }
}
