//! A thread's read buffer. Whoever reads does so into it, and is done with its bytes before anybody else runs.

use super::line::Line;
use crate::limits::SCRATCH_BYTES;
use std::io;
use std::task::{Context, Poll};

#[derive(Debug)]
pub(super) struct Scratch(Box<[u8]>);

impl Scratch {
    pub fn new() -> Self {
        Self(vec![0; SCRATCH_BYTES].into_boxed_slice())
    }

    /// Reads; 0 at the end.
    pub fn poll_read(&mut self, line: &mut Line, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        line.poll_read(context, &mut self.0)
    }

    /// Reads so much at most.
    pub fn poll_read_at_most(
        &mut self,
        bytes_max: usize,
        line: &mut Line,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let room = self.0.len().min(bytes_max);
        line.poll_read(context, &mut self.0[..room])
    }

    pub fn bytes(&self, length: usize) -> &[u8] {
        &self.0[..length]
    }
}
