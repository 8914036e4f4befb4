//! IPv4: a raw socket that hears protocol 112, and one that only speaks and writes its own IP header, so that the source is
//! the address we say, whatever else is on the interface (the floating address, too).

use crate::link::Link;
use nix::libc;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockAddr, Socket, Type};
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, BorrowedFd};
use vrrp::packet::{Datagram, GROUP_V4, IP_PROTOCOL, TRAFFIC_CLASS, TTL};

const HEADER_BYTES: usize = 20;

#[derive(Debug)]
pub(super) struct Sockets {
    ears: Socket,
    mouth: Socket,
    own: Ipv4Addr,
}

impl Sockets {
    pub fn open(link: &Link, own: Ipv4Addr, group: bool) -> io::Result<Self> {
        let ears = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(i32::from(IP_PROTOCOL))))?;
        ears.bind_device(Some(link.name.as_bytes()))?;
        ears.set_nonblocking(true)?;
        // Only groups that this socket joined, not those of everyone on the machine.
        ears.set_multicast_all_v4(false)?;
        if group {
            ears.join_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Index(link.index))?;
        }
        // IPPROTO_RAW only sends; its header is ours.
        let mouth = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW)))?;
        mouth.bind_device(Some(link.name.as_bytes()))?;
        mouth.set_header_included_v4(true)?;
        mouth.set_multicast_loop_v4(false)?;
        mouth.set_nonblocking(true)?;
        Ok(Self { ears, mouth, own })
    }

    pub fn send(&self, bytes: &[u8], to: Ipv4Addr) -> io::Result<()> {
        let mut packet = header(self.own, to, bytes.len()).to_vec();
        packet.extend(bytes);
        self.mouth.send_to(&packet, &SockAddr::from(SocketAddrV4::new(to, 0)))?;
        Ok(())
    }

    /// A raw socket hears the IP header, too.
    pub fn receive<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Option<Datagram<'a>>> {
        let read = (&self.ears).read(buffer)?;
        Ok(Datagram::from_ipv4(&buffer[..read]).ok())
    }
}

impl AsFd for Sockets {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ears.as_fd()
    }
}

/// The kernel fills in the checksum and the identification (raw(7)).
fn header(from: Ipv4Addr, to: Ipv4Addr, body_bytes: usize) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[0] = 0x45;
    header[1] = TRAFFIC_CLASS;
    header[2..4].copy_from_slice(&((HEADER_BYTES + body_bytes) as u16).to_be_bytes());
    header[8] = TTL;
    header[9] = IP_PROTOCOL;
    header[12..16].copy_from_slice(&from.octets());
    header[16..20].copy_from_slice(&to.octets());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spoken_is_heard() {
        let own = Ipv4Addr::new(10, 99, 0, 11);
        let mut packet = header(own, GROUP_V4, 12).to_vec();
        packet.extend(b"hello, world");
        packet.extend(b"Ethernet's padding");
        let heard = Datagram::from_ipv4(&packet).unwrap();
        assert_eq!((heard.source, heard.destination), (own.into(), GROUP_V4.into()));
        assert_eq!((heard.ttl, heard.payload), (255, &b"hello, world"[..]));
    }
}
