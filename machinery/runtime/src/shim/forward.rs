//! Forwards a host port into the task's network namespace.
//!
//! Runs inside the namespace: the listener was bound on the host before, so what it accepts lives outside, and what is
//! connected here lives inside. A refused connection inside is answered by a reset outside, at once: a proxy in front must
//! see a failure it can fail over from, not an empty answer.

use crate::PortForward;
use nix::sys::socket::{Backlog, listen};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Connections one task's forwarder carries at once; further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 4096;
/// Bytes buffered per connection and direction.
const BUFFER_BYTES: usize = 16 * 1024;
/// Connections that wait to be accepted; the kernel cuts it to net.core.somaxconn.
const BACKLOG: i32 = 4096;
/// After `accept` fails (usually: too many open files) the listener rests this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
/// Loopback answers at once, unless the task's accept queue is full.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Said when another program holds a host port, whatever the C library calls that. The scheduler looks for these words
/// (`PORT_TAKEN_PHRASES` in its `plan/verdicts.rs`) and tries other ports first.
const PORT_TAKEN: &str = "host port is taken";

/// A port held on the host.
pub(crate) struct Bound {
    listener: std::net::TcpListener,
    container_port: u16,
}

/// Takes the host ports; to be called in the host's network namespace.
pub(crate) fn bind(address: IpAddr, ports: &[PortForward]) -> io::Result<Vec<Bound>> {
    let mut bound = Vec::new();
    for port in ports.iter().filter(|port| port.protocol == "tcp") {
        let at = SocketAddr::new(address, port.host_port);
        let context = |error: io::Error| {
            let taken =
                if error.kind() == io::ErrorKind::AddrInUse { format!("{PORT_TAKEN}: ") } else { String::new() };
            io::Error::new(error.kind(), format!("{taken}listen on {at}: {error}"))
        };
        let listener = std::net::TcpListener::bind(at).map_err(context)?;
        listen(&listener, Backlog::new(BACKLOG).unwrap_or(Backlog::MAXCONN))?;
        listener.set_nonblocking(true)?;
        bound.push(Bound { listener, container_port: port.container_port });
    }
    Ok(bound)
}

/// The connections of one task. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Connections(Arc<Semaphore>);

impl Connections {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(CONNECTIONS_MAX)))
    }

    /// Resolves once no connection is left, given that no more are accepted.
    pub(crate) async fn ended(&self) {
        // The semaphore is never closed: it has given back all slots, or we wait.
        let _all = self.0.acquire_many(CONNECTIONS_MAX as u32).await;
    }
}

/// Forwards until aborted, and even then what was accepted goes on; to be run in the task's network namespace.
pub(crate) async fn run(bound: Bound, connections: Connections) -> io::Result<()> {
    let listener = TcpListener::from_std(bound.listener)?;
    let inside = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), bound.container_port);
    let slots = connections.0;
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { return Ok(()) };
        match listener.accept().await {
            Ok((outer, _)) => {
                tokio::task::spawn_local(async move {
                    carry(outer, inside).await;
                    drop(slot);
                });
            }
            Err(error) => {
                eprintln!("accept on port {}: {error}", bound.container_port);
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn carry(mut outer: TcpStream, inside: SocketAddr) {
    // A socket that refuses an option is already dead; the copy below finds out.
    let _dead = outer.set_nodelay(true);
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(inside)).await;
    let Ok(Ok(mut inner)) = connected else {
        let _dead = outer.set_zero_linger();
        return;
    };
    let _dead = inner.set_nodelay(true);
    // End of file is passed on for each direction by itself; an error is passed on to both sides as a reset.
    if copy_bidirectional_with_sizes(&mut outer, &mut inner, BUFFER_BYTES, BUFFER_BYTES).await.is_err() {
        let _dead = outer.set_zero_linger();
        let _dead = inner.set_zero_linger();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::task::LocalSet;

    async fn forwarder(container_port: u16) -> SocketAddr {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        tokio::task::spawn_local(run(Bound { listener, container_port }, Connections::new()));
        address
    }

    #[tokio::test]
    async fn half_closed_connections_still_carry_the_answer() {
        LocalSet::new()
            .run_until(async {
                let app = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let outside = forwarder(app.local_addr().unwrap().port()).await;
                tokio::task::spawn_local(async move {
                    let (mut stream, _) = app.accept().await.unwrap();
                    let mut request = Vec::new();
                    stream.read_to_end(&mut request).await.unwrap();
                    stream.write_all(&request.repeat(1000)).await.unwrap();
                });
                let mut client = TcpStream::connect(outside).await.unwrap();
                client.write_all(b"hello").await.unwrap();
                client.shutdown().await.unwrap();
                let mut answer = Vec::new();
                client.read_to_end(&mut answer).await.unwrap();
                assert_eq!(answer.len(), 5000);
            })
            .await;
    }

    #[tokio::test]
    async fn a_refusal_inside_is_a_reset_outside() {
        LocalSet::new()
            .run_until(async {
                let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let port = nobody.local_addr().unwrap().port();
                drop(nobody);
                let mut client = TcpStream::connect(forwarder(port).await).await.unwrap();
                let error = client.read(&mut [0; 1]).await.unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
            })
            .await;
    }

    #[test]
    fn a_taken_port_is_named() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let port = PortForward { host_port: address.port(), container_port: 80, protocol: "tcp".to_owned() };
        let error = bind(address.ip(), &[port]).err().unwrap();
        assert!(error.to_string().starts_with(&format!("host port is taken: listen on {address}")), "{error}");
    }
}
