//! A route of the table that serves, and what goes on from one table to the next.

use crate::balancing::Balancing;
use crate::count::CountsOf;
use crate::health::Checks;
use crate::mirror::Mirror;
use crate::secure::servers::Upstream;
use crate::servers::{Server, Servers};
use lifecycle::ErrorChain;
use middleware::Chain;
use routing::{Picked, RequestHead, Route, Service};
use std::collections::HashMap;
use std::sync::Arc;

/// The servers of lists that routes share, by where the list is, while a table is made.
pub(super) type Lists = HashMap<*const routing::Server, Arc<[Arc<Server>]>>;

/// A route as it serves: its servers, whose turn it is, and what is counted of it.
#[derive(Debug)]
pub(crate) struct Turns {
    pub route: Arc<Route>,
    pub(super) balancing: Balancing,
    /// Of routes that share a list, one.
    pub servers: Arc<[Arc<Server>]>,
    pub counts: Arc<CountsOf>,
    /// Who gets copies of its requests.
    pub mirror: Option<Mirror>,
    /// What its requests pass before a server is chosen; none when there is nothing.
    pub chain: Option<Arc<Chain>>,
    /// Why its requests are refused instead.
    pub refusal: Option<String>,
    /// How its servers are spoken to over TLS; none when there is none of them.
    upstream: Option<Arc<Upstream>>,
}

impl Turns {
    /// What was counted and remembered `before` goes on.
    pub(super) fn new(
        route: &Arc<Route>,
        before: Option<&Arc<Self>>,
        counts: Arc<CountsOf>,
        lists: &mut Lists,
        (servers, checks): (&Servers, &Checks),
    ) -> Self {
        let (chain, mut refusal) = match chain(route, before) {
            Ok(chain) => (chain, None),
            Err(reason) => (None, Some(reason)),
        };
        let mirror = Mirror::of(route, servers);
        let known = || route.servers.iter().map(|server| servers.get(&server.url)).collect();
        let servers = lists.entry(route.servers.as_ptr()).or_insert_with(known).clone();
        let mut all = servers.iter().chain(mirror.iter().flat_map(Mirror::servers));
        let is_spoken = all.any(|server| server.url.is_secure());
        let upstream = match is_spoken.then(|| Upstream::of(&route.server_tls)).transpose() {
            Ok(upstream) => upstream,
            Err(error) => {
                refusal = Some(format!("TLS towards servers: {}", ErrorChain(&error)));
                None
            }
        };
        let balanced = before.map(|before| &before.balancing);
        let balancing = Balancing::new(route, balanced, || counts.requests(), checks);
        Self { route: route.clone(), balancing, servers, counts, mirror, chain, refusal, upstream }
    }

    /// How a server of the route is spoken to over TLS, if it is.
    pub fn upstream_of(&self, server: &Server) -> Option<&Arc<Upstream>> {
        self.upstream.as_ref().filter(|_| server.url.is_secure())
    }

    /// The server for a request.
    pub fn pick(&self, head: &RequestHead<'_>, may_be_asked: impl Fn(&Server) -> bool) -> Option<Picked> {
        self.balancing.pick(&self.route, head, &self.servers, may_be_asked)
    }

    /// The server that a request would be sent to now, if it came, by the thread it came to: each has turns of its own.
    pub fn would_pick(&self, head: &RequestHead<'_>) -> Vec<Option<usize>> {
        match self.refusal {
            Some(_) => Vec::new(),
            None => self.balancing.would_pick(&self.route, head, &self.servers),
        }
    }

    /// How the server at this position is, in words.
    pub fn state(&self, position: usize) -> String {
        self.balancing.state(position, &self.servers[position])
    }

    /// Those it is made of, and its mirror's.
    pub(super) fn all_servers(&self) -> impl Iterator<Item = &Arc<Server>> {
        self.servers.iter().chain(self.mirror.iter().flat_map(Mirror::servers))
    }
}

/// The route's middlewares, with the state of those that it had before; or why it has to refuse.
fn chain(route: &Route, before: Option<&Arc<Turns>>) -> Result<Option<Arc<Chain>>, String> {
    if let Service::Refuse(reason) = &route.service {
        return Err(reason.clone());
    }
    if route.middlewares.is_empty() {
        return Ok(None);
    }
    let known = before.and_then(|before| before.chain.as_ref().map(|chain| (&before.route.middlewares, chain)));
    if let Some((_, unchanged)) = known.filter(|(list, _)| **list == route.middlewares) {
        return Ok(Some(unchanged.clone()));
    }
    let chain = Chain::read(&route.middlewares, known.map(|(_, chain)| &**chain));
    chain.map(|chain| Some(Arc::new(chain))).map_err(|error| ErrorChain(&error).to_string())
}
