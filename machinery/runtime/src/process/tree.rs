//! Directory trees that a task has had its hands on: copying one, removing one.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

/// Removes a tree whatever modes its directories have; one that is not there is already removed.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // An ordinary user cannot list a directory of mode 0000 (overlayfs makes one, an image may hold others).
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(path)?;
            fs::remove_dir_all(path)
        }
        removed => removed,
    }
}

fn open_up(directory: &Path) -> io::Result<()> {
    fs::set_permissions(directory, Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}

/// Copies a tree with modes, symbolic links, and, where the kernel lets us, owners. Devices and sockets are left out.
/// Used only where overlayfs is not to be had.
pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy(&source, &target)?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(&source)?, &target)?;
        } else if kind.is_file() {
            fs::copy(&source, &target)?;
        }
        if !kind.is_symlink() && target.exists() {
            own(&source, &target)?;
        }
    }
    own(from, to)
}

fn own(source: &Path, target: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(source)?;
    // An ordinary user may not give files away: everything is its own then, in the image cache too.
    if nix::unistd::geteuid().is_root() {
        std::os::unix::fs::lchown(target, Some(metadata.uid()), Some(metadata.gid()))?;
    }
    fs::set_permissions(target, metadata.permissions())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_copied_and_removed_whatever_its_modes() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        fs::create_dir_all(from.join("a/b")).unwrap();
        fs::write(from.join("a/b/file"), "x").unwrap();
        symlink("/nowhere", from.join("a/link")).unwrap();
        fs::set_permissions(from.join("a/b"), Permissions::from_mode(0o500)).unwrap();
        copy(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(to.join("a/b/file")).unwrap(), "x");
        assert_eq!(fs::read_link(to.join("a/link")).unwrap(), Path::new("/nowhere"));
        assert_eq!(fs::metadata(to.join("a/b")).unwrap().permissions().mode() & 0o777, 0o500);
        fs::set_permissions(from.join("a/b"), Permissions::from_mode(0o0)).unwrap();
        for tree in [&from, &to, &directory.path().join("absent")] {
            remove(tree).unwrap();
            assert!(!tree.exists());
        }
    }
}
