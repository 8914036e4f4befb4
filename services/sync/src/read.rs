//! Reading everything a pass needs: the mapping, Marathon's apps, the servers there are.

mod marathon;

pub use marathon::{Marathon, MarathonError};

use crate::keys::{Entry, Keys};
use crate::plan::{Mapping, Reading, Seen};
use crate::{Error, KeysError};
use std::collections::{BTreeMap, BTreeSet};

/// Fails when the mapping, the servers or the list of apps cannot be read: then nothing is known, and nothing is done.
/// A single app that cannot be read is merely unknown.
pub async fn everything(marathon: &Marathon, keys: &dyn Keys, root_key: &str) -> Result<Seen, Error> {
    let mappings = mappings(root_key, &keys.list(root_key).await?);
    let listed = marathon.list().await?;
    let mut apps = BTreeMap::new();
    for app in mappings.keys() {
        let reading = match marathon.app(app).await {
            // Not found while the list has it: it came or went between the two reads.
            Ok(Reading::Absent) if listed.contains(app) => Reading::Unknown,
            Ok(reading) => reading,
            Err(error) => {
                let error = lifecycle::ErrorChain(&error).to_string();
                tracing::warn!(app, error, "Marathon does not tell of this app; its servers stay as they are");
                Reading::Unknown
            }
        };
        apps.insert(app.clone(), reading);
    }
    let mut servers = BTreeMap::new();
    let backends: BTreeSet<&String> = mappings.values().filter_map(|mapping| mapping.backend.as_ref()).collect();
    for backend in backends {
        servers.insert(backend.clone(), servers_of(keys, backend).await?);
    }
    Ok(Seen { mappings, listed, apps, servers })
}

async fn servers_of(keys: &dyn Keys, backend: &str) -> Result<BTreeMap<String, String>, KeysError> {
    let prefix = vulcand::Key::servers_prefix(backend);
    let entries = keys.list(prefix.trim_end_matches('/')).await?;
    let server = |entry: Entry| {
        let name = entry.key.strip_prefix(&prefix)?.to_owned();
        (!name.contains('/')).then_some((name, entry.value?))
    };
    Ok(entries.into_iter().filter_map(server).collect())
}

/// `<root>/<app>/frontend` and `<root>/<app>/backend`; an app may have a path of several segments.
fn mappings(root_key: &str, entries: &[Entry]) -> BTreeMap<String, Mapping> {
    let prefix = format!("{}/", root_key.trim_end_matches('/'));
    let mut mappings: BTreeMap<String, Mapping> = BTreeMap::new();
    for entry in entries {
        let Some(path) = entry.key.strip_prefix(&prefix) else { continue };
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        match (segments.as_slice(), &entry.value) {
            ([app @ .., leaf @ ("frontend" | "backend")], Some(value)) if !app.is_empty() => {
                let mapping = mappings.entry(app.join("/")).or_default();
                let value = Some(value.trim().to_owned()).filter(|name| is_name(name));
                *if *leaf == "frontend" { &mut mapping.frontend } else { &mut mapping.backend } = value;
            }
            // An empty directory: an app that was mapped to nothing yet.
            (app, None) if !app.is_empty() => drop(mappings.entry(app.join("/")).or_default()),
            _ => {}
        }
    }
    mappings
}

/// What can be one segment of vulcand's keys.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_are_read_at_any_depth() {
        let entry = |key: &str, value: Option<&str>| Entry { key: key.into(), value: value.map(str::to_owned) };
        let entries = [
            entry("/mesos-vulcan/s3pics/frontend", Some("f1")),
            entry("/mesos-vulcan/s3pics/backend", Some("b1\n")),
            entry("/mesos-vulcan/shop/web/backend", Some("b2")),
            entry("/mesos-vulcan/empty", None),
            entry("/mesos-vulcan/bad/backend", Some("a/b")),
            entry("/mesos-vulcan/backend", Some("nobody's")),
            entry("/elsewhere/x/backend", Some("b3")),
        ];
        let mappings = mappings("/mesos-vulcan", &entries);
        let apps: Vec<&str> = mappings.keys().map(String::as_str).collect();
        assert_eq!(apps, ["bad", "empty", "s3pics", "shop/web"]);
        assert_eq!(mappings["s3pics"], Mapping { frontend: Some("f1".into()), backend: Some("b1".into()) });
        assert_eq!(mappings["shop/web"], Mapping { frontend: None, backend: Some("b2".into()) });
        assert_eq!((&mappings["bad"], &mappings["empty"]), (&Mapping::default(), &Mapping::default()));
    }
}
