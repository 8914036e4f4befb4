//! The kernel's addresses and links over netlink, synchronously: four requests and the notifications.
//!
//! Rejected: the `rtnetlink` crate, which needs a runtime on the thread and brings forty times the code for these
//! messages.

mod message;

pub(crate) use message::{Placed, Said, Terms, parse};

use nix::libc;
use nix::sys::socket::{NetlinkAddr, bind};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

/// How long the kernel may take to answer: it answers at once, unless something holds its lock of all links.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// More than the kernel puts into one datagram of a dump (NLMSG_GOODSIZE, at most 32 KiB).
const DATAGRAM_BYTES_MAX: usize = 32 << 10;
/// The groups whose notifications are wanted (linux/rtnetlink.h).
const GROUPS: i32 = libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR;

/// What became of an addition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Added {
    /// It is ours: new, or left by a process of ours that was killed (it had a lifetime).
    Ours,
    /// Somebody configured it without a lifetime: theirs, and left alone.
    Theirs,
}

/// Asks; one request at a time.
pub(crate) struct Netlink {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    pub fn open() -> io::Result<Self> {
        let socket = open()?;
        socket.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        Ok(Self { socket, sequence: 0, buffer: vec![0; DATAGRAM_BYTES_MAX] })
    }

    /// Adds an address that the kernel drops by itself, unless it is refreshed.
    pub fn add(&mut self, placed: Placed, terms: Terms) -> io::Result<Added> {
        let sequence = self.next();
        match self.ask(&message::add(placed, terms, sequence), sequence) {
            Ok(()) => Ok(Added::Ours),
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
                if self.is_permanent(placed)? {
                    return Ok(Added::Theirs);
                }
                self.refresh(placed, terms)?;
                Ok(Added::Ours)
            }
            Err(error) => Err(error),
        }
    }

    pub fn refresh(&mut self, placed: Placed, terms: Terms) -> io::Result<()> {
        let sequence = self.next();
        self.ask(&message::refresh(placed, terms, sequence), sequence)
    }

    /// Removes an address; it is no error when it is gone, with or without its interface.
    pub fn remove(&mut self, placed: Placed) -> io::Result<()> {
        let sequence = self.next();
        match self.ask(&message::remove(placed, sequence), sequence) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::ENODEV)) => Ok(()),
            other => other,
        }
    }

    /// How many packets an interface has received since it exists. What a program of this node sends to itself, or to a
    /// group it is in, is not among them: that comes back above the interface.
    pub fn received(&mut self, interface: u32) -> io::Result<u64> {
        let sequence = self.next();
        self.socket.send(&message::count(interface, sequence))?;
        loop {
            let read = (&self.socket).read(&mut self.buffer)?;
            for said in parse(&self.buffer[..read]) {
                match said {
                    Said::Received { sequence: counted, packets } if counted == sequence => return Ok(packets),
                    Said::Answer { sequence: answered, errno } if answered == sequence && errno != 0 => {
                        return Err(io::Error::from_raw_os_error(errno));
                    }
                    _ => {}
                }
            }
        }
    }

    fn is_permanent(&mut self, wanted: Placed) -> io::Result<bool> {
        let sequence = self.next();
        self.socket.send(&message::dump(wanted.address.is_ipv6(), sequence))?;
        let mut found = false;
        loop {
            let read = (&self.socket).read(&mut self.buffer)?;
            for said in parse(&self.buffer[..read]) {
                match said {
                    Said::Address { placed, permanent } if placed == wanted => found = permanent,
                    Said::Done { sequence: done } if done == sequence => return Ok(found),
                    Said::Answer { sequence: answered, errno } if answered == sequence => {
                        return Err(io::Error::from_raw_os_error(errno));
                    }
                    _ => {}
                }
            }
        }
    }

    fn next(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    fn ask(&mut self, request: &[u8], sequence: u32) -> io::Result<()> {
        self.socket.send(request)?;
        loop {
            let read = (&self.socket).read(&mut self.buffer)?;
            let answers = parse(&self.buffer[..read]);
            // An older number answers a request that was given up.
            let own = answers.into_iter().find_map(|said| match said {
                Said::Answer { sequence: answered, errno } if answered == sequence => Some(errno),
                _ => None,
            });
            match own {
                Some(0) => return Ok(()),
                Some(errno) => return Err(io::Error::from_raw_os_error(errno)),
                None => {}
            }
        }
    }
}

/// Hears what changes.
pub(crate) struct Notifications {
    socket: Socket,
    buffer: Vec<u8>,
}

/// What was heard.
pub(crate) enum Heard {
    Said(Vec<Said>),
    /// The kernel had more to say than fits its queue: something was missed.
    Missed,
    Nothing,
}

impl Notifications {
    pub fn open() -> io::Result<Self> {
        let socket = open()?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUPS as u32))?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, buffer: vec![0; DATAGRAM_BYTES_MAX] })
    }

    pub fn hear(&mut self) -> io::Result<Heard> {
        match (&self.socket).read(&mut self.buffer) {
            Ok(read) => Ok(Heard::Said(parse(&self.buffer[..read]))),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Heard::Nothing),
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Ok(Heard::Missed),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Notifications {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn open() -> io::Result<Socket> {
    Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(Protocol::from(libc::NETLINK_ROUTE)))
}
