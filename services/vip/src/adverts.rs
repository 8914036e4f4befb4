//! Sockets that carry advertisements of one virtual router on one interface, IP protocol 112.

mod v4;
mod v6;

use crate::link::Link;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use vrrp::packet::Datagram;
use vrrp::{Advertisement, Family};

/// More than any advertisement, with IPv4's longest header.
const PACKET_BYTES_MAX: usize = vrrp::packet::ADVERTISEMENT_BYTES_MAX + 60;

/// Where advertisements go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// 224.0.0.18 or ff02::12.
    Group,
    Peers(Vec<IpAddr>),
}

impl Audience {
    pub fn of(peers: &[IpAddr]) -> Self {
        if peers.is_empty() { Self::Group } else { Self::Peers(peers.to_vec()) }
    }
}

/// One packet that came in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Advertisement {
        from: IpAddr,
        packet: Advertisement,
    },
    /// Not to be acted on, and why.
    Refused {
        from: IpAddr,
        why: String,
    },
    /// Of no concern here: our own, or not for us.
    Other,
    Nothing,
}

/// The open sockets of one virtual router.
#[derive(Debug)]
pub(crate) struct Adverts {
    sockets: Sockets,
    pub own: IpAddr,
    audience: Audience,
}

#[derive(Debug)]
enum Sockets {
    V4(v4::Sockets),
    V6(v6::Sockets),
}

impl Adverts {
    pub fn open(link: &Link, own: IpAddr, audience: Audience) -> io::Result<Self> {
        let group = audience == Audience::Group;
        let sockets = match own {
            IpAddr::V4(own) => Sockets::V4(v4::Sockets::open(link, own, group)?),
            IpAddr::V6(own) => Sockets::V6(v6::Sockets::open(link, own, group)?),
        };
        Ok(Self { sockets, own, audience })
    }

    /// Where advertisements are sent, one by one: a checksum may cover the destination.
    pub fn destinations(&self) -> Vec<IpAddr> {
        match &self.audience {
            Audience::Group => vec![Family::of(self.own).group()],
            Audience::Peers(peers) => peers.clone(),
        }
    }

    /// Never waits.
    pub fn send(&self, bytes: &[u8], to: IpAddr) -> io::Result<()> {
        match (&self.sockets, to) {
            (Sockets::V4(sockets), IpAddr::V4(to)) => sockets.send(bytes, to),
            (Sockets::V6(sockets), IpAddr::V6(to)) => sockets.send(bytes, to),
            _ => Err(io::Error::from(io::ErrorKind::InvalidInput)),
        }
    }

    /// Never waits.
    pub fn receive(&self) -> io::Result<Received> {
        let mut buffer = [0; PACKET_BYTES_MAX];
        let received = match &self.sockets {
            Sockets::V4(sockets) => sockets.receive(&mut buffer),
            Sockets::V6(sockets) => sockets.receive(&mut buffer),
        };
        match received {
            Ok(Some(datagram)) => Ok(judge(&self.audience, self.own, &datagram)),
            Ok(None) => Ok(Received::Other),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Received::Nothing),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Adverts {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.sockets {
            Sockets::V4(sockets) => sockets.as_fd(),
            Sockets::V6(sockets) => sockets.as_fd(),
        }
    }
}

/// For us is what was sent to the group, or by a listed peer where multicast is not used.
fn judge(audience: &Audience, own: IpAddr, datagram: &Datagram<'_>) -> Received {
    let from = datagram.source;
    if from == own {
        return Received::Other;
    }
    match audience {
        Audience::Group if datagram.destination != Family::of(own).group() => return Received::Other,
        Audience::Peers(peers) if !peers.contains(&from) => {
            return Received::Refused { from, why: "the sender is no listed peer".to_owned() };
        }
        _ => {}
    }
    match vrrp::packet::decode(datagram) {
        Ok(packet) => Received::Advertisement { from, packet },
        Err(error) => Received::Refused { from, why: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use vrrp::{Checksum, Version};

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn only_what_was_sent_here_by_a_neighbour_is_taken() {
        let advertisement = Advertisement {
            version: Version::V3,
            vrid: 51,
            priority: 100,
            interval: Duration::from_millis(100),
            addresses: vec![ip("10.0.0.100")],
            auth: None,
        };
        let heard = |audience: &Audience, from, to, ttl| {
            let payload = vrrp::packet::encode(&advertisement, ip(from), ip(to), Checksum::default()).unwrap();
            let datagram = Datagram { source: ip(from), destination: ip(to), ttl, payload: &payload };
            judge(audience, ip("10.0.0.1"), &datagram)
        };
        let taken = |received| matches!(received, Received::Advertisement { .. });
        let refused = |received| matches!(received, Received::Refused { .. });
        assert!(taken(heard(&Audience::Group, "10.0.0.2", "224.0.0.18", 255)));
        assert!(refused(heard(&Audience::Group, "10.0.0.2", "224.0.0.18", 254)));
        assert_eq!(heard(&Audience::Group, "10.0.0.2", "10.0.0.1", 255), Received::Other);
        assert_eq!(heard(&Audience::Group, "10.0.0.1", "224.0.0.18", 255), Received::Other);
        let peers = Audience::of(&[ip("10.0.0.2")]);
        assert!(taken(heard(&peers, "10.0.0.2", "10.0.0.1", 255)));
        assert!(refused(heard(&peers, "10.0.0.3", "10.0.0.1", 255)));
        assert!(refused(heard(&peers, "10.0.0.2", "10.0.0.1", 64)));
    }
}
