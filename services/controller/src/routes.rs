//! The routes there should be: one document per public name of an app, and those of the platform. Planned from the whole
//! world on every pass and written where they differ from what is stored; documents under other ids are nobody's business
//! here.

mod balance;
mod https;
mod middlewares;
mod protocol;
mod rules;
mod tcp;

pub(crate) use middlewares::BadLabel;
pub(crate) use protocol::place;

use model::{AppId, TaskId};
use routing::document::{RouteDocument, RouteServer, SERVERS_MAX};
use scheduler::{TaskRecord, World, server_url, serving};
use std::collections::{BTreeMap, BTreeSet};
use store::Revision;

const APP_PREFIX: &str = "app.";
const PLATFORM_PREFIX: &str = "platform.";

/// What the store holds of our routes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Routes {
    pub stored: BTreeMap<String, RouteDocument>,
    /// The revision at which an app's routes were last written or deleted: an edge that has applied it serves them.
    pub written_at: BTreeMap<AppId, Revision>,
}

/// Whether edges can do what an app's labels ask for.
pub(crate) fn check(app: &model::App, domain: &str) -> Result<(), BadLabel> {
    https::check(app, domain)?;
    middlewares::check(app)?;
    balance::check(app)?;
    protocol::check(app)?;
    tcp::check(app)
}

/// The names that apps ask certificates for.
pub(crate) fn certificate_names(world: &World, domain: &str) -> BTreeSet<String> {
    world.apps.values().flat_map(|record| https::certificate_names(&record.app, domain)).collect()
}

/// What the world outside calls the platform.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Public<'a> {
    /// Apps are served as `<app>.<domain>`.
    pub domain: &'a str,
    /// Where browsers reach HTTPS; `None`: 443.
    pub https_port: Option<u16>,
}

impl<'a> From<&'a str> for Public<'a> {
    fn from(domain: &'a str) -> Self {
        Self { domain, https_port: None }
    }
}

/// The host name an app is reached under; `None` when its rules name none.
pub(crate) fn public_name(app: &model::App, domain: &str) -> Option<String> {
    rules::host_name(app, domain)
}

/// A route to write, or (without a document) to delete.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RouteChange {
    pub id: String,
    pub app: Option<AppId>,
    pub document: Option<RouteDocument>,
}

impl Routes {
    /// Whether a stored document is the controller's own.
    pub(crate) fn owns(id: &str) -> bool {
        id.starts_with(APP_PREFIX) || id.starts_with(PLATFORM_PREFIX)
    }

    pub(crate) fn load(&mut self, id: String, document: RouteDocument, revision: Revision) {
        if let Some(app) = app_of(&document) {
            let written_at = self.written_at.entry(app).or_default();
            *written_at = revision.max(*written_at);
        }
        self.stored.insert(id, document);
    }

    /// What must change for the stored routes to be those of `world`.
    pub(crate) fn plan<'a>(
        &self,
        world: &World,
        public: impl Into<Public<'a>>,
        platform: &[(String, RouteDocument)],
    ) -> Vec<RouteChange> {
        let wanted = self.wanted(world, public.into(), platform);
        let mut changes = Vec::new();
        for (id, document) in self.stored.iter().filter(|(id, _)| !wanted.contains_key(*id)) {
            changes.push(RouteChange { id: id.clone(), app: app_of(document), document: None });
        }
        for (id, document) in wanted {
            if self.stored.get(&id) != Some(&document) {
                changes.push(RouteChange { id, app: app_of(&document), document: Some(document) });
            }
        }
        changes
    }

    pub(crate) fn apply(&mut self, change: &RouteChange, revision: Revision) {
        if let Some(app) = &change.app {
            self.written_at.insert(app.clone(), revision);
        }
        match &change.document {
            Some(document) => self.stored.insert(change.id.clone(), document.clone()),
            None => self.stored.remove(&change.id),
        };
    }

    fn wanted(
        &self,
        world: &World,
        Public { domain, https_port }: Public<'_>,
        platform: &[(String, RouteDocument)],
    ) -> BTreeMap<String, RouteDocument> {
        let mut wanted = BTreeMap::new();
        for (name, document) in platform {
            wanted.insert(format!("{PLATFORM_PREFIX}{name}"), document.clone());
        }
        for (id, record) in world.apps.iter().filter(|(_, record)| !record.app.ports.is_empty()) {
            let rules = rules::rules(&record.app, domain);
            let route_id = |index: usize| match index {
                0 => format!("{APP_PREFIX}{}", id.safe_path()),
                more => format!("{APP_PREFIX}{}~{more}", id.safe_path()),
            };
            let tcp = tcp::of(&record.app).map(|tcp| (format!("{APP_PREFIX}{}~tcp", id.safe_path()), tcp));
            let mut routed: BTreeSet<&str> = BTreeSet::new();
            for id in (0..rules.len()).map(route_id).chain(tcp.iter().map(|(id, _)| id.clone())) {
                let stored = self.stored.get(&id);
                routed.extend(stored.iter().flat_map(|document| &document.servers).map(|server| server.id.as_str()));
            }
            let is_routed = |task: &TaskId| routed.contains(task.as_str());
            let servers: Vec<RouteServer> =
                serving(world, id, is_routed).into_iter().filter_map(|task| server(&record.app, task)).collect();
            let redirect = https::redirect(&record.app, https_port);
            let middlewares: Vec<_> = redirect.into_iter().chain(middlewares::of(&record.app)).collect();
            let balance = balance::of(&record.app);
            let document = RouteDocument {
                v: 0,
                rule: String::new(),
                priority: None,
                servers: servers.into_iter().take(SERVERS_MAX).collect(),
                // An app sees the name the browser asked for, as behind marathon-lb and traefik.
                pass_host_header: true,
                failover_predicate: String::new(),
                app: Some(id.to_string()),
                balance,
                server_tls: routing::ServerTls::default(),
                middlewares: Vec::new(),
                tcp: None,
                send_proxy: tcp::send_proxy(&record.app),
            };
            for (index, rule) in rules.into_iter().enumerate() {
                let middlewares = middlewares.iter().chain(&rule.unknown).cloned().collect();
                wanted
                    .insert(route_id(index), RouteDocument { rule: rule.expression, middlewares, ..document.clone() });
            }
            if let Some((id, tcp)) = tcp {
                wanted.insert(id, RouteDocument { tcp: Some(tcp), ..document });
            }
        }
        wanted
    }
}

fn server(app: &model::App, record: &TaskRecord) -> Option<RouteServer> {
    let url = protocol::url(app, server_url(&record.task)?);
    Some(RouteServer { id: record.task.id.to_string(), url, weight: 1 })
}

fn app_of(document: &RouteDocument) -> Option<AppId> {
    document.app.as_deref().and_then(|app| AppId::parse(app).ok())
}

#[cfg(test)]
mod tests;
