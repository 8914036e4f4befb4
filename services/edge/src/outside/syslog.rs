//! Traces to syslog, as Go's `log/syslog` writes them, which vulcand uses: a datagram for each.

use super::Warnings;
use crate::limits::{SYSLOG_SOCKET_MAX, SYSLOG_SOCKETS_MAX};
use jiff::Timestamp;
use lifecycle::ErrorChain;
use middleware::{Syslog, SyslogTransport};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::process;
use std::sync::Arc;
use std::time::Instant;
use tokio::net::lookup_host;
use tokio::sync::mpsc;

/// vulcand's.
const TAG: &str = "pid";
/// Where a machine's own syslog listens, as Go looks for it.
const LOCAL_PATHS: [&str; 3] = ["/dev/log", "/var/run/syslog", "/var/run/log"];

enum Socket {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

struct Kept {
    socket: Socket,
    since: Instant,
}

/// Sends what comes until nobody can have anything to send.
pub(super) async fn run(mut records: mpsc::Receiver<(Arc<Syslog>, String)>, warnings: Arc<Warnings>) {
    let hostname = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    let hostname = hostname.unwrap_or_else(|| "localhost".to_owned());
    let mut sockets = HashMap::new();
    while let Some((to, message)) = records.recv().await {
        let datagram = datagram(&to, &hostname, Timestamp::now(), &message);
        if let Err(error) = send(&mut sockets, &to.transport, datagram.as_bytes()).await {
            sockets.remove(&key(&to.transport));
            warnings.warn(&format_args!("a trace is not sent to {:?}: {}", to.transport, ErrorChain(&error)));
        }
    }
}

async fn send(sockets: &mut HashMap<String, Kept>, to: &SyslogTransport, datagram: &[u8]) -> io::Result<()> {
    if sockets.len() >= SYSLOG_SOCKETS_MAX {
        sockets.clear();
    }
    let kept = match sockets.entry(key(to)) {
        Entry::Occupied(kept) if kept.get().since.elapsed() < SYSLOG_SOCKET_MAX => kept.into_mut(),
        entry => {
            let fresh = Kept { socket: Socket::open(to).await?, since: Instant::now() };
            entry.insert_entry(fresh).into_mut()
        }
    };
    kept.socket.send(datagram)
}

fn key(to: &SyslogTransport) -> String {
    match to {
        SyslogTransport::Udp(address) => address.clone(),
        SyslogTransport::Unix(path) => path.clone(),
        SyslogTransport::Local => String::new(),
    }
}

impl Socket {
    async fn open(to: &SyslogTransport) -> io::Result<Self> {
        match to {
            SyslogTransport::Udp(address) => {
                let address = lookup_host(address).await?.next().ok_or(io::ErrorKind::NotFound)?;
                let any: SocketAddr = if address.is_ipv4() {
                    (Ipv4Addr::UNSPECIFIED, 0).into()
                } else {
                    (Ipv6Addr::UNSPECIFIED, 0).into()
                };
                let socket = UdpSocket::bind(any)?;
                socket.connect(address)?;
                socket.set_nonblocking(true)?;
                Ok(Self::Udp(socket))
            }
            SyslogTransport::Unix(path) => Self::unix(path),
            SyslogTransport::Local => {
                let found = LOCAL_PATHS.iter().find_map(|path| Self::unix(path).ok());
                found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "this machine has no syslog"))
            }
        }
    }

    fn unix(path: &str) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        socket.set_nonblocking(true)?;
        Ok(Self::Unix(socket))
    }

    /// What the receiver does not take at once is lost, as datagrams are.
    fn send(&self, datagram: &[u8]) -> io::Result<()> {
        match self {
            Self::Udp(socket) => socket.send(datagram),
            Self::Unix(socket) => socket.send(datagram),
        }
        .map(drop)
    }
}

/// To this machine without its name, and with the time as RFC 3164 has it.
fn datagram(to: &Syslog, hostname: &str, now: Timestamp, message: &str) -> String {
    let (priority, id) = (to.priority, process::id());
    let sender = match to.transport {
        SyslogTransport::Local => now.strftime("%b %e %H:%M:%S").to_string(),
        SyslogTransport::Udp(_) | SyslogTransport::Unix(_) => {
            format!("{} {hostname}", now.strftime("%Y-%m-%dT%H:%M:%SZ"))
        }
    };
    format!("<{priority}>{sender} {TAG}[{id}]: {message}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_are_as_go_writes_them() {
        let now = "2026-01-02T03:04:05Z".parse().unwrap();
        let text = |transport| datagram(&Syslog { transport, priority: 135 }, "host", now, "@cee: {}");
        let id = process::id();
        let udp = text(SyslogTransport::Udp("a:1".into()));
        assert_eq!(udp, format!("<135>2026-01-02T03:04:05Z host pid[{id}]: @cee: {{}}\n"));
        assert_eq!(text(SyslogTransport::Local), format!("<135>Jan  2 03:04:05 pid[{id}]: @cee: {{}}\n"));
    }
}
