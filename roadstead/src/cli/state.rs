//! `roadstead backup` and `roadstead restore`: the state, the tokens and the authority, in one file.

use super::connection::Connection;
use super::output::Output;
use crate::cluster::{self, Membership, Others};
use crate::config::ConfigError;
use anyhow::{Context, bail};
use identity::{Authority, Ca, Role, SealKey};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, Cursor, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use store::dump::{self, Existing};
use store::{ClientCredentials, Embedded, EtcdClient};

pub const BACKUP_EXAMPLES: &str = "Example: roadstead backup /srv/backup/$(date +%F).roadstead

The file holds secrets. Objects are not in it: copy them with any S3 tool.";
pub const RESTORE_EXAMPLES: &str = "Examples:
  roadstead restore backup.roadstead --data /var/lib/roadstead
  roadstead up --data /var/lib/roadstead                        on one machine
  roadstead up --data /var/lib/roadstead --address 10.0.0.11    as the first of a cluster";

/// The state, inside the file.
const STATE: &str = "state";
/// What goes with it, relative to the data directory; a machine that was never of a cluster has no authority for certificates.
/// Without the seal key the private keys in the state could be read by nobody.
const FILES: [&str; 4] = ["identity/authority.toml", "identity/ca.pem", "identity/ca.key", "identity/seal.key"];
/// Where the store is while it is restored.
const RESTORING: &str = "store.restoring";
/// One of those files.
const FILE_BYTES_MAX: u64 = 1 << 20;

#[derive(clap::Args)]
pub struct Backup {
    /// The file to write; it must not be there
    file: PathBuf,
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    output: Output,
}

#[derive(clap::Args)]
pub struct Restore {
    /// What `roadstead backup` wrote
    file: PathBuf,
    /// The data directory to make; it must not hold a platform
    #[arg(long, env = "ROADSTEAD_DATA", default_value = crate::config::DATA_DEFAULT)]
    data: PathBuf,
    #[command(flatten)]
    output: Output,
}

pub async fn backup(backup: Backup) -> anyhow::Result<()> {
    let data = backup.connection.data();
    let store = open_state(&backup.connection).await?;
    if backup.file.try_exists()? {
        bail!("{} is there already", backup.file.display());
    }
    // What bears the name is whole.
    let beside = backup.file.with_added_extension("part");
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(&beside);
    let file = file.with_context(|| format!("make {}", beside.display()))?;
    let mut archive = tar::Builder::new(file);
    let mut state = Vec::new();
    let summary = dump::export(&store, &mut state).await.context("read the state")?;
    append(&mut archive, STATE, &state)?;
    for name in FILES {
        match fs::read(data.join(name)) {
            Ok(bytes) => append(&mut archive, name, &bytes)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("read {}", data.join(name).display())),
        }
    }
    let mut file = archive.into_inner().context("end the archive")?;
    file.flush()?;
    file.sync_all().with_context(|| format!("write {}", beside.display()))?;
    fs::rename(&beside, &backup.file).with_context(|| format!("name {}", backup.file.display()))?;
    let text = format!("{} keys at revision {}: {}", summary.keys, summary.revision, backup.file.display());
    backup.output.say(&text, &json!({ "keys": summary.keys, "revision": summary.revision, "file": backup.file }))
}

pub async fn restore(restore: Restore) -> anyhow::Result<()> {
    let data = &restore.data;
    let restoring = data.join(RESTORING);
    for there in [Authority::path(data), Membership::path(data), data.join("store"), restoring.clone()] {
        if there.try_exists()? {
            bail!("{} is there already: restore makes a new data directory", there.display());
        }
    }
    let held = Held::read(&restore.file)?;
    // All of it is checked before anything is made.
    let mut state = Cursor::new(held.state);
    dump::verify(&mut state).await.with_context(|| format!("{} holds no state", restore.file.display()))?;
    state.set_position(0);

    cluster::make_directory(data)?;
    let store = Embedded::open(restoring.clone()).await.context("make the store")?;
    let keys = dump::import(&store, &mut state, Existing::Refuse).await.context("write the state")?.keys;
    cluster::state::forget_machines(&store).await?;
    if let Some(ca) = held.ca {
        ca.save(&data.join("identity"))?;
    }
    if let Some(seal_key) = held.seal_key {
        seal_key.write(&cluster::seal_key_path(data))?;
    }
    held.authority.save(data)?;
    drop(store);
    // Last: without it `up` starts nothing here.
    fs::rename(&restoring, data.join("store")).context("name the store")?;
    let text = format!("{keys} keys restored; go on with `roadstead up --data {}`", data.display());
    restore.output.say(&text, &json!({ "keys": keys, "data": data }))
}

