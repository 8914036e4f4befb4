//! The `aws-chunked` framing of a body, undone as bytes arrive.
//!
//! ```text
//! <hex size>[;chunk-signature=<hex>]\r\n <bytes> \r\n      repeated
//! 0[;chunk-signature=<hex>]\r\n
//! [<trailer name>:<value>\r\n]* [x-amz-trailer-signature:<hex>\r\n] \r\n
//! ```
//!
//! Data is handed out before its chunk's signature is known to hold, so that nothing but one line is ever kept: whoever
//! stores it must not make it visible before [`Decoder::finish`] has said yes.

use crate::v4::ChunkSigner;
use bytes::{Buf, Bytes};
use sha2::{Digest, Sha256};

/// A chunk's head: sixteen digits of size, and a signature.
const HEAD_BYTES_MAX: usize = 256;
/// All trailers together.
const TRAILERS_BYTES_MAX: usize = 8 * 1024;

#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ChunkError {
    #[error("the chunk framing is malformed: {0}")]
    Malformed(&'static str),
    #[error("the body ends inside a chunk")]
    Incomplete,
    #[error("the signature of a chunk or of the trailers does not match")]
    Mismatch,
}

impl ChunkError {
    /// The error code of S3's error document.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "InvalidRequest",
            Self::Incomplete => "IncompleteBody",
            Self::Mismatch => "SignatureDoesNotMatch",
        }
    }
}

/// Trailing headers: lower-case names and values.
pub type Trailers = Vec<(String, String)>;

/// Undoes the framing of one body.
#[derive(Debug)]
pub struct Decoder {
    signer: Option<ChunkSigner>,
    state: State,
    /// The line being read, or the trailers so far.
    pending: Vec<u8>,
    hash: Sha256,
    chunk_signature: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    Data { left: u64 },
    DataEnd,
    Trailers,
}

impl Decoder {
    pub fn new(signer: Option<ChunkSigner>) -> Self {
        let chunk_signature = String::new();
        Self { signer, state: State::Head, pending: Vec::new(), hash: Sha256::new(), chunk_signature }
    }

    /// Takes bytes from the front of `input`; `None` means that it is used up.
    pub fn decode(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, ChunkError> {
        while !input.is_empty() {
            match self.state {
                State::Head => {
                    let Some(line) = self.take_line(input)? else { return Ok(None) };
                    self.begin_chunk(&line)?;
                }
                State::Data { left } => {
                    let take = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                    let data = input.split_to(take);
                    if self.signer.is_some() {
                        self.hash.update(&data);
                    }
                    let left = left - take as u64;
                    self.state = if left == 0 { State::DataEnd } else { State::Data { left } };
                    return Ok(Some(data));
                }
                State::DataEnd => {
                    let Some(line) = self.take_line(input)? else { return Ok(None) };
                    if !line.is_empty() {
                        return Err(ChunkError::Malformed("a chunk is longer than its head says"));
                    }
                    self.end_chunk()?;
                    self.state = State::Head;
                }
                State::Trailers => {
                    if self.pending.len() + input.len() > TRAILERS_BYTES_MAX {
                        return Err(ChunkError::Malformed("the trailers are too long"));
                    }
                    self.pending.extend_from_slice(input);
                    input.advance(input.len());
                }
            }
        }
        Ok(None)
    }

    /// The end of the body: the trailers by lower-case name, once everything is known to hold.
    pub fn finish(mut self) -> Result<Trailers, ChunkError> {
        if self.state != State::Trailers {
            return Err(ChunkError::Incomplete);
        }
        let text = String::from_utf8(std::mem::take(&mut self.pending));
        let text = text.map_err(|_| ChunkError::Malformed("a trailer is not UTF-8"))?;
        let mut trailers = Vec::new();
        let mut signature = None;
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let pair = line.split_once(':').ok_or(ChunkError::Malformed("a trailer has no colon"))?;
            let (name, value) = (pair.0.trim().to_ascii_lowercase(), pair.1.trim().to_owned());
            match name == "x-amz-trailer-signature" {
                true => signature = Some(value),
                false => trailers.push((name, value)),
            }
        }
        if let Some(signer) = &mut self.signer
            && !trailers.is_empty()
        {
            let lines: String = trailers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
            if !signature.is_some_and(|signature| signer.trailers_match(&lines, &signature)) {
                return Err(ChunkError::Mismatch);
            }
        }
        Ok(trailers)
    }

