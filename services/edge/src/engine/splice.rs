//! Large plain bodies go from socket to socket through a pipe (splice(2)): their bytes are never copied to this process and
//! back. A pipe belongs to a body only while that is on its way; between bodies a thread keeps some.

use crate::limits::{PIPE_BYTES, SPARE_PIPES_MAX, SPLICE_BYTES_MIN};
use http1::Body;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::unistd::pipe2;
use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::task::{Context, Poll, ready};
use tokio::io::Interest;
use tokio::net::TcpStream;

#[derive(Debug)]
pub(super) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    filled: usize,
}

/// Empty pipes of a thread.
#[derive(Debug, Default)]
pub(super) struct Pipes(Vec<Pipe>);

impl Pipes {
    /// `None`: there are too many open files; the body is copied instead.
    pub fn take(&mut self) -> Option<Pipe> {
        self.0.pop().or_else(|| Pipe::new().ok())
    }

    pub fn give_back(&mut self, pipe: Pipe) {
        if pipe.filled == 0 && self.0.len() < SPARE_PIPES_MAX {
            self.0.push(pipe);
        }
    }
}

impl Pipe {
    fn new() -> nix::Result<Self> {
        let (read, write) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        // Where that is refused, because the user has many pipes, a smaller one works as well.
        let _smaller = fcntl(&write, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES));
        Ok(Self { read, write, filled: 0 })
    }

    /// Bytes in it.
    pub fn filled(&self) -> usize {
        self.filled
    }

    /// Moves at most `bytes_max` bytes into the pipe, which is empty: how many; 0 at the end.
    pub fn poll_fill(
        &mut self,
        context: &mut Context<'_>,
        from: &TcpStream,
        bytes_max: u64,
    ) -> Poll<io::Result<usize>> {
        let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX).min(PIPE_BYTES as usize);
        self.filled = ready!(poll_move(context, from, Interest::READABLE, || shift(from, &self.write, bytes_max)))?;
        Poll::Ready(Ok(self.filled))
    }

    /// Ready when the pipe is empty.
    pub fn poll_drain(&mut self, context: &mut Context<'_>, to: &TcpStream) -> Poll<io::Result<()>> {
        while self.filled > 0 {
            let shifted = || shift(&self.read, to, self.filled);
            self.filled -= ready!(poll_move(context, to, Interest::WRITABLE, shifted))?;
        }
        Poll::Ready(Ok(()))
    }
}

/// For a body that is worth it: its pipe, and how many bytes are to come.
pub(super) fn pipe_to_fill<'p>(
    pipe: &'p mut Option<Pipe>,
    body: &Body,
    pipes: &RefCell<Pipes>,
) -> Option<(&'p mut Pipe, u64)> {
    let left = body.remaining_length()?;
    if pipe.is_none() && left >= SPLICE_BYTES_MIN {
        *pipe = pipes.borrow_mut().take();
    }
    pipe.as_mut().map(|pipe| (pipe, left))
}

fn poll_move(
    context: &mut Context<'_>,
    socket: &TcpStream,
    interest: Interest,
    shift: impl Fn() -> io::Result<usize>,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(if interest.is_readable() {
            socket.poll_read_ready(context)
        } else {
            socket.poll_write_ready(context)
        })?;
        match socket.try_io(interest, &shift) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            shifted => return Poll::Ready(shifted),
        }
    }
}

fn shift(from: &impl AsFd, to: &impl AsFd, bytes_max: usize) -> io::Result<usize> {
    let flags = SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK;
    Ok(splice(from, None, to, None, bytes_max, flags)?)
}
