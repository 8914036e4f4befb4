//! A thread's read buffer. Whoever reads does so into it, and is done with its bytes before anybody else runs.

use crate::limits::SCRATCH_BYTES;
use nix::sys::socket::{MsgFlags, recv};
use std::io;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;

#[derive(Debug)]
pub(super) struct Scratch(Box<[u8]>);

impl Scratch {
    pub fn new() -> Self {
        Self(vec![0; SCRATCH_BYTES].into_boxed_slice())
    }

    /// Reads; 0 at the end.
    pub fn poll_read(&mut self, stream: &mut TcpStream, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(&mut self.0);
        ready!(Pin::new(stream).poll_read(context, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// What is there to be read from a connection of which the runtime has not heard yet.
    pub fn read_early(&mut self, stream: &TcpStream) -> Option<usize> {
        recv(stream.as_raw_fd(), &mut self.0, MsgFlags::MSG_DONTWAIT).ok().filter(|count| *count > 0)
    }

    pub fn bytes(&self, length: usize) -> &[u8] {
        &self.0[..length]
    }
}
