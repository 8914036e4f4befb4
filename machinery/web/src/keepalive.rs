//! How soon TCP notices a machine that vanished without a word (power, cable): silent connections are probed, and what was
//! sent must be acknowledged. Linux alone would wait for two hours, or a quarter of one.

use hyper_util::client::legacy::connect::HttpConnector;
use socket2::{SockRef, TcpKeepalive};
use std::time::Duration;
use tokio::net::TcpStream;

/// A connection that is silent is probed after this time...
const IDLE: Duration = Duration::from_secs(10);
/// ...this often...
const INTERVAL: Duration = Duration::from_secs(3);
/// ...and its peer is gone after so many probes.
const PROBES: u32 = 3;
/// What was sent must be acknowledged within this time (`TCP_USER_TIMEOUT`).
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(20);

/// For a connection that was accepted or made. Small writes do not wait for Nagle's timer either. A socket that refuses an
/// option is already closing.
pub fn watch_over(stream: &TcpStream) {
    let _closing = stream.set_nodelay(true);
    let socket = SockRef::from(stream);
    let probes = TcpKeepalive::new().with_time(IDLE).with_interval(INTERVAL).with_retries(PROBES);
    let _closing = socket.set_tcp_keepalive(&probes);
    let _closing = socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX));
}

/// For the connections a client will make.
pub fn watchful(mut connector: HttpConnector) -> HttpConnector {
    connector.set_nodelay(true);
    connector.set_keepalive(Some(IDLE));
    connector.set_keepalive_interval(Some(INTERVAL));
    connector.set_keepalive_retries(Some(PROBES));
    connector.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX));
    connector
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_watched_connection_is_probed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        watch_over(&stream);
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), IDLE);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(UNACKNOWLEDGED_MAX));
        assert!(stream.nodelay().unwrap());
    }
}
