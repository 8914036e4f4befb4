//! The table that serves, swapped whole, and the admission of a request to a server.
//!
//! # Invariant: after the report, no request
//! When the edge has reported `applied_revision R` without naming server S busy, and S is in no route of the table at R, no
//! request reaches S until a later table lists it again. The controller kills S's task on that word.
//!
//! A request may still hold an older table when a new one is published, so admission works in this order:
//!
//! | request | publisher |
//! |---|---|
//! | A: load the table, choose S, **count itself in at S** | C: **store the new table's number** in `published` |
//! | B: **load `published`**: not its table's number → count out, begin again | D: **load S's count**, report |
//!
//! After C the publisher counts who is listed ([`Servers::list`]); a report is made of one table, its number and its
//! listings, or not at all.
//!
//! All four are sequentially consistent. If D does not see A's count, then D precedes A, so C precedes B, and B sees the new
//! number: the request lets go of S before it touched a socket. If D sees the count, S is reported busy. Either way the
//! report is true. `tests::without_the_second_look_a_drained_server_is_reached` removes B and fails.
//!
//! A retry is admitted anew, by the table of its moment.

mod admitted;
mod turns;

pub(crate) use admitted::Admitted;
pub(crate) use turns::Turns;

use crate::certificates::Certificate;
use crate::count::CountsOf;
use crate::health::Checks;
use crate::limits::RETIRED_MAX;
use crate::servers::{Servers, lock};
use crate::sources::Source;
use arc_swap::ArcSwap;
use routing::{Order, Picked, Route, Table, TcpTable};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use store::Revision;
use tokio::sync::watch;
use turns::Lists;
use vulcand::{ListenerSpec, Problem};

/// A table and what belongs to it. Immutable but for whose turn it is.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    number: u64,
    /// Whether the store was ever read, by this process or one before it; until then nothing is known to be missing.
    pub loaded: bool,
    /// From disk: the store has not been read yet.
    pub stale: bool,
    /// Of the store the table was read from; 0: none yet. Its revisions count in this cluster only.
    pub cluster_id: u64,
    /// Which sources had keys.
    pub held: [bool; Source::ALL.len()],
    /// Every change to Roadstead's route documents up to here is in the table.
    revision: AtomicI64,
    pub table: Table,
    /// Its TCP routes.
    pub tcp: TcpTable,
    /// By the position of the route in the table.
    pub turns: Vec<Arc<Turns>>,
    pub listeners: Arc<[ListenerSpec]>,
    pub certificates: Arc<[Arc<Certificate>]>,
    pub problems: Arc<[Problem]>,
}

impl Snapshot {
    pub fn number(&self) -> u64 {
        self.number
    }

    pub fn revision(&self) -> Revision {
        self.revision.load(SeqCst)
    }

    pub fn of_route(&self, id: &str) -> Option<&Arc<Turns>> {
        self.table.position(id).map(|position| &self.turns[position])
    }

    /// Where it has this very route: most often at this position.
    fn holds(&self, position: usize, route: &Arc<Route>) -> Option<usize> {
        let is_at =
            |position: &usize| self.table.routes().get(*position).is_some_and(|known| Arc::ptr_eq(known, route));
        Some(position).filter(is_at).or_else(|| self.table.position(&route.id).filter(is_at))
    }
}

/// What a provider hands over to be published.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub loaded: bool,
    pub stale: bool,
    pub cluster_id: u64,
    pub held: [bool; Source::ALL.len()],
    pub revision: Revision,
    pub routes: Routes,
    pub listeners: Arc<[ListenerSpec]>,
    pub certificates: Arc<[Arc<Certificate>]>,
    pub problems: Arc<[Problem]>,
}

#[derive(Debug)]
pub(crate) enum Routes {
    /// All there are.
    All(Vec<Arc<Route>>),
    /// Those that are new or other than in the table that serves, by id; `None`: gone.
    Changed(Changed),
}

pub(crate) type Changed = BTreeMap<String, Option<Arc<Route>>>;

impl Default for Routes {
    fn default() -> Self {
        Self::Changed(Changed::new())
    }
}

/// What is true at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub cluster_id: u64,
    /// The revision that serves.
    pub revision: Revision,
    /// Servers that are not in its table but have requests in flight, with how many.
    pub busy: Vec<(String, u64)>,
}

pub(crate) struct Current {
    order: Order,
    snapshot: ArcSwap<Snapshot>,
    /// The number of the table that serves.
    published: AtomicU64,
    pub servers: Arc<Servers>,
    pub checks: Arc<Checks>,
    changed: watch::Sender<u64>,
    /// Tables that were replaced. Whoever lets go of one last pays for it, which must not be a request.
    retired: Mutex<Vec<Arc<Snapshot>>>,
    #[cfg(test)]
    skip_second_look: bool,
}

impl Current {
    #[cfg(test)]
    pub fn new() -> Self {
        Self::ordered(Order::default())
    }

