//! The last good table on disk: what an edge serves that starts while the store is away.
//!
//! One file, replaced whole: a line of text, then JSON.
//!
//! ```text
//! roadstead-table 0 <CRC-32C of the JSON, 8 hexadecimal digits>
//! {"cluster_id":…,"revision":…,"held":[…],"routes":[…],"listeners":[…],"certificates":[…]}
//! ```
//!
//! Routes are kept as they are served, so that a document whose last value was invalid comes back with its last good one.
//! Writing is behind serving by [`KEEP_INTERVAL`], or [`KEEP_REST`] times as long as it takes; nothing waits for it. A file
//! that is torn, too large or of another version is no table. Middlewares have secrets, so only its owner may read it.
//!
//! The table says which revision it is of, and so does the edge to the controller: no request goes to a server that is not
//! in it, which is all that the controller reads from the word.

use crate::certificates::KeptCertificate;
use crate::current::{Current, Draft, Routes, Snapshot};
use crate::limits::{KEEP_INTERVAL, KEEP_REST, KEPT_BYTES_MAX};
use crate::sources::Source;
use identity::private_file;
use lifecycle::{BoxError, ErrorChain};
use routing::{ListenerTls, Route, RouteSpec};
use serde::{Deserialize, Deserializer, Serialize};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use store::Revision;
use vulcand::{ListenerSpec, ProxyHeader};

const MAGIC: &str = "roadstead-table 0 ";
/// In the edge's data directory.
const FILE: &str = "table";

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct KeptTable {
    cluster_id: u64,
    revision: Revision,
    /// Which sources had keys, in the order of [`Source::ALL`].
    #[serde(deserialize_with = "held")]
    pub held: [bool; Source::ALL.len()],
    routes: Vec<RouteSpec>,
    listeners: Vec<KeptListener>,
    /// Their private keys are sealed.
    #[serde(default)]
    pub certificates: Vec<KeptCertificate>,
}

#[derive(Debug, Serialize, Deserialize)]
struct KeptListener {
    id: String,
    address: SocketAddr,
    scope: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tls: Option<ListenerTls>,
    #[serde(default)]
    proxy: ProxyHeader,
}

/// Where the table is kept.
#[derive(Clone, Debug)]
pub(crate) struct Kept(PathBuf);

impl Kept {
    /// Makes the directory.
    pub fn open(data: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(data)?;
        Ok(Self(data.join(FILE)))
    }

    /// Nothing, when there is no file, or none that can be trusted.
    pub fn read(&self) -> Option<KeptTable> {
        match read(&self.0) {
            Ok(table) => table,
            Err(error) => {
                let path = self.0.display();
                tracing::warn!(%path, error = %ErrorChain(&*error), "the kept table cannot be read");
                None
            }
        }
    }

