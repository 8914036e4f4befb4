//! Applies one layer's tar to the root.

use super::archive::{self, Head, Kind};
use super::jail::{self, Place};
use super::{Options, Ownership, UnpackError};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A file of this prefix hides the name that follows (image specification, "Whiteouts").
const WHITEOUT: &[u8] = b".wh.";
/// Hides everything that lower layers put into its directory.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Other names of this prefix are AUFS' own affairs and are skipped.
const AUFS: &[u8] = b".wh..wh.";

pub fn apply(tar: impl Read, root: &Path, options: &Options) -> Result<u64, UnpackError> {
    let mut layer = Layer { root, options, made: BTreeSet::new(), directory_modes: BTreeMap::new() };
    let records = archive::for_each(tar, options.limits, |head, content| layer.put(head, content))?;
    layer.finish()?;
    Ok(records)
}

struct Layer<'a> {
    root: &'a Path,
    options: &'a Options,
    /// What this layer itself put: an opaque whiteout hides lower layers only, wherever in the tar it stands.
    made: BTreeSet<PathBuf>,
    /// Directories get their mode at the end: one without write permission must still be filled.
    directory_modes: BTreeMap<PathBuf, u32>,
}

impl Layer<'_> {
    fn put(&mut self, head: Head, content: &mut dyn Read) -> Result<(), UnpackError> {
        let Some(place) = jail::place(self.root, &head.path)? else {
            self.directory_modes.insert(self.root.to_owned(), head.mode);
            return self.own(self.root, &head);
        };
        let name = place.name.as_bytes();
        if name == OPAQUE {
            return self.clear(&place.parent);
        }
        if name.starts_with(AUFS) {
            return Ok(());
        }
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            if matches!(hidden, b"" | b"." | b"..") {
                return Err(UnpackError::Entry { path: head.path, why: "is a whiteout of nothing" });
            }
            return self.remove_lower(&place.parent.join(std::ffi::OsStr::from_bytes(hidden)));
        }
        self.put_entry(head, &place, content)
    }

    fn put_entry(&mut self, head: Head, place: &Place, content: &mut dyn Read) -> Result<(), UnpackError> {
        let path = place.path();
        let write = |action| {
            let path = path.clone();
            move |source| UnpackError::Write { action, path, source }
        };
        let is_directory = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir());
        if !(is_directory && head.kind == Kind::Directory) {
            self.remove(&path)?;
        }
        match &head.kind {
            Kind::Directory if is_directory => {}
            Kind::Directory => fs::create_dir(&path).map_err(write("make the directory"))?,
            Kind::File => {
                let mut file = create_file(&path).map_err(write("make the file"))?;
                io::copy(content, &mut file).map_err(write("write the file"))?;
                self.own(&path, &head)?;
                // After the owner: changing the owner clears the set-id bits.
                let mode = Permissions::from_mode(self.mode_of(&head));
                file.set_permissions(mode).map_err(write("set the mode of"))?;
                let mtime = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(head.mtime_seconds));
                if let Some(mtime) = mtime {
                    file.set_modified(mtime).map_err(write("set the time of"))?;
                }
            }
            Kind::SymbolicLink { target } => {
                std::os::unix::fs::symlink(target, &path).map_err(write("make the symbolic link"))?;
                self.own(&path, &head)?;
            }
            Kind::HardLink { target } => {
                let source = jail::place(self.root, target)?
                    .ok_or_else(|| UnpackError::Entry { path: head.path.clone(), why: "is a hard link to the root" })?;
                fs::hard_link(source.path(), &path).map_err(write("make the hard link"))?;
            }
            Kind::Special => {
                tracing::debug!(path = %head.path.display(), "device nodes and FIFOs of a layer are not made");
                return Ok(());
            }
        }
        if head.kind == Kind::Directory {
            self.own(&path, &head)?;
            self.directory_modes.insert(path.clone(), head.mode);
        }
        self.made.insert(path);
        Ok(())
    }

    fn own(&self, path: &Path, head: &Head) -> Result<(), UnpackError> {
        if self.options.ownership == Ownership::Unpacker {
            return Ok(());
        }
        let owned = std::os::unix::fs::lchown(path, Some(head.uid), Some(head.gid));
        owned.map_err(|source| UnpackError::Write { action: "set the owner of", path: path.to_owned(), source })
    }

    fn mode_of(&self, head: &Head) -> u32 {
        match self.options.ownership {
            Ownership::Keep => head.mode,
            // Readable by its owner, or nobody could start it; without set-id bits, which would be the owner's.
            Ownership::Unpacker => (head.mode & 0o1777) | 0o400,
        }
    }

    /// Removes what lower layers left in a directory.
    fn clear(&self, directory: &Path) -> Result<(), UnpackError> {
        let list = |source| UnpackError::Write { action: "list", path: directory.to_owned(), source };
        for entry in fs::read_dir(directory).map_err(list)? {
            let path = entry.map_err(list)?.path();
            if !self.made.contains(&path) {
                self.remove_lower(&path)?;
            } else if fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir()) {
                self.clear(&path)?;
            }
        }
        Ok(())
    }

    /// Removes a path, but for what this layer itself put there or below it.
    fn remove_lower(&self, path: &Path) -> Result<(), UnpackError> {
        let below = self.made.range(path.to_owned()..).next().is_some_and(|made| made.starts_with(path));
        match below {
            false => remove(path),
            true if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir()) => self.clear(path),
            true => Ok(()),
        }
    }

    fn remove(&mut self, path: &Path) -> Result<(), UnpackError> {
        let forgotten: Vec<PathBuf> =
            self.made.range(path.to_owned()..).take_while(|made| made.starts_with(path)).cloned().collect();
        for path in forgotten {
            self.made.remove(&path);
            self.directory_modes.remove(&path);
        }
        remove(path)
    }

    fn finish(self) -> Result<(), UnpackError> {
        // Deepest first, so that a directory one may not enter is closed after what it holds.
        for (path, mode) in self.directory_modes.iter().rev() {
            let mode = match self.options.ownership {
                Ownership::Keep => *mode,
                Ownership::Unpacker => (mode & 0o1777) | 0o700,
            };
            let set = fs::set_permissions(path, Permissions::from_mode(mode));
            set.map_err(|source| UnpackError::Write { action: "set the mode of", path: path.clone(), source })?;
        }
        Ok(())
    }
}

fn create_file(path: &Path) -> io::Result<File> {
    File::options().write(true).create_new(true).mode(0o600).open(path)
}

/// Removes a file, a link (not what it points at) or a whole directory; nothing there is fine.
fn remove(path: &Path) -> Result<(), UnpackError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(UnpackError::Write { action: "remove", path: path.to_owned(), source }),
        Ok(()) => Ok(()),
    }
}
