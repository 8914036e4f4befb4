//! Connections to servers that wait for their next request: per thread and server, the last used first, so that those
//! beyond what the load needs grow old and are closed.

use super::dial::{Connection, Want};
use super::line::Line;
use crate::limits::{IDLE_CONNECTION_MAX, IDLE_CONNECTION_MAX_FOR_BODY, IDLE_CONNECTIONS_MAX};
use crate::servers::Server;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

#[derive(Debug, Default)]
pub(super) struct Pool {
    /// By the server's slot.
    kept: Vec<Option<Kept>>,
}

/// Of one server. While this knows the server its slot is nobody else's.
#[derive(Debug)]
struct Kept {
    server: Arc<Server>,
    /// How often the server had met silence when the first of these was kept.
    silences: u64,
    idle: Vec<Idle>,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

/// Which kept connections a request may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reuse {
    /// It can be sent again if the connection turns out to be dead.
    Any,
    /// It cannot: only one that was in use a moment ago.
    Recent,
}

impl Pool {
    /// A connection that is not known to be dead.
    pub fn take(&mut self, server: &Arc<Server>, want: Want<'_>, reuse: Reuse, now: Instant) -> Option<Connection> {
        let Kept { silences, idle, .. } = self.kept.get_mut(server.slot)?.as_mut()?;
        if *silences != server.silences() {
            *silences = server.silences();
            idle.clear();
        }
        while let Some(position) = idle.iter().rposition(|kept| kept.connection.is_for(want)) {
            let Idle { mut connection, since } = idle.remove(position);
            if now.saturating_duration_since(since) < reuse.idle_max() && reuse.is_live(&mut connection) {
                connection.is_reused = true;
                return Some(connection);
            }
        }
        None
    }

    pub fn put(&mut self, server: &Arc<Server>, connection: Connection, now: Instant) {
        // A stream of HTTP/2 carries one request; its connection is kept elsewhere.
        if !server.is_listed() || matches!(connection.line, Line::Stream(_)) {
            return;
        }
        if self.kept.len() <= server.slot {
            self.kept.resize_with(server.slot + 1, || None);
        }
        let new = || Kept { server: server.clone(), silences: server.silences(), idle: Vec::new() };
        let Kept { idle, .. } = self.kept[server.slot].get_or_insert_with(new);
        if idle.len() < IDLE_CONNECTIONS_MAX {
            idle.push(Idle { connection, since: now });
        }
    }

    /// What was kept before the server closed one is most likely as dead.
    pub fn clear(&mut self, server: &Server) {
        if let Some(Some(kept)) = self.kept.get_mut(server.slot) {
            kept.idle.clear();
        }
    }

    /// Called after the table changed.
    pub fn forget_unlisted(&mut self) {
        for kept in &mut self.kept {
            kept.take_if(|kept| !kept.server.is_listed());
        }
    }

    pub fn expire(&mut self, now: Instant) {
        for kept in self.kept.iter_mut().flatten() {
            let is_old = |idle: &mut Idle| now.saturating_duration_since(idle.since) >= IDLE_CONNECTION_MAX;
            kept.idle.extract_if(.., is_old).for_each(|mut idle| idle.connection.line.close());
        }
    }
}

impl Reuse {
    fn idle_max(self) -> Duration {
        match self {
            Self::Any => IDLE_CONNECTION_MAX,
            Self::Recent => IDLE_CONNECTION_MAX_FOR_BODY,
        }
    }

    /// Whether the server has neither closed nor said anything unasked. What the runtime has heard is enough for a request
    /// that can be repeated, and costs no system call; for others the kernel is asked.
    fn is_live(self, connection: &mut Connection) -> bool {
        let asks_kernel = self == Self::Recent || connection.is_doubted;
        connection.line.is_quiet(asks_kernel)
    }
}

#[cfg(test)]
mod tests {
    use super::super::dial::Patience;
    use super::*;
    use crate::servers::Servers;
    use std::io::Write;
    use std::net::TcpListener;

    /// The runtime has not heard of it, since it has not been asked meanwhile.
    #[tokio::test]
    async fn what_a_server_sends_behind_a_response_without_a_body_is_no_next_response() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let servers = Servers::default();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = servers.get(&routing::ServerUrl::parse(&url).unwrap());
        servers.list(1, [&server], []);
        for is_doubted in [false, true] {
            let connection = Connection::dial_plain(&server.url, Patience::Short, Duration::from_secs(10)).await;
            let mut connection = connection.unwrap_or_else(|failure| panic!("{failure}"));
            connection.is_doubted = is_doubted;
            let (mut accepted, _) = listener.accept().unwrap();
            accepted.write_all(b"body").unwrap();
            let mut pool = Pool::default();
            pool.put(&server, connection, Instant::now());
            let want = Want { upstream: None, patience: Patience::Short, switches: false };
            let taken = pool.take(&server, want, Reuse::Any, Instant::now());
            assert_eq!(taken.is_none(), is_doubted);
        }
    }
}
