//! A thread's buffers. Whoever reads does so into the one read buffer and is done with its bytes before anybody else runs.

use crate::limits::{SCRATCH_BYTES, SPARE_BUFFERS_MAX};
use nix::sys::socket::{MsgFlags, recv};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::{io, mem};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;

#[derive(Debug)]
pub(super) struct Scratch {
    bytes: Box<[u8]>,
    spare: Vec<Box<[u8]>>,
}

/// A read buffer that was taken along, because what it holds is not enough yet.
#[derive(Debug)]
pub(super) struct Gathered {
    bytes: Box<[u8]>,
    filled: usize,
}

impl Scratch {
    pub fn new() -> Self {
        Self { bytes: buffer(), spare: Vec::new() }
    }

    /// Reads; 0 at the end.
    pub fn poll_read(&mut self, stream: &mut TcpStream, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        read_into(stream, context, &mut self.bytes)
    }

    /// What is there to be read from a connection of which the runtime has not heard yet.
    pub fn read_early(&mut self, stream: &TcpStream) -> Option<usize> {
        recv(stream.as_raw_fd(), &mut self.bytes, MsgFlags::MSG_DONTWAIT).ok().filter(|count| *count > 0)
    }

    pub fn bytes(&self, length: usize) -> &[u8] {
        &self.bytes[..length]
    }

    /// Takes the buffer along with what was read into it.
    pub fn take(&mut self, filled: usize) -> Gathered {
        let next = self.spare.pop().unwrap_or_else(buffer);
        Gathered { bytes: mem::replace(&mut self.bytes, next), filled }
    }

    pub fn give_back(&mut self, gathered: Gathered) {
        if self.spare.len() < SPARE_BUFFERS_MAX {
            self.spare.push(gathered.bytes);
        }
    }
}

impl Gathered {
    /// Reads more; 0 at the end.
    pub fn poll_read(&mut self, stream: &mut TcpStream, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let read = ready!(read_into(stream, context, &mut self.bytes[self.filled..]))?;
        self.filled += read;
        Poll::Ready(Ok(read))
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }

    /// Forgets the first bytes.
    pub fn discard(&mut self, count: usize) {
        self.bytes.copy_within(count..self.filled, 0);
        self.filled -= count;
    }
}

fn read_into(stream: &mut TcpStream, context: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
    let mut buffer = ReadBuf::new(room);
    ready!(Pin::new(stream).poll_read(context, &mut buffer))?;
    Poll::Ready(Ok(buffer.filled().len()))
}

fn buffer() -> Box<[u8]> {
    vec![0; SCRATCH_BYTES].into_boxed_slice()
}