    /// Whose routes of the same priority go in this order.
    pub fn ordered(order: Order) -> Self {
        Self {
            order,
            // Its table passes the order on to those that are made of it.
            snapshot: ArcSwap::from_pointee(Snapshot { table: Table::ordered(order, []), ..Snapshot::default() }),
            published: AtomicU64::new(0),
            servers: Arc::default(),
            checks: Arc::default(),
            changed: watch::Sender::new(0),
            retired: Mutex::default(),
            #[cfg(test)]
            skip_second_look: false,
        }
    }

    pub fn load(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Sees the number of each table once it serves (steps may be skipped).
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Swaps the table; returns the ids of the routes that are gone. One caller at a time: the assembler. What did not change
    /// is handed on as it is.
    pub fn publish(&self, draft: Draft, counts_of: impl Fn(&str) -> Arc<CountsOf>) -> Vec<String> {
        let before = self.load();
        let Draft { loaded, stale, cluster_id, held, revision, routes, listeners, certificates, problems } = draft;
        let table = match routes {
            Routes::All(routes) => Table::ordered(self.order, routes),
            Routes::Changed(changed) => {
                let gone = changed.iter().filter(|(_, route)| route.is_none()).map(|(id, _)| id.as_str());
                before.table.updated(gone, changed.values().flatten().cloned())
            }
        };
        let is_tcp = |position: &usize| table.routes()[*position].tcp.is_some();
        let tcp = TcpTable::new(table.routes(), (0..table.routes().len()).filter(is_tcp));
        let (mut entered, mut lists) = (Vec::new(), Lists::new());
        let mut turns = Vec::with_capacity(table.routes().len());
        for (position, route) in table.routes().iter().enumerate() {
            turns.push(match before.holds(position, route) {
                Some(position) => before.turns[position].clone(),
                None => {
                    let (known, counts) = (before.of_route(&route.id), counts_of(&route.id));
                    let turns = Turns::new(route, known, counts, &mut lists, (&self.servers, &self.checks));
                    entered.extend(turns.all_servers().cloned());
                    Arc::new(turns)
                }
            });
        }
        let (number, revision) = (before.number + 1, AtomicI64::new(revision));
        let snapshot = Snapshot {
            number,
            loaded,
            stale,
            cluster_id,
            held,
            revision,
            table,
            tcp,
            turns,
            listeners,
            certificates,
            problems,
        };
        let snapshot = Arc::new(snapshot);
        let (mut left, mut gone) = (Vec::new(), Vec::new());
        for (position, route) in before.table.routes().iter().enumerate() {
            if snapshot.holds(position, route).is_none() {
                left.extend(before.turns[position].all_servers().cloned());
                if snapshot.of_route(&route.id).is_none() {
                    gone.push(route.id.clone());
                }
            }
        }
        self.snapshot.store(snapshot);
        self.published.store(number, SeqCst);
        self.servers.list(number, &entered, &left);
        self.changed.send_replace(number);
        self.retire(before);
        gone
    }

    fn retire(&self, snapshot: Arc<Snapshot>) {
        let mut retired = lock(&self.retired);
        if retired.len() == RETIRED_MAX {
            // Somebody holds it for very long; then that one pays.
            retired.remove(0);
        }
        retired.push(snapshot);
    }

    /// Lets go of replaced tables that nobody uses any more; whether there are others.
    pub fn forget_retired(&self) -> bool {
        let mut retired = lock(&self.retired);
        retired.retain(|snapshot| Arc::strong_count(snapshot) > 1);
        !retired.is_empty()
    }

    /// The store moved on without touching what this table is made of. For the assembler, like [`Current::publish`].
    pub fn advance(&self, revision: Revision) {
        let snapshot = self.load();
        snapshot.revision.store(revision, SeqCst);
        self.changed.send_replace(snapshot.number);
    }

    /// Admits a request to the server `choose` picks from the table, and its route's position.
    pub fn admit<E>(&self, mut choose: impl FnMut(&Snapshot) -> Result<(usize, Picked), E>) -> Result<Admitted, E> {
        loop {
            let snapshot = self.snapshot.load();
            let (route, picked) = choose(&snapshot)?;
            let admitted = Admitted::enter(snapshot.turns[route].clone(), picked);
            if self.published.load(SeqCst) == snapshot.number || self.second_look_is_skipped() {
                return Ok(admitted);
            }
            // Between the publisher's two stores; it may need this core to make the second one.
            drop(admitted);
            std::thread::yield_now();
        }
    }

    #[cfg(test)]
    fn second_look_is_skipped(&self) -> bool {
        self.skip_second_look
    }

    #[cfg(not(test))]
    const fn second_look_is_skipped(&self) -> bool {
        false
    }

    /// What is true now.
    pub fn report(&self) -> Report {
        loop {
            let number = self.published.load(SeqCst);
            let snapshot = self.load();
            // The publisher stores the table, then its number, then who is listed; only what all agree on is promised.
            if snapshot.number == number
                && let Some(busy) = self.servers.busy(number)
            {
                return Report { cluster_id: snapshot.cluster_id, revision: snapshot.revision(), busy };
            }
            std::thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests;
