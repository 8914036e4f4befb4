//! The files of an image, by their path in it.

use super::{PackError, elf};
use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

/// Files, directories and links of one image.
const NODES_MAX: usize = 1_000_000;
/// Symbolic links followed on one path.
const LINKS_MAX: usize = 40;

/// Paths are relative to the image's root and hold names only: no `.`, no `..`.
#[derive(Debug, Default)]
pub struct Tree {
    pub nodes: BTreeMap<PathBuf, Node>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    Directory { mode: u32 },
    File { source: PathBuf, bytes: u64, mode: u32 },
    SymbolicLink { target: PathBuf },
}

const DIRECTORY_MODE: u32 = 0o755;
/// What `/tmp` has: anyone may write, nobody may remove another's.
const SHARED_DIRECTORY_MODE: u32 = 0o1777;

/// Two modes only: the umask of whoever made the files must not change the digest.
fn file_mode(metadata: &Metadata) -> u32 {
    if metadata.permissions().mode() & 0o111 != 0 { 0o755 } else { 0o644 }
}

fn directory_mode(metadata: &Metadata) -> u32 {
    let shared = metadata.permissions().mode() & SHARED_DIRECTORY_MODE == SHARED_DIRECTORY_MODE;
    if shared { SHARED_DIRECTORY_MODE } else { DIRECTORY_MODE }
}

impl Tree {
    pub fn contains(&self, destination: &Path) -> bool {
        self.place(destination).is_ok_and(|path| self.nodes.contains_key(&path))
    }

    pub fn add_file(&mut self, source: &Path, destination: &Path, metadata: &Metadata) -> Result<(), PackError> {
        let node = Node::File { source: source.to_owned(), bytes: metadata.len(), mode: file_mode(metadata) };
        self.insert(destination, node)
    }

    /// Adds a directory and all it holds; the programs in it (source, destination) come back.
    pub fn add_directory(&mut self, source: &Path, destination: &Path) -> Result<Vec<(PathBuf, PathBuf)>, PackError> {
        let mut programs = Vec::new();
        // The top may be a link to a directory: it was named, so it is followed.
        let find = |error| PackError::File { action: "find", path: source.to_owned(), source: error };
        let mut pending = vec![(fs::canonicalize(source).map_err(find)?, destination.to_owned())];
        while let Some((source, destination)) = pending.pop() {
            let error = |action| {
                let path = source.clone();
                move |source| PackError::File { action, path, source }
            };
            let metadata = fs::symlink_metadata(&source);
            let metadata = metadata.map_err(error("look at"))?;
            if metadata.is_dir() {
                self.insert(&destination, Node::Directory { mode: directory_mode(&metadata) })?;
                for entry in fs::read_dir(&source).map_err(error("list"))? {
                    let name = entry.map_err(error("list"))?.file_name();
                    pending.push((source.join(&name), destination.join(&name)));
                }
            } else if metadata.is_symlink() {
                let target = fs::read_link(&source).map_err(error("read the link"))?;
                self.insert(&destination, Node::SymbolicLink { target })?;
            } else if metadata.is_file() {
                self.add_file(&source, &destination, &metadata)?;
                if elf::is_program(&source)? {
                    programs.push((source, destination));
                }
            } else {
                return Err(PackError::Special { path: source });
            }
        }
        programs.sort();
        Ok(programs)
    }

    fn insert(&mut self, destination: &Path, node: Node) -> Result<(), PackError> {
        let path = self.place(destination)?;
        if path.as_os_str().is_empty() {
            return match node {
                Node::Directory { .. } => Ok(()),
                _ => Err(PackError::Place { path: destination.to_owned(), why: "it would be the root" }),
            };
        }
        self.make_parents(&path, destination)?;
        match (self.nodes.get(&path), &node) {
            (Some(Node::Directory { .. }), Node::Directory { .. }) => {}
            (Some(Node::Directory { .. }), _) => {
                return Err(PackError::Place { path: destination.to_owned(), why: "a directory is there" });
            }
            (Some(_), Node::Directory { .. }) => {
                return Err(PackError::Place { path: destination.to_owned(), why: "a file is there" });
            }
            _ => {}
        }
        self.nodes.insert(path, node);
        if self.nodes.len() > NODES_MAX {
            return Err(PackError::Limit { what: "files", max: NODES_MAX });
        }
        Ok(())
    }

    fn make_parents(&mut self, path: &Path, destination: &Path) -> Result<(), PackError> {
        for parent in path.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty()) {
            match self.nodes.get(parent) {
                None => drop(self.nodes.insert(parent.to_owned(), Node::Directory { mode: DIRECTORY_MODE })),
                Some(Node::Directory { .. }) => {}
                Some(_) => {
                    return Err(PackError::Place { path: destination.to_owned(), why: "a file is in its way" });
                }
            }
        }
        Ok(())
    }

    /// Where a path leads in the image: links in its directories are followed, `..` stops at the root.
    fn place(&self, destination: &Path) -> Result<PathBuf, PackError> {
        let mut pending: Vec<PathBuf> = names(destination);
        let mut here = PathBuf::new();
        let mut links = 0;
        while let Some(name) = pending.pop() {
            if name == Path::new("..") {
                here.pop();
                continue;
            }
            here.push(name);
            if let Some(Node::SymbolicLink { target }) = self.nodes.get(&here)
                && !pending.is_empty()
            {
                links += 1;
                if links > LINKS_MAX {
                    return Err(PackError::Place { path: destination.to_owned(), why: "its links go in circles" });
                }
                pending.extend(names(target));
                if target.is_absolute() {
                    here.clear();
                } else {
                    here.pop();
                }
            }
        }
        Ok(here)
    }
}

/// The names of a path, last first; `..` is kept.
fn names(path: &Path) -> Vec<PathBuf> {
    let name = |component| match component {
        Component::Normal(name) => Some(PathBuf::from(name)),
        Component::ParentDir => Some(PathBuf::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().rev().filter_map(name).collect()
}
