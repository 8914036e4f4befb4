//! Ends the connections that other machines have to this member, when the list of revoked certificates names more than before.
//!
//! etcd looks at the list in a handshake and never again: who is in stays in. So the kernel is asked to destroy every open
//! connection to the client port (sock_diag(7), `SOCK_DESTROY`; root, and a kernel with `CONFIG_INET_DIAG_DESTROY`, as
//! Debian's is). Whoever still may is back within a moment; whoever is on the list is not. Those of this machine stay.

use identity::RevocationList;
use lifecycle::BoxError;
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

/// A list that nobody who is on it has a connection in spite of.
pub struct Met {
    stamp: Stamp,
    list: RevocationList,
}

/// Changes when the file is replaced.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp(u64, i64, i64);

impl Met {
    /// Before the member is started: whoever comes in is met with this list or a later one. `None`: there is none.
    pub fn read(path: &Path) -> Option<Self> {
        let stamp = Stamp::of(path)?;
        Some(Self { stamp, list: RevocationList::from_der(std::fs::read(path).ok()?).ok()? })
    }

    /// The list there is now, if it is another one.
    fn next(met: Option<&Self>, path: &Path) -> Option<Self> {
        let is_another = Stamp::of(path) != met.map(|met| met.stamp);
        is_another.then(|| Self::read(path)).flatten()
    }
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self(metadata.ino(), metadata.mtime(), metadata.mtime_nsec()))
    }
}

/// For as long as the member runs.
pub async fn watch(list: PathBuf, met: Option<Met>, ports: BTreeSet<u16>) -> Infallible {
    watch_with(list, met, move || cut(&ports)).await
}

/// A list is met when the cut has succeeded, which is tried again until then.
async fn watch_with<C>(path: PathBuf, mut met: Option<Met>, cut: C) -> Infallible
where
    C: Fn() -> io::Result<usize> + Clone + Send + 'static,
{
    let mut is_told = false;
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        // Read before the cut: whoever comes in after it was met with this list or a later one.
        let Some(next) = Met::next(met.as_ref(), &path) else { continue };
        // A list that was only signed anew, or has become shorter, shuts out nobody who is in.
        if next.list.adds_to(met.as_ref().map(|met| &met.list)) {
            match tokio::task::spawn_blocking(cut.clone()).await.map_err(BoxError::from).and_then(|cut| Ok(cut?)) {
                Ok(count) => tracing::info!(count, "more certificates are revoked: others' connections begin anew"),
                Err(error) => {
                    if !std::mem::replace(&mut is_told, true) {
                        tracing::warn!(
                            error = %lifecycle::ErrorChain(&*error),
                            "connections of a machine that was removed may stay open; they are tried again"
                        );
                    }
                    continue;
                }
            }
        }
        is_told = false;
        met = Some(next);
    }
}

/// Ends what others have open to these ports of this machine; how many there were. What one refuses does not keep the rest.
fn cut(ports: &BTreeSet<u16>) -> io::Result<usize> {
    let socket =
        Socket::new(Domain::from(nix::libc::AF_NETLINK), Type::DGRAM, Some(Protocol::from(NETLINK_SOCK_DIAG)))?;
    socket.set_read_timeout(Some(ANSWER_MAX))?;
    let (mut count, mut outcome) = (0, Ok(()));
    for family in FAMILIES {
        match dumped(&socket, family) {
            Ok(found) => {
                for connection in found.into_iter().filter(|one| ports.contains(&one.port()) && !one.is_own()) {
                    match destroyed(&socket, connection) {
                        Ok(was_open) => count += usize::from(was_open),
                        Err(error) => outcome = Err(error),
                    }
                }
            }
            Err(error) => outcome = Err(error),
        }
    }
    outcome.map(|()| count)
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

fn dumped(socket: &Socket, family: i32) -> io::Result<Vec<Connection>> {
    let every = Connection { family: family as u8, id: [0; ID_BYTES] };
    socket.send(&request(SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, every))?;
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
fn destroyed(socket: &Socket, connection: Connection) -> io::Result<bool> {
    socket.send(&request(SOCK_DESTROY, NLM_F_REQUEST | NLM_F_ACK, connection))?;
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
    use identity::{Ca, Issued};
    use proptest::prelude::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::time::{Instant, SystemTime};

    #[tokio::test]
    async fn a_cut_that_failed_is_made_again_and_only_for_a_list_that_names_more() {
        let (ca, directory) = (Ca::create("one").unwrap(), tempfile::tempdir().unwrap());
        let path = directory.path().join("revoked.crl");
        let write = |serials: &[&str], number| {
            let one = |serial: &&str| Issued { serial: (*serial).to_owned(), not_after_s: u64::from(u32::MAX) };
            let revoked: Vec<Issued> = serials.iter().map(one).collect();
            let list = ca.revoke(&revoked, number, SystemTime::now()).unwrap();
            identity::private_file::write(&path, list.der()).unwrap();
        };
        let tries = Arc::new(AtomicUsize::new(0));
        let counted = tries.clone();
        let failing_once = move || match counted.fetch_add(1, Relaxed) {
            0 => Err(io::Error::from_raw_os_error(nix::libc::ENOBUFS)),
            _ => Ok(1),
        };
        let until_tried = async |times: usize| {
            let deadline = Instant::now() + Duration::from_secs(10);
            while tries.load(Relaxed) < times {
                assert!(Instant::now() < deadline, "tried {tries:?} times, not {times}");
                tokio::time::sleep(LOOK_INTERVAL / 10).await;
            }
        };
        write(&["01"], 1);
        let met = Met::read(&path);
        // Between the first look and the first round.
        write(&["01", "02"], 2);
        let watching = tokio::spawn(watch_with(path.clone(), met, failing_once));
        until_tried(2).await;
        write(&["02"], 3);
        tokio::time::sleep(2 * LOOK_INTERVAL).await;
        write(&["02", "03"], 4);
        until_tried(3).await;
        tokio::time::sleep(2 * LOOK_INTERVAL).await;
        assert_eq!(tries.load(Relaxed), 3);
        watching.abort();
    }

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
