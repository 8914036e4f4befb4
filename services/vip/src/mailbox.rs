//! A bounded queue into a thread that waits in `poll`: a letter also wakes it.

use nix::sys::eventfd::{EfdFlags, EventFd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Letters that may wait. The threads read at once; one that does not is given up long before this many.
const LETTERS_MAX: usize = 4096;

pub(crate) struct Mailbox<T> {
    letters: Receiver<T>,
    wake: Arc<EventFd>,
}

pub(crate) struct Sender<T> {
    letters: SyncSender<T>,
    wake: Arc<EventFd>,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { letters: self.letters.clone(), wake: self.wake.clone() }
    }
}

pub(crate) fn mailbox<T>() -> io::Result<(Sender<T>, Mailbox<T>)> {
    let wake = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
    let (sender, letters) = sync_channel(LETTERS_MAX);
    Ok((Sender { letters: sender, wake: wake.clone() }, Mailbox { letters, wake }))
}

impl<T> Sender<T> {
    /// Whether it was taken: not when the thread has ended, or reads no more.
    pub fn send(&self, letter: T) -> bool {
        let taken = self.letters.try_send(letter).is_ok();
        // EAGAIN: the counter is at its end, so the thread is awake.
        let _ = self.wake.write(1);
        taken
    }
}

impl<T> Mailbox<T> {
    /// The next letter. Call until `None` after each wake-up.
    pub fn next(&self) -> Option<T> {
        // EAGAIN: nothing was sent since.
        let _ = self.wake.read();
        self.letters.try_recv().ok()
    }
}

impl<T> AsFd for Mailbox<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}
