//! Resolves a layer's paths inside the root, as if the root were `/`: `..` stops at the root, and symbolic links that the
//! layers made are followed within it. Nobody else writes into the root while it is unpacked, so looking first and acting
//! after is sound; and it works where `openat2` does not.

use super::UnpackError;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// Symbolic links followed on one path (Linux: `MAXSYMLINKS`).
const LINKS_MAX: usize = 40;
/// Bytes of a path (Linux: `PATH_MAX`).
const PATH_BYTES_MAX: usize = 4096;

/// Where an entry goes: a directory inside the root that exists, and the last name, not followed.
#[derive(Debug, PartialEq, Eq)]
pub struct Place {
    pub parent: PathBuf,
    pub name: OsString,
}

impl Place {
    pub fn path(&self) -> PathBuf {
        self.parent.join(&self.name)
    }
}

/// The place of `path` (as the tar says it); `None` for the root itself. Missing parents are made.
pub fn place(root: &Path, path: &Path) -> Result<Option<Place>, UnpackError> {
    let refuse = |why| UnpackError::Entry { path: path.to_owned(), why };
    if path.as_os_str().len() > PATH_BYTES_MAX {
        return Err(UnpackError::Entry { path: PathBuf::from("(long)"), why: "has a path that is too long" });
    }
    let mut names = names_of(path);
    let Some(name) = names.pop_back() else { return Ok(None) };
    if name == ".." {
        return Err(refuse("ends in '..'"));
    }
    let parent = resolve(root, names, path)?;
    Ok(Some(Place { parent, name }))
}

/// The names in a path, without root, `.` and prefixes; `..` is kept.
fn names_of(path: &Path) -> VecDeque<OsString> {
    let name = |component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(name).collect()
}

/// Walks `names` from the root, making directories that are missing.
fn resolve(root: &Path, mut names: VecDeque<OsString>, whole: &Path) -> Result<PathBuf, UnpackError> {
    let refuse = |why| UnpackError::Entry { path: whole.to_owned(), why };
    let write = |action, path: &Path, source| UnpackError::Write { action, path: path.to_owned(), source };
    let mut here = root.to_owned();
    let mut depth = 0usize;
    let mut links = 0;
    while let Some(name) = names.pop_front() {
        if name == ".." {
            if depth > 0 {
                here.pop();
                depth -= 1;
            }
            continue;
        }
        let next = here.join(&name);
        match fs::symlink_metadata(&next) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(metadata) if metadata.is_symlink() => {
                links += 1;
                if links > LINKS_MAX {
                    return Err(refuse("passes through too many symbolic links"));
                }
                let target = fs::read_link(&next).map_err(|source| write("read the link", &next, source))?;
                if target.is_absolute() {
                    here = root.to_owned();
                    depth = 0;
                }
                for name in names_of(&target).into_iter().rev() {
                    names.push_front(name);
                }
                continue;
            }
            Ok(_) => return Err(refuse("passes through something that is not a directory")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir(&next).map_err(|source| write("make the directory", &next, source))?;
            }
            Err(source) => return Err(write("look at", &next, source)),
        }
        here = next;
        depth += 1;
    }
    Ok(here)
}
