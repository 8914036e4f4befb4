//! Frames on their way to the socket.

use crate::frame::{Head, kind};
use crate::reason::Reason;

#[derive(Debug, Default)]
pub(crate) struct Out {
    bytes: Vec<u8>,
    /// What went before.
    from: usize,
}

impl Out {
    pub fn unsent(&self) -> &[u8] {
        &self.bytes[self.from..]
    }

    /// So much of it went.
    pub fn sent(&mut self, count: usize) {
        self.from += count;
        if self.from == self.bytes.len() {
            self.bytes.clear();
            self.from = 0;
        } else if self.from > self.bytes.len() / 2 {
            // What is left moves once for each time that as much was sent.
            self.bytes.drain(..self.from);
            self.from = 0;
        }
    }

    /// A buffer to write to, if there is none.
    pub fn lend(&mut self, buffer: impl FnOnce() -> Vec<u8>) {
        if self.bytes.capacity() == 0 {
            self.bytes = buffer();
        }
    }

    /// The buffer, if it holds nothing.
    pub fn take_back(&mut self) -> Option<Vec<u8>> {
        (self.bytes.is_empty() && self.bytes.capacity() > 0).then(|| std::mem::take(&mut self.bytes))
    }

    pub fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let head = Head { bytes: payload.len(), kind, flags, stream };
        self.bytes.extend_from_slice(&head.written());
        self.bytes.extend_from_slice(payload);
    }

    /// A frame whose payload is written in place; `None`: it is not sent. One that is longer than `payload_bytes_max` goes on in
    /// frames of kind CONTINUATION, with the flag that says where it ends.
    pub fn block<T, E>(
        &mut self,
        payload_bytes_max: usize,
        mut head: Head,
        ends: u8,
        write: impl FnOnce(&mut Vec<u8>) -> Result<Option<(T, u8)>, E>,
    ) -> Result<Option<T>, E> {
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(&head.written());
        let from = self.bytes.len();
        let (told, flags) = match write(&mut self.bytes) {
            Ok(Some(written)) => written,
            other => {
                self.bytes.truncate(begin);
                return other.map(|_| None);
            }
        };
        head.flags |= flags;
        head.bytes = self.bytes.len() - from;
        if head.bytes <= payload_bytes_max {
            head.flags |= ends;
            self.bytes[begin..from].copy_from_slice(&head.written());
            return Ok(Some(told));
        }
        let block = self.bytes.split_off(from);
        self.bytes.truncate(begin);
        let last = block.len().div_ceil(payload_bytes_max) - 1;
        for (at, part) in block.chunks(payload_bytes_max).enumerate() {
            let kind = if at == 0 { head.kind } else { kind::CONTINUATION };
            let flags = if at == 0 { head.flags } else { 0 } | if at == last { ends } else { 0 };
            self.frame(kind, flags, head.stream, part);
        }
        Ok(Some(told))
    }

    pub fn reset(&mut self, stream: u32, reason: Reason) {
        self.frame(kind::RST_STREAM, 0, stream, &(reason as u32).to_be_bytes());
    }

    pub fn window_update(&mut self, stream: u32, bytes: usize) {
        self.frame(kind::WINDOW_UPDATE, 0, stream, &(bytes as u32).to_be_bytes());
    }

    pub fn goaway(&mut self, last: u32, reason: Reason) {
        let [a, b, c, d] = last.to_be_bytes();
        let [e, f, g, h] = (reason as u32).to_be_bytes();
        self.frame(kind::GOAWAY, 0, 0, &[a, b, c, d, e, f, g, h]);
    }
}