    /// A line without its `\r\n`, once it is whole.
    fn take_line(&mut self, input: &mut Bytes) -> Result<Option<Vec<u8>>, ChunkError> {
        let end = input.iter().position(|byte| *byte == b'\n');
        let take = end.map_or(input.len(), |end| end + 1);
        if self.pending.len() + take > HEAD_BYTES_MAX {
            return Err(ChunkError::Malformed("the head of a chunk is too long"));
        }
        self.pending.extend_from_slice(&input.split_to(take));
        if end.is_none() {
            return Ok(None);
        }
        let line = std::mem::take(&mut self.pending);
        let line = line.strip_suffix(b"\r\n").ok_or(ChunkError::Malformed("a line does not end in CR LF"))?;
        Ok(Some(line.to_vec()))
    }

    fn begin_chunk(&mut self, line: &[u8]) -> Result<(), ChunkError> {
        let line = std::str::from_utf8(line).map_err(|_| ChunkError::Malformed("the head of a chunk is not UTF-8"))?;
        let (size, extension) = line.split_once(';').unwrap_or((line, ""));
        if !size.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ChunkError::Malformed("a chunk's size is not hexadecimal"));
        }
        let size =
            u64::from_str_radix(size, 16).map_err(|_| ChunkError::Malformed("a chunk's size is out of range"))?;
        self.chunk_signature = extension.strip_prefix("chunk-signature=").unwrap_or_default().to_owned();
        if size > 0 {
            self.state = State::Data { left: size };
        } else {
            self.end_chunk()?;
            self.state = State::Trailers;
        }
        Ok(())
    }

    fn end_chunk(&mut self) -> Result<(), ChunkError> {
        let Some(signer) = &mut self.signer else { return Ok(()) };
        let hash = std::mem::take(&mut self.hash).finalize().into();
        match signer.chunk_matches(hash, &self.chunk_signature) {
            true => Ok(()),
            false => Err(ChunkError::Mismatch),
        }
    }
}

/// Frames `chunks` with their signatures, for clients and tests: the counterpart of [`Decoder`].
pub fn encode(chunks: &[&[u8]], trailers: &[(&str, &str)], mut signer: Option<ChunkSigner>) -> Vec<u8> {
    let mut framed = Vec::new();
    for chunk in chunks.iter().filter(|chunk| !chunk.is_empty()).chain([&b"".as_slice()]) {
        framed.extend_from_slice(format!("{:x}", chunk.len()).as_bytes());
        if let Some(signer) = &mut signer {
            let signature = signer.sign_chunk(Sha256::digest(chunk).into());
            framed.extend_from_slice(format!(";chunk-signature={signature}").as_bytes());
        }
        framed.extend_from_slice(b"\r\n");
        if !chunk.is_empty() {
            framed.extend_from_slice(chunk);
            framed.extend_from_slice(b"\r\n");
        }
    }
    for (name, value) in trailers {
        framed.extend_from_slice(format!("{name}:{value}\r\n").as_bytes());
    }
    if let Some(signer) = &mut signer
        && !trailers.is_empty()
    {
        let lines: String = trailers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        framed.extend_from_slice(format!("x-amz-trailer-signature:{}\r\n", signer.sign_trailers(&lines)).as_bytes());
    }
    framed.extend_from_slice(b"\r\n");
    framed
}

#[cfg(test)]
pub(crate) mod tests;
