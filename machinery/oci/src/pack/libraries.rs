//! What a program loads: its interpreter and, recursively, its shared libraries, found where `ld.so` would find them.
//!
//! The order is ld.so(8)'s: DT_RPATH of the object and of those that loaded it (unless it has a DT_RUNPATH), DT_RUNPATH, the
//! standard directories. Left out: `LD_LIBRARY_PATH`, which belongs to whoever starts the program, and `/etc/ld.so.cache`,
//! which will not be in the image: a library is put where the image's `ld.so` finds it without one.

use super::elf::{self, Elf, Kind};
use super::tree::Tree;
use super::{PackError, Platform};
use std::collections::{BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Libraries of one program.
const LIBRARIES_MAX: usize = 4096;

/// A directory that is searched on this machine, and the same directory in the image.
#[derive(Clone, Debug)]
struct SearchDirectory {
    source: PathBuf,
    destination: PathBuf,
}

/// A program or a library whose needs are to be met.
struct Object {
    source: PathBuf,
    destination: PathBuf,
    elf: Elf,
    /// DT_RPATHs of those that loaded it.
    inherited: Vec<SearchDirectory>,
}

/// Adds what a file needs, if it is ELF, and tells its platform.
pub fn add_needed(tree: &mut Tree, source: &Path, destination: &Path) -> Result<Option<Platform>, PackError> {
    let Some(elf) = elf::read(source)? else { return Ok(None) };
    let kind = elf.kind;
    if let Some(interpreter) = &elf.interpreter {
        add_interpreter(tree, interpreter, source)?;
    }
    let loader = elf.interpreter.clone();
    let mut loaded = BTreeSet::new();
    let program = Object { source: source.to_owned(), destination: destination.to_owned(), elf, inherited: Vec::new() };
    let mut pending = VecDeque::from([program]);
    while let Some(object) = pending.pop_front() {
        let search = search_directories(&object);
        for name in &object.elf.needed {
            // As in ld.so, a name is looked up once: whoever asks later gets what the first one got.
            if is_loader(loader.as_deref(), name) || !loaded.insert(name.clone()) {
                continue;
            }
            if loaded.len() > LIBRARIES_MAX {
                return Err(PackError::Limit { what: "libraries of one program", max: LIBRARIES_MAX });
            }
            let library = find(name, &object, &search, kind)?;
            if !tree.contains(&library.destination) {
                let error = |source| PackError::File { action: "look at", path: library.source.clone(), source };
                let metadata = fs::metadata(&library.source).map_err(error)?;
                tree.add_file(&library.source, &library.destination, &metadata)?;
            }
            pending.push_back(library);
        }
    }
    Ok(kind.platform())
}

fn add_interpreter(tree: &mut Tree, interpreter: &Path, needed_by: &Path) -> Result<(), PackError> {
    let missing =
        || PackError::MissingInterpreter { interpreter: interpreter.to_owned(), needed_by: needed_by.to_owned() };
    let metadata = fs::metadata(interpreter).map_err(|_| missing())?;
    if !interpreter.is_absolute() || !metadata.is_file() {
        return Err(missing());
    }
    if tree.contains(interpreter) { Ok(()) } else { tree.add_file(interpreter, interpreter, &metadata) }
}

/// The interpreter meets needs of its own name; musl's is its C library, too, by whatever name that is asked for.
fn is_loader(loader: Option<&Path>, name: &OsStr) -> bool {
    let Some(loader) = loader.and_then(Path::file_name) else { return false };
    loader == name || (loader.as_bytes().starts_with(b"ld-musl-") && name.as_bytes().starts_with(b"libc."))
}

fn find(name: &OsStr, needed_by: &Object, search: &[SearchDirectory], kind: Kind) -> Result<Object, PackError> {
    let missing =
        || PackError::MissingLibrary { name: name.to_string_lossy().into_owned(), needed_by: needed_by.source.clone() };
    let inherited = own_rpath(needed_by);
    // A name with a slash is a path, not searched for.
    let direct = [SearchDirectory { source: PathBuf::from("/"), destination: PathBuf::from("/") }];
    let search = if name.as_bytes().contains(&b'/') { &direct } else { search };
    for directory in search {
        let source = directory.source.join(name);
        if !source.is_file() {
            continue;
        }
        // One for another machine, or a linker script, is passed over as ld.so passes over it.
        if let Ok(Some(elf)) = elf::read(&source)
            && elf.kind == kind
        {
            return Ok(Object { source, destination: directory.destination.join(name), elf, inherited });
        }
    }
    Err(missing())
}

fn search_directories(object: &Object) -> Vec<SearchDirectory> {
    let mut search = match &object.elf.runpath {
        Some(runpath) => split(runpath, object),
        None => own_rpath(object),
    };
    search.extend(standard_directories(object.elf.kind));
    search
}

/// DT_RPATH of an object, then of those that loaded it.
fn own_rpath(object: &Object) -> Vec<SearchDirectory> {
    let own = match (&object.elf.rpath, &object.elf.runpath) {
        (Some(rpath), None) => split(rpath, object),
        _ => Vec::new(),
    };
    own.into_iter().chain(object.inherited.iter().cloned()).collect()
}

/// `a:$ORIGIN/../lib:${ORIGIN}`: `$ORIGIN` is the object's directory, here and in the image.
fn split(path: &OsStr, object: &Object) -> Vec<SearchDirectory> {
    let real = fs::canonicalize(&object.source).unwrap_or_else(|_| object.source.clone());
    let origin_of = |file: &Path| file.parent().map(Path::to_owned).unwrap_or_default();
    let (source_origin, destination_origin) = (origin_of(&real), origin_of(&object.destination));
    let directories = path.as_bytes().split(|byte| *byte == b':').filter(|directory| !directory.is_empty());
    directories
        .map(|directory| SearchDirectory {
            source: substitute(directory, &source_origin),
            destination: substitute(directory, &destination_origin),
        })
        .collect()
}

fn substitute(directory: &[u8], origin: &Path) -> PathBuf {
    for token in [&b"${ORIGIN}"[..], b"$ORIGIN"] {
        if let Some(rest) = directory.strip_prefix(token) {
            let mut path = OsString::from(origin);
            path.push(OsStr::from_bytes(rest));
            return path.into();
        }
    }
    OsStr::from_bytes(directory).into()
}

/// Where `ld.so` looks by itself on Debian (multiarch), Fedora (`lib64`) and everywhere (`lib`).
fn standard_directories(kind: Kind) -> Vec<SearchDirectory> {
    let same = |path: String| SearchDirectory { source: path.clone().into(), destination: path.into() };
    let multiarch = kind.multiarch().into_iter().flat_map(|name| [format!("/lib/{name}"), format!("/usr/lib/{name}")]);
    let wide = ["/lib64", "/usr/lib64"].into_iter().filter(|_| kind.is_64_bit).map(str::to_owned);
    let plain = ["/lib", "/usr/lib"].into_iter().map(str::to_owned);
    let mut directories: Vec<_> = multiarch.chain(wide).chain(plain).map(same).collect();
    // Found here only through the cache: in the image it goes where no cache is needed.
    directories.push(SearchDirectory { source: "/usr/local/lib".into(), destination: "/usr/lib".into() });
    directories
}