/// A restore that was cut off left half a platform.
pub fn refuse_half_restored(data: &Path) -> anyhow::Result<()> {
    let restoring = data.join(RESTORING);
    if restoring.try_exists()? {
        bail!("a restore into {} was cut off: remove that directory and restore again", data.display());
    }
    Ok(())
}

/// What a backup holds.
struct Held {
    state: Vec<u8>,
    authority: Authority,
    ca: Option<Ca>,
    seal_key: Option<SealKey>,
}

impl Held {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
        let mut archive = tar::Archive::new(BufReader::new(file));
        let mut parts: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let cut_off = || format!("{} is cut off, or not what `roadstead backup` writes", path.display());
        for entry in archive.entries().with_context(cut_off)? {
            let entry = entry.with_context(cut_off)?;
            let name = entry.path().with_context(cut_off)?.to_string_lossy().into_owned();
            let bytes_max = match name.as_str() {
                STATE => u64::MAX,
                name if FILES.contains(&name) => FILE_BYTES_MAX,
                _ => bail!("{} is not what `roadstead backup` writes: it holds `{name}`", path.display()),
            };
            let mut bytes = Vec::new();
            entry.take(bytes_max).read_to_end(&mut bytes).with_context(cut_off)?;
            parts.insert(name, bytes);
        }
        let mut part = |name: &str| parts.remove(name);
        let text = |bytes| String::from_utf8(bytes).with_context(cut_off);
        let state = part(STATE).with_context(|| format!("{} is cut off: it holds no state", path.display()))?;
        let [authority, ca_pem, ca_key, seal_key] = FILES.map(&mut part);
        let authority = authority.with_context(|| format!("{} holds no tokens", path.display()))?;
        let ca = match (ca_pem, ca_key) {
            (Some(certificate), Some(key)) => Some(Ca::from_pem(&text(certificate)?, &text(key)?)?),
            (None, None) => None,
            _ => bail!("{} is cut off: it holds half of an authority", path.display()),
        };
        let seal_key = seal_key.map(|key| SealKey::from_file_bytes(&key)).transpose()?;
        Ok(Self { state, authority: Authority::from_toml(&text(authority)?)?, ca, seal_key })
    }
}

fn append(archive: &mut tar::Builder<File>, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o600);
    archive.append_data(&mut header, Path::new(name), bytes).context("write the archive")
}

/// A machine that keeps no state has no administrator's certificate, and no authority to save.
fn only_where_state_is(data: &Path) -> anyhow::Result<ConfigError> {
    let others = Others::read(&Others::path(data))?;
    let hosts: Vec<&str> = others.controllers.iter().filter_map(|url| host_of(url)).collect();
    Ok(ConfigError::Usage(format!(
        "this machine keeps no part of the cluster's state: run `roadstead backup FILE` on one that does ({})",
        hosts.join(", ")
    )))
}

/// Of `https://HOST:PORT`.
fn host_of(url: &str) -> Option<&str> {
    Some(url.strip_prefix("https://")?.rsplit_once(':')?.0)
}

/// The state of the platform on this machine, for its administrator.
async fn open_state(connection: &Connection) -> anyhow::Result<EtcdClient> {
    let data = connection.data();
    if let Some(membership) = Membership::read(data)? {
        if !membership.keeps_state {
            return Err(only_where_state_is(data)?.into());
        }
        return cluster::state::administrator(data);
    }
    let endpoint = format!("http://{}", connection.addresses()?.store);
    let token = connection.authority()?.token(Role::Admin).clone();
    Ok(EtcdClient::connect(&[endpoint], ClientCredentials::Token(token), None)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_state_names_those_that_can_be_backed_up() {
        let data = tempfile::tempdir().unwrap();
        let controllers = ["https://10.0.0.1:8081", "https://[fd99::2]:8081"].map(str::to_owned).into();
        Others { controllers, ..Others::default() }.write(&Others::path(data.path())).unwrap();
        let told = only_where_state_is(data.path()).unwrap().to_string();
        assert!(told.ends_with("run `roadstead backup FILE` on one that does (10.0.0.1, [fd99::2])"), "{told}");
    }
}
