//! Whether this machine was removed from its cluster, as far as it knows: its member of the state heard so, or the list of
//! revoked certificates names its own. Then it signs nothing for itself and asks for nothing any more.

use super::credentials;
use identity::Role;
use identity::private_file::{self, FileError};
use std::path::{Path, PathBuf};

/// Refused to whoever knows that it was removed.
#[derive(Debug, thiserror::Error)]
#[error(
    "this machine was removed from its cluster: stop it; to join again, make a token on a machine of the cluster \
     (`roadstead node token`), remove {0}, and run `roadstead join TOKEN --address A --data {0}`",
    data.display()
)]
pub struct Removed {
    pub data: PathBuf,
}

/// What its member of the state heard is kept for the supervisor, and for the next start.
pub fn note(data: &Path) -> Result<(), FileError> {
    private_file::write(&note_path(data), "")
}

pub fn refuse(data: &Path) -> Result<(), Removed> {
    // A list that cannot be read says nothing.
    let is_revoked = || credentials::files(data, Role::Node).is_revoked().unwrap_or(false);
    if note_path(data).exists() || is_revoked() { Err(Removed { data: data.to_owned() }) } else { Ok(()) }
}

fn note_path(data: &Path) -> PathBuf {
    data.join("removed")
}
