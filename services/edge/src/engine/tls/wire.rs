//! A thread's buffers for sealed bytes. Whoever uses one is done with it before anybody else runs.

use crate::limits::SCRATCH_BYTES;
use nix::sys::socket::{MsgFlags, recv};
use std::cell::RefCell;
use std::io;
use std::os::fd::AsRawFd;
use tokio::net::TcpStream;

/// Of a record, its head and what sealing adds (RFC 5246 §6.2.3).
pub(super) const RECORD_BYTES_MAX: usize = 16 * 1024 + 2048 + 5;
/// Bytes that are sealed and written at once.
pub(super) const SEALED_AT_ONCE_BYTES_MAX: usize = 64 * 1024;
/// Sealed bytes that wait while more are sealed behind them; beyond that the socket has to take some first.
pub(super) const PENDING_BYTES_MAX: usize = 16 * 1024;
/// Both of them, sealed, and what a session says of itself.
const OUT_BYTES: usize = PENDING_BYTES_MAX + SEALED_AT_ONCE_BYTES_MAX + 16 * 1024;
/// rustls refuses what is larger in the handshake (its `MAX_HANDSHAKE_SIZE`), however many records that comes in.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

const _: () = assert!(SCRATCH_BYTES > MESSAGE_BYTES_MAX + 2 * RECORD_BYTES_MAX, "behind what is kept there is room");

thread_local! {
    /// What came, and is opened where it lies.
    pub(super) static WIRE: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_BYTES].into_boxed_slice());
    /// What goes.
    pub(super) static OUT: RefCell<Box<[u8]>> = RefCell::new(vec![0; OUT_BYTES].into_boxed_slice());
}

/// Asks the kernel, whatever the runtime has heard.
pub(super) fn receive(stream: &TcpStream, room: &mut [u8]) -> io::Result<usize> {
    Ok(recv(stream.as_raw_fd(), room, MsgFlags::MSG_DONTWAIT)?)
}
