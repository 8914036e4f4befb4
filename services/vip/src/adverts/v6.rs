//! IPv6: one raw socket; the kernel keeps the header and tells hop limit and destination beside each packet. The source of
//! each packet is named when it is sent.

use crate::link::Link;
use nix::cmsg_space;
use nix::libc;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, sendmsg, setsockopt, sockopt,
};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use vrrp::packet::{Datagram, GROUP_V6, IP_PROTOCOL, TRAFFIC_CLASS, TTL};

#[derive(Debug)]
pub(super) struct Sockets {
    socket: Socket,
    own: Ipv6Addr,
    interface: u32,
}

impl Sockets {
    pub fn open(link: &Link, own: Ipv6Addr, group: bool) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::from(i32::from(IP_PROTOCOL))))?;
        socket.bind_device(Some(link.name.as_bytes()))?;
        socket.set_nonblocking(true)?;
        socket.set_multicast_hops_v6(TTL.into())?;
        socket.set_unicast_hops_v6(TTL.into())?;
        socket.set_tclass_v6(TRAFFIC_CLASS.into())?;
        socket.set_multicast_loop_v6(false)?;
        socket.set_multicast_if_v6(link.index)?;
        socket.set_recv_hoplimit_v6(true)?;
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        if group {
            socket.join_multicast_v6(&GROUP_V6, link.index)?;
        }
        Ok(Self { socket, own, interface: link.index })
    }

    pub fn send(&self, bytes: &[u8], to: Ipv6Addr) -> io::Result<()> {
        let source = libc::in6_pktinfo {
            ipi6_addr: libc::in6_addr { s6_addr: self.own.octets() },
            ipi6_ifindex: self.interface,
        };
        let to = SockaddrIn6::from(SocketAddrV6::new(to, 0, 0, self.interface));
        let (content, control) = ([IoSlice::new(bytes)], [ControlMessage::Ipv6PacketInfo(&source)]);
        sendmsg(self.socket.as_raw_fd(), &content, &control, MsgFlags::MSG_DONTWAIT, Some(&to))?;
        Ok(())
    }

    pub fn receive<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Option<Datagram<'a>>> {
        let mut control = cmsg_space!(libc::in6_pktinfo, libc::c_int);
        let (mut destination, mut ttl) = (None, 0);
        let (source, read) = {
            let mut content = [IoSliceMut::new(buffer)];
            let flags = MsgFlags::MSG_DONTWAIT;
            let message = recvmsg::<SockaddrIn6>(self.socket.as_raw_fd(), &mut content, Some(&mut control), flags)?;
            for told in message.cmsgs()? {
                match told {
                    ControlMessageOwned::Ipv6PacketInfo(info) => {
                        destination = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr));
                    }
                    ControlMessageOwned::Ipv6HopLimit(limit) => ttl = u8::try_from(limit).unwrap_or(0),
                    _ => {}
                }
            }
            (message.address.map(|address| address.ip()), message.bytes)
        };
        let (Some(source), Some(destination)) = (source, destination) else { return Ok(None) };
        let payload = buffer.get(..read).unwrap_or_default();
        Ok(Some(Datagram { source: source.into(), destination: destination.into(), ttl, payload }))
    }
}

impl AsFd for Sockets {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
