//! Files only their owner can read, replaced whole.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
#[error("{action} {}", path.display())]
pub struct FileError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

pub fn read(path: &Path) -> Result<String, FileError> {
    fs::read_to_string(path).map_err(|source| FileError { action: "read", path: path.to_owned(), source })
}

/// `None` for a file that is not there.
pub fn read_bytes_if_there(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FileError { action: "read", path: path.to_owned(), source }),
    }
}

/// Like [`read`], with `None` for a file that is not there.
pub fn read_if_there(path: &Path) -> Result<Option<String>, FileError> {
    match read(path) {
        Err(error) if error.source.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    }
}

/// Written beside and renamed, so that a reader sees the old file or the new one; mode 0600, its directory 0700. The
/// directory is flushed, so that the file is there after the machine lost its power.
pub fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<(), FileError> {
    put(path, ".new", content.as_ref(), |beside| fs::rename(beside, path))
}

/// Like [`write`], but a file that is there by then stays as it is. May go on beside a `write` of the same file.
pub fn create(path: &Path, content: impl AsRef<[u8]>) -> Result<(), FileError> {
    put(path, ".first", content.as_ref(), |beside| {
        let linked = fs::hard_link(beside, path);
        fs::remove_file(beside)?;
        linked.or_else(|error| if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) })
    })
}

/// `place` brings what was written beside to its place.
fn put(
    path: &Path,
    suffix: &str,
    content: &[u8],
    place: impl FnOnce(&Path) -> io::Result<()>,
) -> Result<(), FileError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut beside = path.as_os_str().to_owned();
    beside.push(suffix);
    let beside = PathBuf::from(beside);
    let put = || {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        // One that a dead process left may have another mode.
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(content)?;
        file.sync_all()?;
        place(&beside)?;
        fs::File::open(directory)?.sync_all()
    };
    put().map_err(|source| FileError { action: "write", path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_is_its_owners_whatever_a_dead_writer_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("identity/a.key");
        assert!(read_if_there(&path).unwrap().is_none());
        write(&path, "one").unwrap();
        let left = directory.path().join("identity/a.key.new");
        fs::write(&left, "half a").unwrap();
        fs::set_permissions(&left, fs::Permissions::from_mode(0o644)).unwrap();
        write(&path, "two").unwrap();
        assert_eq!(read(&path).unwrap(), "two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!left.exists());
    }

    #[test]
    fn a_file_that_is_there_is_not_created_again_and_a_writer_beside_is_not_disturbed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("revoked.crl");
        let written_by_another = directory.path().join("revoked.crl.new");
        fs::write(&written_by_another, "later").unwrap();
        create(&path, "first").unwrap();
        create(&path, "second").unwrap();
        assert_eq!(read(&path).unwrap(), "first");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "nothing else is left beside");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
