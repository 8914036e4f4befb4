//! The servers behind all routes, known by URL across every change of the table: how many requests each has in flight,
//! whether it failed a moment ago, and what is counted of it. (Connections to them are kept by each thread of the engine.)
//!
//! Servers of one [`Host`] share its fate: where one of them met silence (not a refusal), the machine or the way to it is
//! most likely gone, and all of them are passed over for a while.

use crate::count::{CountsOf, Totals};
use crate::limits::METRICS_SERVERS_MAX;
use crate::metrics::OTHER;
use crate::per_thread::{self, PerThread};
use routing::ServerUrl;
use std::collections::HashMap;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

#[derive(Debug)]
pub(crate) struct Server {
    pub url: ServerUrl,
    /// Where each thread keeps its connections; another server's after this one was forgotten.
    pub slot: usize,
    pub counts: CountsOf,
    /// Per thread; see `crate::current` for the order in which they are written and read.
    in_flight: PerThread<AtomicU64>,
    /// How many routes of the table that serves have it; only decides whom to wake and what to keep.
    listings: AtomicUsize,
    paused: Pause,
    /// How often it met silence: connections kept before are as dead.
    silences: AtomicU64,
    /// It chose HTTP/1.1 when it was offered HTTP/2, too, the last time.
    chose_http1: AtomicBool,
    host: Arc<Host>,
    slots: Arc<Mutex<Slots>>,
    /// Woken when a server that is not listed has no request left.
    idle_after_leaving: Arc<Notify>,
}

/// A machine, as the URLs of servers name it.
#[derive(Debug, Default)]
struct Host {
    silent: Pause,
}

/// Until when something is passed over; asked for every request, so that not pausing costs no look at the clock.
#[derive(Debug, Default)]
struct Pause {
    /// Microseconds of [`process_micros`]; 0: never paused.
    until: AtomicU64,
}

/// Numbers of servers that are known, the least free first.
#[derive(Debug, Default)]
struct Slots {
    free: Vec<usize>,
    used: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Servers {
    known: Mutex<Known>,
    slots: Arc<Mutex<Slots>>,
    /// Woken when a server that left the table has no request in flight any more.
    pub drained: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Known {
    /// The number of the table whose listings are counted.
    table: u64,
    by_url: HashMap<ServerUrl, Arc<Server>>,
    /// Those that left the table with requests in flight.
    leaving: Vec<Arc<Server>>,
    hosts: HashMap<String, KnownHost>,
    /// Of servers without metrics of their own that were forgotten.
    gone: Totals,
}

#[derive(Debug, Default)]
struct KnownHost {
    host: Arc<Host>,
    /// How many servers in `by_url` are on it.
    servers: usize,
}

impl Server {
    /// Counts a request in; returns where, for [`Server::leave`].
    pub fn enter(&self) -> usize {
        let index = per_thread::index();
        self.in_flight.of(index).fetch_add(1, SeqCst);
        index
    }

    /// Counts a request out: one that is on its way, on its way back, or a tunnel.
    pub fn leave(&self, index: usize) {
        let before = self.in_flight.of(index).fetch_sub(1, SeqCst);
        if before == 1 && !self.is_listed() {
            self.idle_after_leaving.notify_one();
        }
    }

    pub fn in_flight(&self) -> u64 {
        self.in_flight.all().map(|count| count.load(SeqCst)).sum()
    }

    pub fn is_paused(&self) -> bool {
        self.paused.holds()
    }

    /// Whether it is, or its whole machine.
    pub fn is_suspect(&self) -> bool {
        self.is_paused() || self.host.silent.holds()
    }

    pub fn pause(&self, length: Duration) {
        self.paused.begin(length);
    }

    /// It met silence: what is kept of its connections is as dead.
    pub fn pause_host(&self, length: Duration) {
        self.host.silent.begin(length);
        self.silences.fetch_add(1, Relaxed);
    }

    pub fn silences(&self) -> u64 {
        self.silences.load(Relaxed)
    }

    /// Which HTTP it chose of both; the next new connection is offered both again.
    pub fn chose(&self, is_http2: bool) {
        self.chose_http1.store(!is_http2, Relaxed);
    }

    pub fn chose_http1(&self) -> bool {
        self.chose_http1.load(Relaxed)
    }

    pub fn is_listed(&self) -> bool {
        self.listings.load(SeqCst) > 0
    }

    /// Whether it has metrics of its own.
    fn is_named(&self) -> bool {
        self.slot < METRICS_SERVERS_MAX
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        lock(&self.slots).free.push(self.slot);
    }
}

impl Pause {
    fn begin(&self, length: Duration) {
        self.until.store(process_micros() + length.as_micros() as u64, Relaxed);
    }

    fn holds(&self) -> bool {
        match self.until.load(Relaxed) {
            0 => false,
            until => process_micros() < until,
        }
    }
}

/// Microseconds since this was first asked.
pub(crate) fn process_micros() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed().as_micros() as u64
}

impl Slots {
    fn take(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.used += 1;
            self.used - 1
        })
    }
}

