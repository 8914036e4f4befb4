//! The routing table: every route, and which of them a request takes. Immutable; a change makes a new one beside it, which
//! shares what did not change.
//!
//! # Which route wins
//! Of the routes that match a request, the first by this order:
//! 1. higher explicit priority (a route without one has 0);
//! 2. host: exact, then pattern (more literal text first), then regexp (the longer first), then none;
//! 3. path: the same; of two patterns with as much literal text the open one (`PathPrefix`, `<path:…>`) goes last;
//! 4. method: the same;
//! 5. more header and query matchers;
//! 6. client: the block with fewer addresses, then none;
//! 7. more matchers in all;
//! 8. id, in alphabetical order.
//!
//! `a || b` counts as two routes: what decides is the alternative that matches. `!a` asks for nothing in particular and
//! counts in 7 only.
//!
//! vulcand differs in two ways. It tries routes in the *reverse alphabetical order of their text*, so that
//! `PathRegexp("/.*")` takes what `Host("a")` asks for and quoting decides who wins; [`Order::Vulcand`] does so after the
//! priority, for those who rely on it. And it merges neighbouring expressions into one trie without comparing their last
//! matchers, so that beside `Host("a") && Method("POST")` the route `Host("a") && Path("/x")` becomes unreachable; that is
//! left behind in either order.
//!
//! # Lookup
//! By host, then path, then one more field; exact texts are hashed, patterns are found in one walk along the text: of ten
//! thousand routes a request tries as few as of ten. `table/index.rs` says what is tried one by one, `examples/lookup.rs`
//! what it takes.

mod exact;
mod explain;
mod index;
mod rank;
mod tree;

pub use explain::{Explained, Explanation, Verdict};
pub use rank::Order;

use crate::expression::{HostBuffer, RequestHead};
use crate::route::Route;
use index::{Candidate, Index};
use rank::Rank;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Clone, Debug, Default)]
pub struct Table {
    order: Order,
    routes: Vec<Arc<Route>>,
    /// Positions of the routes, by id.
    by_id: Vec<usize>,
    index: Index,
}

impl Table {
    /// Of two routes with one id the later counts.
    pub fn new(routes: impl IntoIterator<Item = Arc<Route>>) -> Self {
        Self::ordered(Order::default(), routes)
    }

    pub fn ordered(order: Order, routes: impl IntoIterator<Item = Arc<Route>>) -> Self {
        let routes: BTreeMap<String, Arc<Route>> = routes.into_iter().map(|route| (route.id.clone(), route)).collect();
        let mut table = Self { order, ..Self::default() };
        for route in routes.into_values() {
            table.by_id.push(table.routes.len());
            table.push(route);
        }
        table
    }

    /// By position. A route keeps its position from one table to the next, but that the last one takes the place of one
    /// that goes: what belongs to a route can be kept by position, wherever `Arc::ptr_eq` says that it is the same.
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// The positions of all routes in the order of precedence (of their first alternatives in it); those that take no
    /// requests go last.
    pub fn in_order(&self) -> Vec<usize> {
        let rank = |route: &Route| {
            let rank = rank_of(route, self.order);
            (rank.is_none(), rank)
        };
        let mut ranked: Vec<_> =
            self.routes.iter().enumerate().map(|(position, route)| (rank(route), position)).collect();
        ranked.sort();
        ranked.into_iter().map(|(_, position)| position).collect()
    }

    /// The position of the route with this id.
    pub fn position(&self, id: &str) -> Option<usize> {
        self.place(id).ok().map(|place| self.by_id[place])
    }

    pub fn find(&self, head: &RequestHead<'_>) -> Option<&Arc<Route>> {
        self.find_position(head).map(|position| &self.routes[position])
    }

    /// The winner's position in [`Table::routes`]. Allocates nothing.
    pub fn find_position(&self, head: &RequestHead<'_>) -> Option<usize> {
        let mut buffer = HostBuffer::new();
        self.index.find(head, head.host_name(&mut buffer)).position()
    }