    /// Keeps every table that came from the store, until `current` is gone.
    pub async fn keep(self, current: Arc<Current>) {
        let mut changes = current.changes();
        let mut kept = None;
        loop {
            changes.borrow_and_update();
            let snapshot = current.load();
            if snapshot.loaded && !snapshot.stale && kept != Some(snapshot.number()) {
                kept = Some(snapshot.number());
                let path = self.0.clone();
                let start = Instant::now();
                let written = tokio::task::spawn_blocking(move || write(&path, &KeptTable::of(&snapshot))).await;
                let failed = match written {
                    Ok(Ok(())) => None,
                    Ok(Err(error)) => Some(error),
                    Err(error) => Some(error.into()),
                };
                if let Some(error) = failed {
                    tracing::warn!(path = %self.0.display(), error = %ErrorChain(&*error), "the table is not kept");
                    // The next sign of the store tries again.
                    kept = None;
                }
                tokio::time::sleep(KEEP_INTERVAL.max(start.elapsed() * KEEP_REST)).await;
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}

impl KeptTable {
    fn of(snapshot: &Snapshot) -> Self {
        let listener = |spec: &ListenerSpec| KeptListener {
            id: spec.id.clone(),
            address: spec.address,
            scope: spec.scope.clone(),
            tls: spec.tls.clone(),
            proxy: spec.proxy,
        };
        Self {
            cluster_id: snapshot.cluster_id,
            revision: snapshot.revision(),
            held: snapshot.held,
            routes: snapshot.table.routes().iter().map(|route| route.spec()).collect(),
            listeners: snapshot.listeners.iter().map(listener).collect(),
            certificates: snapshot.certificates.iter().map(|certificate| certificate.kept()).collect(),
        }
    }

    /// The table as it serves; a route that this version cannot read any more is left out.
    pub fn into_draft(self) -> Draft {
        let compile = |spec: RouteSpec| {
            let id = spec.id.clone();
            let route = Route::compile(spec).map(Arc::new);
            route
                .inspect_err(|error| tracing::warn!(route = id, error = %ErrorChain(error), "kept route left out"))
                .ok()
        };
        let listener = |kept: KeptListener| ListenerSpec {
            id: kept.id,
            address: kept.address,
            scope: kept.scope,
            tls: kept.tls,
            proxy: kept.proxy,
        };
        Draft {
            loaded: true,
            stale: true,
            cluster_id: self.cluster_id,
            revision: self.revision,
            held: self.held,
            routes: Routes::All(self.routes.into_iter().filter_map(compile).collect()),
            listeners: self.listeners.into_iter().map(listener).collect(),
            certificates: Arc::default(),
            problems: Arc::default(),
        }
    }
}

/// A release before this one may have known fewer sources.
fn held<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[bool; Source::ALL.len()], D::Error> {
    let mut held = [false; Source::ALL.len()];
    let known = Vec::<bool>::deserialize(deserializer)?;
    held.iter_mut().zip(known).for_each(|(place, held)| *place = held);
    Ok(held)
}

fn read(path: &Path) -> Result<Option<KeptTable>, BoxError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut bytes = Vec::new();
    file.take(KEPT_BYTES_MAX).read_to_end(&mut bytes)?;
    parse(&bytes).map(Some)
}

fn parse(bytes: &[u8]) -> Result<KeptTable, BoxError> {
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or("it ends within its first line")?;
    let (head, json) = (std::str::from_utf8(&bytes[..end])?, &bytes[end + 1..]);
    let checksum = head.strip_prefix(MAGIC).ok_or("it is not a table of this version")?;
    if u32::from_str_radix(checksum, 16)? != crc32c::crc32c(json) {
        return Err("its checksum does not match".into());
    }
    Ok(serde_json::from_slice(json)?)
}

fn write(path: &Path, table: &KeptTable) -> Result<(), BoxError> {
    let json = serde_json::to_vec(table)?;
    let mut file = format!("{MAGIC}{:08x}\n", crc32c::crc32c(&json)).into_bytes();
    file.extend_from_slice(&json);
    if file.len() as u64 > KEPT_BYTES_MAX {
        return Err(format!("it has more than {KEPT_BYTES_MAX} bytes").into());
    }
    Ok(private_file::write(path, file)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use proptest::prelude::*;

    fn table() -> KeptTable {
        let servers = vec![("s".into(), "http://127.0.0.1:1".into(), 3)];
        let spec = RouteSpec { id: "a".into(), rule: "Host(`a`)".into(), servers, ..RouteSpec::default() };
        let address = SocketAddr::from(([127, 0, 0, 1], 81));
        let listeners =
            vec![KeptListener { id: "l".into(), address, scope: String::new(), tls: None, proxy: ProxyHeader::V1 }];
        let routes = vec![Route::compile(spec).unwrap().spec()];
        KeptTable {
            cluster_id: 7,
            revision: 42,
            held: [true, false, true, false, false],
            routes,
            listeners,
            certificates: Vec::new(),
        }
    }

    #[test]
    fn a_table_comes_back_as_it_was_and_stale() {
        let directory = tempfile::tempdir().unwrap();
        let kept = Kept::open(&directory.path().join("edge")).unwrap();
        assert!(kept.read().is_none());
        let (current, metrics) = (Current::new(), Metrics::new(Arc::default()));
        current.publish(table().into_draft(), |route| metrics.of_route(route));
        write(&kept.0, &KeptTable::of(&current.load())).unwrap();
        let draft = kept.read().unwrap().into_draft();
        assert!(draft.loaded && draft.stale);
        assert_eq!((draft.cluster_id, draft.revision, draft.held), (7, 42, [true, false, true, false, false]));
        let Routes::All(routes) = draft.routes else { panic!("all routes") };
        assert_eq!((routes[0].id.as_str(), routes[0].servers[0].weight), ("a", 3));
        assert_eq!((draft.listeners[0].address.port(), draft.listeners[0].proxy), (81, ProxyHeader::V1));
    }

    #[test]
    fn a_file_that_grew_too_large_is_no_table() {
        let directory = tempfile::tempdir().unwrap();
        let kept = Kept::open(directory.path()).unwrap();
        File::create(&kept.0).unwrap().set_len(KEPT_BYTES_MAX + 1).unwrap();
        assert!(kept.read().is_none());
    }

    proptest! {
        #[test]
        fn a_torn_or_flipped_file_is_no_table(cut in any::<prop::sample::Index>(), flip in any::<prop::sample::Index>()) {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join(FILE);
            write(&path, &table()).unwrap();
            let bytes = std::fs::read(&path).unwrap();
            prop_assert!(parse(&bytes).is_ok());
            prop_assert!(parse(&bytes[..cut.index(bytes.len())]).is_err());
            let mut flipped = bytes.clone();
            flipped[flip.index(bytes.len())] ^= 0x01;
            prop_assert!(parse(&flipped).is_err());
        }
    }
}