impl Servers {
    /// The server of this URL, the same one for as long as it is listed or busy.
    pub fn get(&self, url: &ServerUrl) -> Arc<Server> {
        let Known { by_url, hosts, .. } = &mut *lock(&self.known);
        if let Some(server) = by_url.get(url) {
            return server.clone();
        }
        let host = hosts.entry(url.host().to_owned()).or_default();
        host.servers += 1;
        let server = Arc::new(Server {
            url: url.clone(),
            slot: lock(&self.slots).take(),
            counts: CountsOf::default(),
            in_flight: PerThread::default(),
            listings: AtomicUsize::new(0),
            paused: Pause::default(),
            silences: AtomicU64::new(0),
            chose_http1: AtomicBool::new(false),
            host: host.host.clone(),
            slots: self.slots.clone(),
            idle_after_leaving: self.drained.clone(),
        });
        by_url.insert(url.clone(), server.clone());
        server
    }

    /// Called after the table with this number was published: the servers of routes that are new in it, and those of routes
    /// that are in it no more. Forgets who is neither listed nor busy; costs what changed, not what there is.
    pub fn list<'a>(
        &self,
        table: u64,
        entered: impl IntoIterator<Item = &'a Arc<Server>>,
        left: impl IntoIterator<Item = &'a Arc<Server>>,
    ) {
        let known = &mut *lock(&self.known);
        known.table = table;
        for server in entered {
            server.listings.fetch_add(1, SeqCst);
        }
        for server in left {
            if server.listings.fetch_sub(1, SeqCst) == 1 {
                known.leaving.push(server.clone());
            }
        }
        for server in std::mem::take(&mut known.leaving) {
            match server.is_listed() {
                true => {}
                false if server.in_flight() > 0 => known.leaving.push(server),
                false => known.forget(&server),
            }
        }
    }

    /// Those that are not in the table with this number but have requests in flight, with how many; `None` while the listings
    /// are another table's.
    pub fn busy(&self, table: u64) -> Option<Vec<(String, u64)>> {
        let known = lock(&self.known);
        let busy = |server: &Arc<Server>| Some((server.url.to_string(), server.in_flight())).filter(|busy| busy.1 > 0);
        (known.table == table).then(|| known.leaving.iter().filter_map(busy).collect())
    }

    pub fn all(&self) -> Vec<Arc<Server>> {
        lock(&self.known).by_url.values().cloned().collect()
    }

    /// What was counted, by URL; and how many servers are summed under [`OTHER`], whose sum never goes back.
    pub fn totals(&self) -> (Vec<(String, Totals)>, usize) {
        let (servers, mut other) = {
            let known = lock(&self.known);
            (known.by_url.values().cloned().collect::<Vec<_>>(), known.gone.clone())
        };
        let (named, folded): (Vec<_>, Vec<_>) = servers.into_iter().partition(|server| server.is_named());
        let mut totals: Vec<_> = named.iter().map(|server| (server.url.to_string(), server.counts.totals())).collect();
        totals.sort_by(|one, other| one.0.cmp(&other.0));
        folded.iter().for_each(|server| server.counts.add_to(&mut other));
        if other != Totals::default() {
            totals.push((OTHER.to_owned(), other));
        }
        (totals, folded.len())
    }
}

impl Known {
    fn forget(&mut self, server: &Server) {
        if self.by_url.remove(&server.url).is_none() {
            return;
        }
        if !server.is_named() {
            server.counts.add_to(&mut self.gone);
        }
        if let Some(host) = self.hosts.get_mut(server.url.host()) {
            host.servers -= 1;
            if host.servers == 0 {
                self.hosts.remove(server.url.host());
            }
        }
    }
}

/// Locks; a panic elsewhere while it was held leaves counters and lists that are still sound.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(port: u16) -> ServerUrl {
        ServerUrl::parse(&format!("http://a:{port}")).unwrap()
    }

    #[test]
    fn a_slot_is_taken_again_once_its_server_is_forgotten() {
        let servers = Servers::default();
        let (first, second) = (servers.get(&url(1)), servers.get(&url(2)));
        assert_eq!((first.slot, second.slot), (0, 1));
        servers.list(1, [&first, &second], []);
        servers.list(2, [], [&first]);
        assert_eq!(servers.get(&url(3)).slot, 2, "somebody still has the first");
        drop(first);
        assert_eq!(servers.get(&url(4)).slot, 0);
    }

    #[test]
    fn a_server_of_two_routes_is_listed_until_both_are_gone_and_known_until_it_is_idle() {
        let servers = Servers::default();
        let server = servers.get(&url(1));
        servers.list(1, [&server, &server], []);
        servers.list(2, [], [&server]);
        assert!(server.is_listed());
        let counted = server.enter();
        servers.list(3, [], [&server]);
        assert!(!server.is_listed());
        assert_eq!(servers.busy(2), None, "the listings are the next table's");
        assert_eq!(servers.busy(3), Some(vec![(server.url.to_string(), 1)]));
        // Replaced by another route that has it: in and out in one table.
        servers.list(4, [&server], []);
        servers.list(5, [&server], [&server]);
        assert!(server.is_listed() && servers.busy(5) == Some(vec![]));
        servers.list(6, [], [&server]);
        server.leave(counted);
        servers.list(7, [], []);
        assert!(servers.all().is_empty() && lock(&servers.known).hosts.is_empty());
    }

    #[test]
    fn servers_of_one_host_are_silent_together() {
        let servers = Servers::default();
        let (one, two) = (servers.get(&url(1)), servers.get(&url(2)));
        one.pause_host(Duration::from_secs(60));
        assert!(two.is_suspect() && !two.is_paused());
        assert_eq!((one.silences(), two.silences()), (1, 0));
        two.pause(Duration::from_micros(1));
        while two.is_paused() {
            std::thread::yield_now();
        }
    }
}
