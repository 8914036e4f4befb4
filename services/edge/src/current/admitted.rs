//! A request that may go to a server, see [`super`].

use super::Turns;
use crate::count::CountsOf;
use crate::secure::servers::Upstream;
use crate::servers::Server;
use routing::{Picked, Route, SetCookie};
use std::sync::Arc;

/// A request's place at a server; the server counts it for as long as this lives.
#[derive(Debug)]
pub(crate) struct Admitted {
    turns: Arc<Turns>,
    /// The server's, in the route.
    position: usize,
    /// The client has to be told of the server.
    sets_cookie: bool,
    /// The thread with which the server counts it.
    counted: u16,
}

impl Admitted {
    /// Counts it in.
    pub(super) fn enter(turns: Arc<Turns>, Picked { position, sets_cookie }: Picked) -> Self {
        // Threads are few (`THREADS_MAX`).
        let counted = turns.servers[position].enter() as u16;
        Self { turns, position, sets_cookie, counted }
    }

    pub fn route(&self) -> &Route {
        &self.turns.route
    }

    pub fn turns(&self) -> &Arc<Turns> {
        &self.turns
    }

    /// What is counted of the route.
    pub fn counts(&self) -> &CountsOf {
        &self.turns.counts
    }

    pub fn server(&self) -> &Arc<Server> {
        &self.turns.servers[self.position]
    }

    /// Takes a retry out of the route's budget, if there is one left.
    pub fn may_retry(&self) -> bool {
        let Turns { route, counts, balancing, .. } = &*self.turns;
        let may = balancing.may_retry(route, counts.requests());
        if !may {
            counts.here().retries_denied.add(1);
        }
        may
    }

    /// How the server is spoken to over TLS, if it is.
    pub fn upstream(&self) -> Option<&Arc<Upstream>> {
        self.turns.upstream_of(self.server())
    }

    /// It answered, or failed, which counts as the status the client would see.
    pub fn observe(&self, status: u16) {
        self.turns.balancing.observe(self.position, status);
    }

    /// What the client has to be told so that it comes to this server again.
    pub fn set_cookie(&self, is_secure: bool) -> Option<SetCookie> {
        self.sets_cookie.then(|| self.turns.balancing.set_cookie(self.position, is_secure)).flatten()
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.server().leave(usize::from(self.counted));
    }
}
