//! What must change, from what was seen. Pure; the only memory is which apps were doubted last time.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Reads in a row that must agree before what an app had is removed on the strength of its absence.
const ABSENCES_NEEDED: u32 = 2;

/// Everything one pass has read. Apps are named without their leading slash.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub mappings: BTreeMap<String, Mapping>,
    /// In Marathon's order.
    pub listed: Vec<String>,
    /// What Marathon says of the mapped apps.
    pub apps: BTreeMap<String, Reading>,
    /// Per backend, the names of its servers and their values.
    pub servers: BTreeMap<String, BTreeMap<String, String>>,
}

/// What the operator has said an app is served by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    pub frontend: Option<String>,
    pub backend: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    App {
        instances: u64,
        tasks: Vec<Task>,
    },
    /// A well-formed list does not have it, and neither does its own address.
    Absent,
    /// Marathon did not answer, or not in a way that can be understood.
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// `None` for a task without ports.
    pub endpoint: Option<Endpoint>,
    /// Running, and healthy if it has checks.
    pub is_ready: bool,
}

/// Where a task listens. As a server's name: `host-port`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    pub host: String,
    pub port: u16,
}

impl Endpoint {
    /// `None` for a host that cannot be one: it would become a key and a URL.
    pub fn new(host: &str, port: u16) -> Option<Self> {
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':');
        let is_valid = !host.is_empty() && host.len() <= 253 && host.bytes().all(is_host) && port != 0;
        is_valid.then(|| Self { host: host.to_owned(), port })
    }

    /// Reads a server's name; `None` for one that this tool does not make.
    pub fn parse(name: &str) -> Option<Self> {
        let (host, port) = name.rsplit_once('-')?;
        let endpoint = Self::new(host, port.parse().ok()?)?;
        (endpoint.to_string() == name).then_some(endpoint)
    }

    /// vulcand's JSON, as the author's tool wrote it.
    pub fn value(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let server = vulcand::Server::new(self.to_string(), format!("http://{host}:{}", self.port));
        serde_json::to_string(&server).expect("two texts are always JSON")
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.host, self.port)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In the order the author's tool tells them.
    pub steps: Vec<Step>,
    /// A further read may settle what was doubted.
    pub is_in_doubt: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A mapping without a backend.
    Unchecked {
        app: String,
    },
    Keep {
        app: String,
        server: Endpoint,
    },
    Remove {
        app: String,
        backend: String,
        server: Endpoint,
        before: String,
    },
    /// `before`: its value now, when there is one.
    Put {
        app: String,
        frontend: String,
        backend: String,
        server: Endpoint,
        before: Option<String>,
    },
    /// An app without a complete mapping.
    Unconfigured {
        app: String,
    },
}

impl Step {
    /// Whether anything will be different.
    pub fn is_change(&self) -> bool {
        match self {
            Self::Remove { .. } => true,
            Self::Put { server, before, .. } => before.as_ref() != Some(&server.value()),
            Self::Unchecked { .. } | Self::Keep { .. } | Self::Unconfigured { .. } => false,
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct Planner {
    /// How often in a row an app was seen to be absent.
    absences: BTreeMap<String, u32>,
}

impl Planner {
    pub fn plan(&mut self, seen: &Seen) -> Plan {
        self.count_absences(seen);
        let mut steps = Vec::new();
        let mut checked = BTreeSet::new();
        for (app, mapping) in &seen.mappings {
            match &mapping.backend {
                None => steps.push(Step::Unchecked { app: app.clone() }),
                Some(backend) if checked.insert(backend) => self.check(seen, app, backend, &mut steps),
                Some(_) => {}
            }
        }
        for app in &seen.listed {
            add(seen, app, &mut steps);
        }
        let is_in_doubt = self.absences.values().any(|absences| *absences < ABSENCES_NEEDED);
        Plan { steps, is_in_doubt }
    }

    fn count_absences(&mut self, seen: &Seen) {
        let is_absent = |app: &String| match seen.apps.get(app) {
            Some(Reading::Absent) => true,
            Some(Reading::App { instances, tasks }) => *instances > 0 && tasks.is_empty(),
            Some(Reading::Unknown) | None => false,
        };
        self.absences.retain(|app, _| is_absent(app));
        for app in seen.mappings.keys().filter(|app| is_absent(app)) {
            let absences = self.absences.entry(app.clone()).or_default();
            *absences = absences.saturating_add(1);
        }
    }

    /// The servers of a backend: those of tasks that exist stay, the others go once nothing about its apps is in doubt.
    fn check(&self, seen: &Seen, first: &str, backend: &str, steps: &mut Vec<Step>) {
        let sharing: Vec<&String> = seen
            .mappings
            .iter()
            .filter(|(_, mapping)| mapping.backend.as_deref() == Some(backend))
            .map(|(app, _)| app)
            .collect();
        let is_certain = sharing.iter().all(|app| self.is_certain(seen, app));
        for (name, before) in seen.servers.get(backend).into_iter().flatten() {
            let Some(server) = Endpoint::parse(name) else { continue };
            let owner = sharing.iter().find(|app| tasks(seen, app).any(|task| task.endpoint.as_ref() == Some(&server)));
            if let Some(app) = owner {
                steps.push(Step::Keep { app: (*app).clone(), server });
            } else if is_certain {
                let before = before.clone();
                steps.push(Step::Remove { app: first.to_owned(), backend: backend.to_owned(), server, before });
            }
        }
    }

    fn is_certain(&self, seen: &Seen, app: &str) -> bool {
        match seen.apps.get(app) {
            None | Some(Reading::Unknown) => false,
            Some(_) => self.absences.get(app).is_none_or(|absences| *absences >= ABSENCES_NEEDED),
        }
    }
}

fn tasks<'a>(seen: &'a Seen, app: &str) -> impl Iterator<Item = &'a Task> + use<'a> {
    let tasks = match seen.apps.get(app) {
        Some(Reading::App { tasks, .. }) => tasks.as_slice(),
        _ => &[],
    };
    tasks.iter()
}

/// The ready tasks of a listed app become servers.
fn add(seen: &Seen, app: &str, steps: &mut Vec<Step>) {
    let mapping = seen.mappings.get(app).cloned().unwrap_or_default();
    let (Some(frontend), Some(backend)) = (mapping.frontend, mapping.backend) else {
        steps.push(Step::Unconfigured { app: app.to_owned() });
        return;
    };
    let mut added = BTreeSet::new();
    for task in tasks(seen, app).filter(|task| task.is_ready) {
        let Some(server) = task.endpoint.clone() else { continue };
        if added.insert(server.clone()) {
            let before = seen.servers.get(&backend).and_then(|servers| servers.get(&server.to_string())).cloned();
            let (frontend, backend) = (frontend.clone(), backend.clone());
            steps.push(Step::Put { app: app.to_owned(), frontend, backend, server, before });
        }
    }
}

#[cfg(test)]
mod tests;
