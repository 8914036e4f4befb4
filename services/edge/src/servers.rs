//! The servers behind all routes, known by URL across every change of the table: how many requests each has in flight,
//! whether it failed a moment ago, and its idle connections.
//!
//! Servers of one [`Host`] share its fate: where one of them met silence (not a refusal), the machine or the way to it is
//! most likely gone, and all of them are passed over for a while.

use crate::proxy::Idle;
use routing::ServerUrl;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

#[derive(Debug)]
pub(crate) struct Server {
    pub url: ServerUrl,
    in_flight: AtomicU64,
    /// Whether the table that serves has it; only decides whom to wake.
    listed: AtomicBool,
    paused_until: Mutex<Option<Instant>>,
    host: Arc<Host>,
    pub idle: Mutex<Vec<Idle>>,
    /// Woken when a server that is not listed has no request left.
    idle_after_leaving: Arc<Notify>,
}

/// A machine, as the URLs of servers name it.
#[derive(Debug, Default)]
struct Host {
    silent_until: Mutex<Option<Instant>>,
}

/// A request, a response or a tunnel on its way through a server; counted until dropped.
#[derive(Debug)]
pub(crate) struct InFlight(pub Arc<Server>);

#[derive(Debug, Default)]
pub(crate) struct Servers {
    known: Mutex<Known>,
    /// Woken when a server that left the table has no request in flight any more.
    pub drained: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Known {
    by_url: HashMap<ServerUrl, Arc<Server>>,
    hosts: HashMap<String, Arc<Host>>,
}

impl Server {
    pub fn enter(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, SeqCst);
        InFlight(self.clone())
    }

    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(SeqCst)
    }

    pub fn is_paused(&self, now: Instant) -> bool {
        lock(&self.paused_until).is_some_and(|until| now < until)
    }

    /// Whether it is, or its whole machine.
    pub fn is_suspect(&self, now: Instant) -> bool {
        self.is_paused(now) || lock(&self.host.silent_until).is_some_and(|until| now < until)
    }

    pub fn pause(&self, length: Duration) {
        *lock(&self.paused_until) = Some(Instant::now() + length);
    }

    /// It met silence: what is kept of its connections is as dead.
    pub fn pause_host(&self, length: Duration) {
        *lock(&self.host.silent_until) = Some(Instant::now() + length);
        lock(&self.idle).clear();
    }

    pub fn is_listed(&self) -> bool {
        self.listed.load(SeqCst)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let before = self.0.in_flight.fetch_sub(1, SeqCst);
        if before == 1 && !self.0.is_listed() {
            self.0.idle_after_leaving.notify_one();
        }
    }
}

impl Servers {
    /// The server of this URL, the same one for as long as it is listed or busy.
    pub fn get(&self, url: &ServerUrl) -> Arc<Server> {
        let Known { by_url, hosts } = &mut *lock(&self.known);
        let make = || {
            Arc::new(Server {
                url: url.clone(),
                in_flight: AtomicU64::new(0),
                listed: AtomicBool::new(false),
                paused_until: Mutex::new(None),
                host: hosts.entry(url.host().to_owned()).or_default().clone(),
                idle: Mutex::new(Vec::new()),
                idle_after_leaving: self.drained.clone(),
            })
        };
        by_url.entry(url.clone()).or_insert_with(make).clone()
    }

    /// Called after a table was published: marks who is in it, forgets who is neither in it nor busy.
    pub fn list(&self, listed: &HashSet<ServerUrl>) {
        let Known { by_url, hosts } = &mut *lock(&self.known);
        by_url.retain(|url, server| {
            let is_listed = listed.contains(url);
            server.listed.store(is_listed, SeqCst);
            if !is_listed {
                lock(&server.idle).clear();
            }
            is_listed || server.in_flight() > 0
        });
        hosts.retain(|_, host| Arc::strong_count(host) > 1);
    }

    /// Those that are not listed but have requests in flight, with how many.
    pub fn busy(&self, listed: &HashSet<ServerUrl>) -> Vec<(String, u64)> {
        let known = lock(&self.known);
        let left = known.by_url.iter().filter(|(url, _)| !listed.contains(url));
        left.map(|(url, server)| (url.to_string(), server.in_flight())).filter(|(_, count)| *count > 0).collect()
    }

    pub fn all(&self) -> Vec<Arc<Server>> {
        lock(&self.known).by_url.values().cloned().collect()
    }
}

/// Locks; a panic elsewhere while it was held leaves counters and lists that are still sound.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
