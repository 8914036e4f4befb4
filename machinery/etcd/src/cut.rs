//! Ends the connections that other machines have to this member, when the list of revoked certificates is another one.
//!
//! etcd looks at the list in a handshake and never again: who is in stays in. So the kernel is asked to destroy every open
//! connection to the client port (sock_diag(7), `SOCK_DESTROY`; root, and a kernel with `CONFIG_INET_DIAG_DESTROY`, as
//! Debian's is). Whoever still may is back within a moment; whoever is on the list is not. Those of this machine stay.

use socket2::{Domain, Protocol, Socket, Type};
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Whether the list is another one is looked at this often: one `stat` call.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// The kernel answers at once.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// The kernel's datagrams in a dump are at most this large (`NLMSG_GOODSIZE` and a margin).
const DATAGRAM_BYTES_MAX: usize = 64 * 1024;

// linux/netlink.h and linux/sock_diag.h
const NETLINK_SOCK_DIAG: i32 = 4;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_DUMP: u16 = 0x300;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SOCK_DESTROY: u16 = 21;
const HEADER_BYTES: usize = 16;

// linux/inet_diag.h: `inet_diag_sockid` is ports (2 and 2), addresses (16 and 16), interface (4), cookie (8).
const ID_BYTES: usize = 48;
const TCP: u8 = 6;
const ESTABLISHED: u32 = 1 << 1;
const FAMILIES: [i32; 2] = [nix::libc::AF_INET, nix::libc::AF_INET6];

/// A connection, as the kernel names it.
#[derive(Clone, Copy, Debug)]
struct Connection {
    family: u8,
    id: [u8; ID_BYTES],
}

/// For as long as the member runs.
pub async fn watch(list: PathBuf, ports: BTreeSet<u16>) -> Infallible {
    let mut known = stamp(&list);
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        let now = stamp(&list);
        // Before the cut: whoever comes in after it was met with this list or a later one.
        if now == known || now.is_none() {
            continue;
        }
        known = now;
        let ports = ports.clone();
        match tokio::task::spawn_blocking(move || cut(&ports)).await {
            Ok(Ok(count)) => {
                tracing::info!(count, "another list of revoked certificates: others' connections begin anew")
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "connections of a machine that was removed stay open until it ends them")
            }
            Err(error) => tracing::warn!(%error, "others' connections could not be ended"),
        }
    }
}

/// Changes when the file is replaced.
fn stamp(path: &Path) -> Option<(u64, i64, i64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.ino(), metadata.mtime(), metadata.mtime_nsec()))
}

/// Ends what others have open to these ports of this machine; how many there were.
fn cut(ports: &BTreeSet<u16>) -> io::Result<usize> {
    let socket =
        Socket::new(Domain::from(nix::libc::AF_NETLINK), Type::DGRAM, Some(Protocol::from(NETLINK_SOCK_DIAG)))?;
    socket.set_read_timeout(Some(ANSWER_MAX))?;
    let mut count = 0;
    for family in FAMILIES {
        let every = Connection { family: family as u8, id: [0; ID_BYTES] };
        socket.send(&request(SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, every))?;
        let found = dumped(&socket)?;
        for connection in found.into_iter().filter(|one| ports.contains(&one.port()) && !one.is_own()) {
            socket.send(&request(SOCK_DESTROY, NLM_F_REQUEST | NLM_F_ACK, connection))?;
            count += usize::from(acknowledged(&socket)?);
        }
    }
    Ok(count)
}

impl Connection {
    fn port(&self) -> u16 {
        u16::from_be_bytes([self.id[0], self.id[1]])
    }

    /// From this machine to itself.
    fn is_own(&self) -> bool {
        self.id[4..20] == self.id[20..36]
    }
}

/// A header and an `inet_diag_req_v2`.
fn request(kind: u16, flags: u16, connection: Connection) -> Vec<u8> {
    let mut request = Vec::new();
    let length = HEADER_BYTES + 8 + ID_BYTES;
    request.extend((length as u32).to_ne_bytes());
    request.extend(kind.to_ne_bytes());
    request.extend(flags.to_ne_bytes());
    // Sequence and sender: one question at a time, and the kernel knows who asks.
    request.extend([0; 8]);
    request.extend([connection.family, TCP, 0, 0]);
    request.extend(ESTABLISHED.to_ne_bytes());
    request.extend(connection.id);
    request
}

fn dumped(socket: &Socket) -> io::Result<Vec<Connection>> {
    let (mut connections, mut datagram) = (Vec::new(), vec![0; DATAGRAM_BYTES_MAX]);
    loop {
        let length = (&*socket).read(&mut datagram)?;
        for (kind, payload) in messages(&datagram[..length]) {
            match kind {
                NLMSG_DONE => return Ok(connections),
                NLMSG_ERROR => refused(payload).map(|_| ())?,
                // An `inet_diag_msg`: four bytes, the first of them the family, and the id.
                _ => connections.extend(
                    payload
                        .get(4..4 + ID_BYTES)
                        .and_then(|id| Some(Connection { family: *payload.first()?, id: id.try_into().ok()? })),
                ),
            }
        }
    }
}

/// Whether there still was something to end.
fn acknowledged(socket: &Socket) -> io::Result<bool> {
    let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
    let length = (&*socket).read(&mut datagram)?;
    let answer = messages(&datagram[..length]).into_iter().find(|(kind, _)| *kind == NLMSG_ERROR);
    match answer.map(|(_, payload)| refused(payload)) {
        Some(Err(error)) if error.raw_os_error() == Some(nix::libc::ENOENT) => Ok(false),
        Some(Err(error)) => Err(error),
        _ => Ok(true),
    }
}

/// The payload of an error begins with its negative number; 0 is none.
fn refused(payload: &[u8]) -> io::Result<()> {
    let number = payload.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
    if number == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(number.saturating_neg())) }
}

/// The kind and the payload of each message in a datagram.
fn messages(mut datagram: &[u8]) -> Vec<(u16, &[u8])> {
    let mut messages = Vec::new();
    while let (Some(length), Some(kind)) = (datagram.first_chunk::<4>(), datagram.get(4..6)) {
        let length = u32::from_ne_bytes(*length) as usize;
        let Some(payload) = datagram.get(HEADER_BYTES..length) else { break };
        messages.push((u16::from_ne_bytes([kind[0], kind[1]]), payload));
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_datagram_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for (_, payload) in messages(&bytes) {
                let _number = refused(payload);
            }
        }
    }

    #[test]
    fn messages_are_read_one_after_the_other_and_a_torn_one_ends_them() {
        let every = Connection { family: 2, id: [7; ID_BYTES] };
        let one = request(SOCK_DESTROY, NLM_F_REQUEST, every);
        let two = [one.clone(), one.clone(), one[..20].to_vec()].concat();
        let read = messages(&two);
        assert_eq!(read.len(), 2);
        assert!(read.iter().all(|(kind, payload)| *kind == SOCK_DESTROY && payload[8..] == [7; ID_BYTES]));
    }
}
