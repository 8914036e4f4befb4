//! What a frontend, its backend, its servers and its middlewares ask for.

use super::Report;
use super::keys::{Keys, Object, SAME_ID};
use crate::alias::{Alias, with_aliases};
use crate::key::{Key, Kind, Prefix};
use crate::objects::Frontend;
use middleware::MIDDLEWARES_MAX;
use routing::{BalanceSpec, BufferSpec, Expression, RouteSpec};
use serde_json::Value;

/// The name of a frontend's route.
pub(super) fn route_id(frontend: &str) -> String {
    format!("{frontend}@vulcand")
}

impl Keys {
    /// What the frontend with this id amounts to but for its servers, under which prefix it stands, and its backend; reports
    /// whatever is wrong with it and with its middlewares.
    pub fn spec(&self, id: &str, aliases: &[Alias], report: &mut Report) -> Option<(Prefix, String, RouteSpec)> {
        let mut found = None;
        for prefix in [Prefix::Slash, Prefix::Bare] {
            let key = Key { prefix, kind: Kind::Frontend { id: id.to_owned() } };
            let entry = self.frontend(prefix, id);
            for (key, middleware) in self.middlewares(prefix, id) {
                middleware.report(key, report);
                if entry.is_none() {
                    report.add(key, format!("there is no frontend {id:?}"));
                }
            }
            let Some(entry) = entry else { continue };
            entry.report(&key, report);
            let Some(Object::Frontend(frontend)) = &entry.good else { continue };
            if found.is_some() {
                report.add(&key, SAME_ID);
                continue;
            }
            found = Some((prefix, frontend.backend_id.clone(), self.spec_of(&key, frontend, aliases, report)));
        }
        found
    }

    fn spec_of(&self, key: &Key, frontend: &Frontend, aliases: &[Alias], report: &mut Report) -> RouteSpec {
        let prefix = key.prefix;
        let backend = self.backend(prefix, &frontend.backend_id);
        if backend.is_none() && self.servers(prefix, &frontend.backend_id).is_empty() {
            report.add(key, format!("there is no backend {:?}", frontend.backend_id));
        }
        let (middlewares, refuse) = match self.protections(prefix, &frontend.id) {
            Ok(middlewares) => (middlewares, None),
            Err(reason) => (Vec::new(), Some(reason)),
        };
        if let Some(reason) = &refuse {
            report.add(key, format!("{reason}; requests are refused with 503"));
        }
        RouteSpec {
            id: route_id(&frontend.id),
            rule: rule(key, frontend, aliases, report),
            pass_host_header: frontend.settings.pass_host_header,
            trust_forward_header: frontend.settings.trust_forward_header,
            forwarded_server: frontend.settings.hostname.clone(),
            failover_predicate: frontend.settings.failover_predicate.clone(),
            body_bytes_max: u64::try_from(frontend.settings.limits.max_body_bytes).unwrap_or(0),
            dial_timeout: backend.and_then(|backend| backend.dial_timeout().ok().flatten()),
            handshake_timeout: backend.and_then(|backend| backend.handshake_timeout().ok().flatten()),
            head_timeout: backend.and_then(|backend| backend.read_timeout().ok().flatten()),
            refuse,
            balance: balance(frontend),
            middlewares,
            server_tls: backend.and_then(|backend| backend.tls().ok()).map(|(tls, _)| tls).unwrap_or_default(),
            ..RouteSpec::default()
        }
    }

    /// What is asked to be done to a frontend's requests, or why it cannot be done: one that never could be read was asked
    /// for all the same.
    fn protections(&self, prefix: Prefix, frontend: &str) -> Result<Vec<Value>, String> {
        let (mut good, mut unreadable) = (Vec::new(), Vec::new());
        for (key, entry) in self.middlewares(prefix, frontend) {
            let Kind::Middleware { id, .. } = &key.kind else { continue };
            match &entry.good {
                Some(Object::Middleware(middleware)) => good.push(middleware.value()),
                _ => unreadable.push(format!("{id:?}")),
            }
        }
        match good.len() + unreadable.len() {
            count if count > MIDDLEWARES_MAX => Err(format!("{count} middlewares, more than {MIDDLEWARES_MAX}")),
            _ if unreadable.is_empty() => Ok(good),
            _ => Err(format!("middlewares that cannot be read: {}", unreadable.join(", "))),
        }
    }
}

/// As vulcand balances: servers that err get fewer requests. vulcand keeps every body; here that has to be asked for.
fn balance(frontend: &Frontend) -> BalanceSpec {
    let memory_bytes =
        u32::try_from(frontend.settings.limits.max_mem_body_bytes.clamp(0, BufferSpec::MEMORY_BYTES_MAX.into()));
    let memory_bytes = memory_bytes.unwrap_or(0);
    let keeps_bodies = memory_bytes > 0 && !frontend.settings.stream;
    let buffer = keeps_bodies.then_some(BufferSpec { memory_bytes });
    BalanceSpec { rebalance: true, buffer, ..BalanceSpec::default() }
}

/// The frontend's rule and its aliases; without them where one makes it no rule any more.
fn rule(key: &Key, frontend: &Frontend, aliases: &[Alias], report: &mut Report) -> String {
    let rule = with_aliases(&frontend.route, aliases);
    if rule == frontend.route {
        return rule;
    }
    match Expression::parse(&rule) {
        Ok(_) => rule,
        Err(error) => {
            report.add(key, format!("it serves without its aliases, which make it {rule:?}: {error}"));
            frontend.route.clone()
        }
    }
}
