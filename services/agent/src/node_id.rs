//! The id of this node: chosen once, kept for good. The controller knows tasks by the node they are on.

use crate::{Config, Error};
use std::fs;
use std::io;

const NODE_ID_BYTES_MAX: usize = 128;

/// The id to use, written down if it was not yet.
pub(crate) fn keep(config: &Config) -> Result<String, Error> {
    let path = config.data.join("node-id");
    let failed = |what| {
        let path = path.clone();
        move |source| Error::File { what, path, source }
    };
    let kept = match fs::read_to_string(&path) {
        Ok(kept) => Some(kept.trim().to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed("read")(error)),
    };
    let id = match (&config.node_id, kept) {
        (Some(given), _) => given.clone(),
        (None, Some(kept)) => kept,
        (None, None) => fresh(&config.hostname)?,
    };
    if !well_formed(&id) {
        return Err(Error::NodeId { id });
    }
    fs::create_dir_all(&config.data).map_err(failed("make the directory of"))?;
    let temporary = path.with_extension("new");
    fs::write(&temporary, &id).and_then(|()| fs::rename(&temporary, &path)).map_err(failed("write"))?;
    Ok(id)
}

/// The host's name for people, random digits against its twin.
fn fresh(hostname: &str) -> Result<String, Error> {
    let mut bits = [0; 4];
    let random = getrandom::fill(&mut bits);
    random.map_err(|error| Error::File {
        what: "draw",
        path: "a random node id".into(),
        source: io::Error::other(error),
    })?;
    let name: String = hostname.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(40).collect();
    Ok(format!("{}-{:08x}", if name.is_empty() { "node" } else { &name }, u32::from_be_bytes(bits)))
}

fn well_formed(id: &str) -> bool {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    !id.is_empty() && id.len() <= NODE_ID_BYTES_MAX && id.chars().all(safe)
}