    /// The table after a change: some routes are gone, by id, then others are new or new in content.
    pub fn updated<'a>(
        &self,
        gone: impl IntoIterator<Item = &'a str>,
        changed: impl IntoIterator<Item = Arc<Route>>,
    ) -> Self {
        let mut table = self.clone();
        for id in gone {
            table.remove(id);
        }
        for route in changed {
            table.upsert(route);
        }
        table
    }

    /// The table of exactly these routes. Those that are in this one, as the same `Arc`, are shared and cost next to
    /// nothing.
    pub fn rebuilt(&self, routes: &[Arc<Route>]) -> Self {
        let addresses = |routes: &[Arc<Route>]| {
            let mut addresses: Vec<*const Route> = routes.iter().map(Arc::as_ptr).collect();
            addresses.sort_unstable();
            addresses
        };
        let (before, after) = (addresses(&self.routes), addresses(routes));
        let is_in = |known: &[*const Route], route: &Arc<Route>| known.binary_search(&Arc::as_ptr(route)).is_ok();
        let changed: Vec<&Arc<Route>> = routes.iter().filter(|route| !is_in(&before, route)).collect();
        let mut stays: Vec<&str> = changed.iter().map(|route| route.id.as_str()).collect();
        stays.sort_unstable();
        let gone = self.routes.iter().filter(|route| !is_in(&after, route)).map(|route| route.id.as_str());
        let gone = gone.filter(|id| stays.binary_search(id).is_err());
        self.updated(gone, changed.into_iter().cloned())
    }

    fn upsert(&mut self, route: Arc<Route>) {
        match self.place(&route.id) {
            Ok(place) => {
                let position = self.by_id[place];
                let before = &self.routes[position];
                // Where it stands depends on nothing else: new servers move nothing.
                let stays = Arc::ptr_eq(&before.expression, &route.expression) && before.priority == route.priority;
                if stays {
                    self.routes[position] = route;
                    return;
                }
                self.unlist(position);
                self.routes[position] = route;
                self.list(position);
            }
            Err(place) => {
                self.by_id.insert(place, self.routes.len());
                self.push(route);
            }
        }
    }

    fn push(&mut self, route: Arc<Route>) {
        self.routes.push(route);
        self.list(self.routes.len() - 1);
    }

    fn remove(&mut self, id: &str) {
        let Ok(place) = self.place(id) else { return };
        let (position, last) = (self.by_id[place], self.routes.len() - 1);
        self.unlist(position);
        if position != last {
            self.unlist(last);
            if let Ok(place) = self.place(&self.routes[last].id) {
                self.by_id[place] = position;
            }
        }
        self.by_id.remove(place);
        self.routes.swap_remove(position);
        if position != last {
            self.list(position);
        }
    }

    /// Where the id stands in `by_id`, or would.
    fn place(&self, id: &str) -> Result<usize, usize> {
        self.by_id.binary_search_by(|position| self.routes[*position].id.as_str().cmp(id))
    }

    fn list(&mut self, position: usize) {
        for candidate in candidates(&self.routes[position], position, self.order) {
            self.index.insert(candidate);
        }
    }

    fn unlist(&mut self, position: usize) {
        for candidate in candidates(&self.routes[position], position, self.order) {
            self.index.remove(&candidate);
        }
    }
}

fn candidates(route: &Arc<Route>, position: usize, order: Order) -> impl Iterator<Item = Candidate> {
    let id: Arc<str> = route.id.as_str().into();
    let position = u32::try_from(position).expect("as many routes as fit into memory are fewer than 2^32");
    route.expression.alternatives().iter().enumerate().map(move |(number, alternative)| {
        Candidate::new(Rank::of(route, alternative, order, &id), position, number, alternative)
    })
}

/// Of the route's best alternative; `None`: it takes no requests.
fn rank_of(route: &Route, order: Order) -> Option<Rank> {
    let id = route.id.as_str().into();
    let ranks = route.expression.alternatives().iter().map(|alternative| Rank::of(route, alternative, order, &id));
    ranks.min()
}

#[cfg(test)]
mod tests;
