//! Listening sockets, one per thread on one address.
//!
//! `SO_REUSEPORT` lets the kernel spread connections over them, and would as silently spread them over two edges that were
//! given the same address. So the first socket is bound and listens without it, which fails while anybody else listens there
//! (of two that were bound at once only one may listen, too), and only then opens the address to its siblings. That is the
//! lock of the address: the next edge's first socket fails in turn, whoever comes first.

use crate::limits::{BACKLOG, CLIENT_KEEP_ALIVE_IDLE, CLIENT_KEEP_ALIVE_INTERVAL};
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};

/// Binds and listens `count` times; the error names the address.
pub(super) fn listen(address: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    listen_all(address, count).map_err(|error| io::Error::new(error.kind(), format!("listen on {address}: {error}")))
}

/// These sockets of one address, and as many more as it takes for `count`. The kernel sends clients to a new one at once, so
/// whoever asks for it serves. What is in the queue of any of them is served, so none is left out.
pub(super) fn at_least(mut sockets: Vec<TcpListener>, count: usize) -> io::Result<Vec<TcpListener>> {
    let Some(first) = sockets.first() else { return Ok(sockets) };
    let address = first.local_addr()?;
    while sockets.len() < count {
        let sibling = self::socket(address)?;
        sibling.set_reuse_port(true)?;
        sibling.bind(&address.into())?;
        sibling.listen(BACKLOG)?;
        sockets.push(sibling.into());
    }
    Ok(sockets)
}

fn listen_all(address: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    let first = socket(address)?;
    first.bind(&address.into())?;
    first.listen(BACKLOG)?;
    first.set_reuse_port(true)?;
    at_least(vec![first.into()], count)
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    // Accepted sockets have these from the listening one (tcp(7) does not say so; Linux does).
    socket.set_tcp_nodelay(true)?;
    let keep_alive = TcpKeepalive::new().with_time(CLIENT_KEEP_ALIVE_IDLE).with_interval(CLIENT_KEEP_ALIVE_INTERVAL);
    socket.set_tcp_keepalive(&keep_alive)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_listened_on_by_several_sockets_of_one_edge_and_of_no_other() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let sockets = listen(any, 3).unwrap();
        let address = sockets[0].local_addr().unwrap();
        assert!(sockets.iter().all(|socket| socket.local_addr().unwrap() == address));
        let error = listen(address, 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().starts_with(&format!("listen on {address}: ")), "{error}");
        let everywhere = SocketAddr::from(([0, 0, 0, 0], address.port()));
        assert_eq!(listen(everywhere, 1).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(sockets);
        listen(address, 2).unwrap();
    }

    /// Each saw nobody listen when it bound.
    #[test]
    fn of_two_that_bind_an_address_at_once_one_listens() {
        let early = socket(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        early.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let address = early.local_addr().unwrap().as_socket().unwrap();
        let late = listen(address, 2).unwrap();
        assert_eq!(early.listen(BACKLOG).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert_eq!(late.len(), 2);
    }

    #[test]
    fn sockets_of_another_process_are_kept_and_joined_by_more() {
        let given = listen(SocketAddr::from(([127, 0, 0, 1], 0)), 3).unwrap();
        let address = given[0].local_addr().unwrap();
        assert_eq!(at_least(given.iter().map(|socket| socket.try_clone().unwrap()).collect(), 2).unwrap().len(), 3);
        let more = at_least(given, 5).unwrap();
        assert!(more.len() == 5 && more.iter().all(|socket| socket.local_addr().unwrap() == address));
        assert_eq!(listen(address, 1).unwrap_err().kind(), io::ErrorKind::AddrInUse, "a stranger is refused still");
    }

    /// A client whose machine vanished says nothing, and a tunnel waits for nothing else.
    #[test]
    fn an_accepted_socket_asks_for_a_sign_of_life() {
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0)), 1).unwrap().remove(0);
        listener.set_nonblocking(false).unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let accepted = Socket::from(listener.accept().unwrap().0);
        assert!(accepted.keepalive().unwrap() && accepted.tcp_nodelay().unwrap());
        assert_eq!(accepted.tcp_keepalive_time().unwrap(), CLIENT_KEEP_ALIVE_IDLE);
        assert_eq!(accepted.tcp_keepalive_interval().unwrap(), CLIENT_KEEP_ALIVE_INTERVAL);
    }
}
