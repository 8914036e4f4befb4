//! The endpoints of one store, and which of them is asked first.

use super::ConnectError;
use rustls::ClientConfig;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};

/// Connecting, TLS included. An endpoint whose packets are dropped costs this much once.
const CONNECT_MAX: Duration = Duration::from_millis(500);
/// A connection that is silent under an open call is probed this often (etcd refuses less than 5 s) ...
const PROBE_INTERVAL: Duration = Duration::from_secs(6);
/// ... and is dead when the probe is not answered within this time.
const PROBE_ANSWER_MAX: Duration = Duration::from_secs(4);

pub struct Endpoints {
    all: Vec<Arc<Slot>>,
    /// Index of the endpoint that is asked first.
    current: AtomicUsize,
}

struct Slot {
    url: String,
    endpoint: Endpoint,
    tls: Option<Arc<ClientConfig>>,
    connection: Mutex<Connection>,
}

/// The first, second, ... channel to the endpoint.
#[derive(Clone)]
struct Connection {
    number: u64,
    channel: Channel,
    life: Arc<Life>,
}

/// What is known of a connection by those who use it.
struct Life {
    /// When its member answered last, whomever it was.
    heard_at: Mutex<Instant>,
    /// Watches that were begun over it.
    watches: AtomicU32,
}

/// One endpoint as a call meets it.
#[derive(Clone)]
pub struct Chosen {
    slot: Arc<Slot>,
    connection: Connection,
    index: usize,
}

impl Endpoints {
    pub fn new(urls: &[String], tls: Option<&Arc<ClientConfig>>) -> Result<Self, ConnectError> {
        let all = urls.iter().map(|url| Slot::new(url, tls).map(Arc::new)).collect::<Result<Vec<_>, _>>()?;
        if all.is_empty() {
            return Err(ConnectError::NoEndpoint);
        }
        Ok(Self { all, current: AtomicUsize::new(0) })
    }

    /// The endpoints `urls`, with the connections of the old ones and their favourite, if it is still among them.
    pub fn following(old: &Self, urls: &[String], tls: Option<&Arc<ClientConfig>>) -> Result<Self, ConnectError> {
        let mut new = Self::new(urls, tls)?;
        for slot in &mut new.all {
            if let Some(kept) = old.all.iter().find(|kept| kept.url == slot.url) {
                *slot = Arc::clone(kept);
            }
        }
        let favourite = &old.choose().slot.url;
        new.current = new.all.iter().position(|slot| slot.url == *favourite).unwrap_or(0).into();
        Ok(new)
    }

    /// A channel to an endpoint that need not be one of these.
    pub fn channel_to(&self, url: &str, tls: Option<&Arc<ClientConfig>>) -> Result<Channel, ConnectError> {
        match self.all.iter().find(|slot| slot.url == url) {
            Some(slot) => Ok(slot.connection().channel.clone()),
            None => Ok(Slot::new(url, tls)?.connection().channel.clone()),
        }
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// The endpoint that is asked now.
    pub fn choose(&self) -> Chosen {
        let index = self.current.load(Ordering::Relaxed) % self.all.len();
        let slot = Arc::clone(&self.all[index]);
        let connection = slot.connection().clone();
        Chosen { slot, connection, index }
    }

    /// Asks the next endpoint from now on, unless others have moved on already.
    pub fn move_on(&self, from: &Chosen) {
        let next = (from.index + 1) % self.all.len();
        let _moved = self.current.compare_exchange(from.index, next, Ordering::Relaxed, Ordering::Relaxed);
    }
}

impl Chosen {
    pub fn channel(&self) -> Channel {
        self.connection.channel.clone()
    }

    /// The connection fell silent. The next call makes another: this one might only wake up minutes after the network has
    /// healed, since TCP doubles its pauses.
    pub fn renew(&self) {
        let mut connection = self.slot.connection();
        if connection.number == self.connection.number {
            *connection = Connection::new(connection.number + 1, self.slot.dial());
        }
    }

    /// The member has answered.
    pub fn heard(&self) {
        *self.connection.life.heard_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    pub fn heard_at(&self) -> Instant {
        *self.connection.life.heard_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of another watch over this connection.
    pub fn next_watch(&self) -> u32 {
        self.connection.life.watches.fetch_add(1, Ordering::Relaxed)
    }
}

impl Connection {
    fn new(number: u64, channel: Channel) -> Self {
        let life = Life { heard_at: Mutex::new(Instant::now()), watches: AtomicU32::new(0) };
        Self { number, channel, life: Arc::new(life) }
    }
}

impl Slot {
    fn new(url: &str, tls: Option<&Arc<ClientConfig>>) -> Result<Self, ConnectError> {
        let endpoint = Endpoint::from_shared(url.to_owned());
        let endpoint = endpoint.map_err(|source| ConnectError::Endpoint { endpoint: url.to_owned(), source })?;
        match (endpoint.uri().scheme_str(), tls) {
            (Some("http"), None) | (Some("https"), Some(_)) => {}
            (Some("http"), Some(_)) => return Err(ConnectError::Plain { endpoint: url.to_owned() }),
            (Some("https"), None) => return Err(ConnectError::NoCertificates { endpoint: url.to_owned() }),
            _ => return Err(ConnectError::Scheme { endpoint: url.to_owned() }),
        }
        let endpoint = endpoint
            .connect_timeout(CONNECT_MAX)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(PROBE_INTERVAL)
            .keep_alive_timeout(PROBE_ANSWER_MAX)
            .keep_alive_while_idle(false);
        let channel = web::grpc_channel(&endpoint, tls.cloned());
        let connection = Mutex::new(Connection::new(0, channel));
        Ok(Self { url: url.to_owned(), endpoint, tls: tls.cloned(), connection })
    }

    fn dial(&self) -> Channel {
        web::grpc_channel(&self.endpoint, self.tls.clone())
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
