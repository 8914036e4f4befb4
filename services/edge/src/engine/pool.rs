//! Connections to servers that wait for their next request: per thread and server, the last used first, so that those
//! beyond what the load needs grow old and are closed.

use super::dial::{Connection, Want};
use crate::limits::{IDLE_CONNECTION_MAX, IDLE_CONNECTION_MAX_FOR_BODY, IDLE_CONNECTIONS_MAX};
use crate::servers::Server;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

#[derive(Debug)]
pub(super) struct Pool {
    /// By the server's slot.
    kept: Vec<Option<Kept>>,
    /// Connections of all servers.
    idle_count: usize,
    idle_max: usize,
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
    /// While there are `idle_max`, of whichever servers, what comes back is closed.
    pub fn new(idle_max: usize) -> Self {
        Self { kept: Vec::new(), idle_count: 0, idle_max }
    }

    /// A connection that is not known to be dead.
    pub fn take(&mut self, server: &Arc<Server>, want: Want<'_>, reuse: Reuse, now: Instant) -> Option<Connection> {
        let kept = self.kept.get_mut(server.slot)?.as_mut()?;
        let before = kept.idle.len();
        let taken = kept.take(want, reuse, now);
        self.idle_count -= before - kept.idle.len();
        taken
    }

    pub fn put(&mut self, server: &Arc<Server>, connection: Connection, now: Instant) {
        // A stream of HTTP/2 carries one request; its connection is kept elsewhere.
        if !server.is_listed() || connection.line.is_stream() || self.idle_count >= self.idle_max {
            return;
        }
        if self.kept.len() <= server.slot {
            self.kept.resize_with(server.slot + 1, || None);
        }
        let new = || Kept { server: server.clone(), silences: server.silences(), idle: Vec::new() };
        let Kept { idle, .. } = self.kept[server.slot].get_or_insert_with(new);
        if idle.len() < IDLE_CONNECTIONS_MAX {
            idle.push(Idle { connection, since: now });
            self.idle_count += 1;
        }
    }

    /// What was kept before the server closed one is most likely as dead.
    pub fn clear(&mut self, server: &Server) {
        if let Some(Some(kept)) = self.kept.get_mut(server.slot) {
            self.idle_count -= kept.idle.drain(..).count();
        }
    }

    /// Called after the table changed.
    pub fn forget_unlisted(&mut self) {
        for kept in &mut self.kept {
            kept.take_if(|kept| !kept.server.is_listed());
        }
        self.count();
    }

    pub fn expire(&mut self, now: Instant) {
        for kept in self.kept.iter_mut().flatten() {
            let is_old = |idle: &mut Idle| now.saturating_duration_since(idle.since) >= IDLE_CONNECTION_MAX;
            kept.idle.extract_if(.., is_old).for_each(|mut idle| idle.connection.line.close());
        }
        self.count();
    }

    fn count(&mut self) {
        self.idle_count = self.kept.iter().flatten().map(|kept| kept.idle.len()).sum();
    }
}

impl Kept {
    fn take(&mut self, want: Want<'_>, reuse: Reuse, now: Instant) -> Option<Connection> {
        let Self { server, silences, idle } = self;
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

    const WANT: Want<'_> = Want { upstream: None, patience: Patience::Short, switches: false };

    /// One that listens, and is listed.
    fn server(servers: &Servers) -> (TcpListener, Arc<Server>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = servers.get(&routing::ServerUrl::parse(&url).unwrap());
        servers.list(1, [&server], []);
        (listener, server)
    }

    async fn connect(server: &Server) -> Connection {
        let connection = Connection::dial_plain(&server.url, Patience::Short, Duration::from_secs(10)).await;
        connection.unwrap_or_else(|failure| panic!("{failure}"))
    }

    /// The runtime has not heard of it, since it has not been asked meanwhile.
    #[tokio::test]
    async fn what_a_server_sends_behind_a_response_without_a_body_is_no_next_response() {
        let servers = Servers::default();
        let (listener, server) = server(&servers);
        for is_doubted in [false, true] {
            let mut connection = connect(&server).await;
            connection.is_doubted = is_doubted;
            let (mut accepted, _) = listener.accept().unwrap();
            accepted.write_all(b"body").unwrap();
            let mut pool = Pool::new(1);
            pool.put(&server, connection, Instant::now());
            let taken = pool.take(&server, WANT, Reuse::Any, Instant::now());
            assert_eq!(taken.is_none(), is_doubted);
        }
    }

    #[tokio::test]
    async fn a_thread_keeps_so_many_connections_however_many_servers_they_are_to() {
        let servers = Servers::default();
        let ((_one, one), (_other, other)) = (server(&servers), server(&servers));
        let (mut pool, now) = (Pool::new(2), Instant::now());
        for server in [&one, &other, &other] {
            pool.put(server, connect(server).await, now);
        }
        let taken = pool.take(&other, WANT, Reuse::Any, now).unwrap();
        assert!(pool.take(&other, WANT, Reuse::Any, now).is_none(), "there was no room for the third");
        // Whatever becomes of one, it makes room for the next.
        pool.put(&other, taken, now);
        pool.clear(&one);
        assert_eq!(pool.idle_count, 1);
        pool.put(&one, connect(&one).await, now);
        one.pause_host(Duration::from_secs(1));
        assert!(pool.take(&one, WANT, Reuse::Any, now).is_none(), "it met silence");
        assert_eq!(pool.idle_count, 1);
        pool.expire(now + IDLE_CONNECTION_MAX);
        assert_eq!(pool.idle_count, 0);
        pool.put(&one, connect(&one).await, now);
        pool.put(&other, connect(&other).await, now);
        servers.list(2, [], [&other]);
        pool.forget_unlisted();
        assert_eq!(pool.idle_count, 1);
    }
}
