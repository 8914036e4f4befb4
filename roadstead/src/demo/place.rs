//! The demo's data directory: a kept one, or a temporary one that goes with the demo. A demo that was killed leaves its
//! own behind; the next one sweeps it.

use anyhow::Context;
use nix::fcntl::{Flock, FlockArg};
use std::fs::File;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const PREFIX: &str = "roadstead-demo-";
/// Locked while its demo lives.
const LOCK: &str = "demo.lock";

pub enum Place {
    Kept(PathBuf),
    // In this order they go: the directory, then the lock that says whose it is.
    Temporary { directory: TempDir, _lock: Flock<File> },
}

impl Place {
    pub fn of(data: Option<PathBuf>) -> anyhow::Result<Self> {
        let Some(path) = data else { return Self::temporary(&std::env::temp_dir()) };
        std::fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
        Ok(Self::Kept(path.canonicalize()?))
    }

    pub fn path(&self) -> PathBuf {
        match self {
            Self::Kept(path) => path.clone(),
            Self::Temporary { directory, .. } => directory.path().to_owned(),
        }
    }

    fn temporary(parent: &Path) -> anyhow::Result<Self> {
        sweep(parent);
        let directory = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent);
        let directory = directory.context("make a temporary directory")?;
        let lock = File::create(directory.path().join(LOCK)).context("make the demo's lock")?;
        let lock = lock_now(lock).context("a new directory's lock is free")?;
        Ok(Self::Temporary { directory, _lock: lock })
    }
}

/// Removes the directories of demos that are no more. One that is another user's, or just being made, stays.
fn sweep(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_demo = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if is_demo
            && File::open(path.join(LOCK)).ok().and_then(lock_now).is_some()
            && let Err(error) = std::fs::remove_dir_all(&path)
        {
            tracing::debug!(path = %path.display(), %error, "sweep a dead demo's directory");
        }
    }
}

fn lock_now(file: File) -> Option<Flock<File>> {
    Flock::lock(file, FlockArg::LockExclusiveNonblock).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_demos_directory_is_swept_and_a_living_ones_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let dead = parent.path().join("roadstead-demo-dead");
        std::fs::create_dir(&dead).unwrap();
        std::fs::write(dead.join(LOCK), "").unwrap();
        let living = Place::temporary(parent.path()).unwrap();
        assert!(!dead.exists());
        let another = Place::temporary(parent.path()).unwrap();
        assert!(living.path().exists() && another.path().exists());
        drop(living);
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 1);
    }
}
