//! Listeners: the edge's own, and those the store asks for (`/vulcand/listeners/<id>`), opened and closed as the table
//! changes. A listener's scope and its settings of TLS change without touching its sockets.

use crate::certificates::Certificates;
use crate::current::Current;
use crate::engine::{Engine, Face};
use crate::limits::{LISTENER_RETRY, LISTENERS_MAX};
use crate::secure::{self, TicketKeys};
use crate::servers::lock;
use lifecycle::{ErrorChain, Stop};
use routing::Expression;
use rustls::ServerConfig;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use vulcand::{ListenerSpec, Problem};

/// Opens and closes what the store asks for.
pub(crate) struct Listeners {
    engine: Engine,
    certificates: Arc<Certificates>,
    tickets: TicketKeys,
    problems: Arc<Mutex<Vec<Problem>>>,
    /// By the store's id.
    open: BTreeMap<String, Open>,
}

/// What cannot be listened on as asked.
#[derive(Clone, Default)]
pub(crate) struct ListenerProblems(Arc<Mutex<Vec<Problem>>>);

/// A listener the store asked for.
struct Open {
    spec: ListenerSpec,
    face: Arc<Face>,
}

impl ListenerProblems {
    pub fn all(&self) -> Vec<Problem> {
        lock(&self.0).clone()
    }
}

impl Listeners {
    pub fn new(
        engine: Engine,
        certificates: Arc<Certificates>,
        tickets: TicketKeys,
        problems: &ListenerProblems,
    ) -> Self {
        Self { engine, certificates, tickets, problems: problems.0.clone(), open: BTreeMap::new() }
    }

    /// Follows the store's listeners until the stop, then waits for all connections, within the grace.
    pub async fn run(mut self, current: Arc<Current>, stop: Stop) {
        let mut changes = current.changes();
        while !stop.is_requested() {
            changes.borrow_and_update();
            self.follow(&current.load().listeners).await;
            let retry = !lock(&self.problems).is_empty();
            tokio::select! {
                () = stop.requested() => {}
                changed = changes.changed() => if changed.is_err() { stop.requested().await },
                () = tokio::time::sleep(LISTENER_RETRY), if retry => {}
            }
        }
        self.engine.ended().await;
    }

    async fn follow(&mut self, wanted: &[ListenerSpec]) {
        let is_wanted =
            |id: &str, open: &Open| wanted.iter().any(|spec| spec.id == id && spec.address == open.spec.address);
        for (id, open) in self.open.extract_if(.., |id, open| !is_wanted(id, open)) {
            tracing::info!(id, address = %open.spec.address, "listener closes");
            self.engine.close(&open.face).await;
        }
        let mut problems = Vec::new();
        for (position, spec) in wanted.iter().enumerate() {
            if let Err(message) = self.follow_one(position, spec).await {
                problems.push(Problem { key: format!("{}listeners/{}", vulcand::PREFIX, spec.id), message });
            }
        }
        let mut known = lock(&self.problems);
        for problem in problems.iter().filter(|problem| !known.contains(problem)) {
            tracing::warn!(key = problem.key, message = problem.message, "not served as asked");
        }
        *known = problems;
    }

    async fn follow_one(&mut self, position: usize, spec: &ListenerSpec) -> Result<(), String> {
        if position >= LISTENERS_MAX {
            return Err(format!("more than {LISTENERS_MAX} listeners"));
        }
        if let Some(open) = self.open.get_mut(&spec.id) {
            if open.spec.scope != spec.scope {
                open.face.scope.store(scope(&spec.scope));
                open.spec.scope.clone_from(&spec.scope);
            }
            if open.spec.tls != spec.tls {
                open.face.tls.store(secure(spec, &self.certificates, &self.tickets)?);
                open.spec.tls.clone_from(&spec.tls);
            }
            return Ok(());
        }
        let tls = secure(spec, &self.certificates, &self.tickets)?;
        let face = self.engine.open(spec.address, scope(&spec.scope), tls).await.map_err(|error| error.to_string())?;
        tracing::info!(id = spec.id, address = %spec.address, "listener opens");
        self.open.insert(spec.id.clone(), Open { spec: spec.clone(), face });
        Ok(())
    }
}

/// Its last good settings stay where these cannot be used.
fn secure(
    spec: &ListenerSpec,
    certificates: &Arc<Certificates>,
    tickets: &TicketKeys,
) -> Result<Option<Arc<ServerConfig>>, String> {
    let config = spec.tls.as_ref().map(|settings| secure::listener(settings, certificates, tickets));
    config.transpose().map_err(|error| format!("TLS: {}", ErrorChain(&error)))
}

/// The table's listeners were checked when they were read; empty means everything.
fn scope(text: &str) -> Option<Arc<Expression>> {
    (!text.is_empty()).then(|| Expression::parse(text).ok().map(Arc::new)).flatten()
}
