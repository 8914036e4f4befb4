//! Open files on their way through a Unix socket (`SCM_RIGHTS`, unix(7)).
#![allow(unsafe_code)]

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// Descriptors sent together; the kernel takes 253.
const BATCH_MAX: usize = 64;

/// Each batch goes with one byte: descriptors cannot go alone.
const BYTE: u8 = b'D';

pub(super) async fn send(stream: &UnixStream, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    for batch in descriptors.chunks(BATCH_MAX) {
        let numbers: Vec<RawFd> = batch.iter().map(AsRawFd::as_raw_fd).collect();
        let sent = stream.async_io(Interest::WRITABLE, || {
            let rights = [ControlMessage::ScmRights(&numbers)];
            Ok(sendmsg::<()>(stream.as_raw_fd(), &[IoSlice::new(&[BYTE])], &rights, MsgFlags::MSG_NOSIGNAL, None)?)
        });
        sent.await?;
    }
    Ok(())
}

pub(super) async fn receive(stream: &UnixStream, count: usize) -> io::Result<Vec<OwnedFd>> {
    let mut received = Vec::new();
    while received.len() < count {
        let batch = stream.async_io(Interest::READABLE, || receive_batch(stream)).await?;
        received.extend(batch);
    }
    if received.len() > count {
        return Err(io::Error::new(ErrorKind::InvalidData, "more descriptors than were announced"));
    }
    Ok(received)
}

fn receive_batch(stream: &UnixStream) -> io::Result<Vec<OwnedFd>> {
    let mut byte = [0];
    let mut bytes = [IoSliceMut::new(&mut byte)];
    let mut space = nix::cmsg_space!([RawFd; BATCH_MAX]);
    let message = recvmsg::<()>(stream.as_raw_fd(), &mut bytes, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
    let mut received = Vec::new();
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = part {
            // SAFETY: the kernel has just made these descriptors for this process, and nobody else has their numbers: each
            // is owned here and only here.
            received.extend(numbers.into_iter().map(|number| unsafe { OwnedFd::from_raw_fd(number) }));
        }
    }
    if message.flags.contains(MsgFlags::MSG_CTRUNC) {
        // Those that did come are closed.
        return Err(io::Error::other("too many open files for those that were sent"));
    }
    if received.is_empty() {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(received)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::fd::AsFd;

    #[tokio::test]
    async fn descriptors_arrive_in_their_order_however_many() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let listeners: Vec<TcpListener> =
            (0..BATCH_MAX * 2 + 3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let borrowed: Vec<BorrowedFd<'_>> = listeners.iter().map(AsFd::as_fd).collect();
        let (sent, received) = tokio::join!(send(&ours, &borrowed), receive(&theirs, listeners.len()));
        sent.unwrap();
        for (listener, descriptor) in listeners.iter().zip(received.unwrap()) {
            assert_eq!(TcpListener::from(descriptor).local_addr().unwrap(), listener.local_addr().unwrap());
        }
        drop(ours);
        assert_eq!(receive(&theirs, 1).await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }
}
