//! Telling the neighbours that an address moved: whole Ethernet frames on a packet socket, which needs no address of the
//! interface to be usable.

use crate::link::Link;
use nix::sys::socket::{MsgFlags, sendto};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use vrrp::announce::{gratuitous_arp, neighbor_advertisement};

/// Sends announcements; receives nothing.
pub(crate) struct Announcer(Socket);

impl Announcer {
    pub fn open() -> io::Result<Self> {
        // Protocol 0: the kernel delivers no packet to this socket.
        Ok(Self(Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?))
    }

    pub fn announce(&self, link: &Link, address: IpAddr) -> io::Result<()> {
        match address {
            IpAddr::V4(address) => self.send(link, &gratuitous_arp(link.mac, address)),
            // Whoever holds a floating address is a host to its neighbours, no router (keepalived says the same).
            IpAddr::V6(address) => self.send(link, &neighbor_advertisement(link.mac, address, false)),
        }
    }

    fn send(&self, link: &Link, frame: &[u8]) -> io::Result<()> {
        sendto(self.0.as_raw_fd(), frame, &link.link_address, MsgFlags::MSG_DONTWAIT)?;
        Ok(())
    }
}
