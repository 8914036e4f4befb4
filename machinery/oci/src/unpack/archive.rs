//! Reads a tar's entries with a bound on everything that is kept in memory.
//!
//! The tar library joins long names and PAX records to their entry itself, reading them whole however long they say they
//! are. So its raw iteration is used, and they are joined here.

use super::{Limits, UnpackError};
use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use tar::EntryType;

/// Bytes of one extension header (a long name, a set of PAX records). Extended attributes come this way too.
const EXTENSION_BYTES_MAX: u64 = 1 << 20;

/// One entry's head, with its long names joined.
#[derive(Debug)]
pub struct Head {
    pub path: PathBuf,
    pub kind: Kind,
    /// Permission and set-id bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime_seconds: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    Directory,
    SymbolicLink {
        target: PathBuf,
    },
    HardLink {
        target: PathBuf,
    },
    /// Device nodes and FIFOs.
    Special,
}

/// Calls `visit` with each entry and its content; returns how many records the tar held.
pub fn for_each(
    tar: impl Read,
    limits: Limits,
    mut visit: impl FnMut(Head, &mut dyn Read) -> Result<(), UnpackError>,
) -> Result<u64, UnpackError> {
    let broken = |source| UnpackError::Tar { source };
    // Past the bound the tar ends early, which the tar library reports or the digest does.
    let mut archive = tar::Archive::new(tar.take(limits.tar_bytes_max));
    let mut extensions = Extensions::default();
    let mut records = 0;
    for entry in archive.entries().map_err(broken)?.raw(true) {
        let mut entry = entry.map_err(broken)?;
        records += 1;
        if records > limits.entries_max {
            return Err(UnpackError::Limit { what: "entries", max: limits.entries_max });
        }
        match entry.header().entry_type() {
            EntryType::GNULongName => extensions.path = Some(text(&read_extension(&mut entry)?)),
            EntryType::GNULongLink => extensions.link = Some(text(&read_extension(&mut entry)?)),
            EntryType::XHeader => extensions.read_pax(&read_extension(&mut entry)?)?,
            EntryType::XGlobalHeader => {}
            _ => {
                let head = head(entry.header(), std::mem::take(&mut extensions)).map_err(broken)?;
                match head {
                    Ok(head) => visit(head, &mut entry)?,
                    Err((path, why)) => return Err(UnpackError::Entry { path, why }),
                }
            }
        }
    }
    Ok(records)
}

/// What the records before an entry say of it.
#[derive(Default)]
struct Extensions {
    path: Option<PathBuf>,
    link: Option<PathBuf>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime_seconds: Option<u64>,
    size: Option<u64>,
}

impl Extensions {
    fn read_pax(&mut self, bytes: &[u8]) -> Result<(), UnpackError> {
        for record in tar::PaxExtensions::new(bytes) {
            let record = record.map_err(|source| UnpackError::Tar { source })?;
            let number = || record.value().ok().and_then(|value| value.parse::<u64>().ok());
            match record.key_bytes() {
                b"path" => self.path = Some(text(record.value_bytes())),
                b"linkpath" => self.link = Some(text(record.value_bytes())),
                b"uid" => self.uid = number(),
                b"gid" => self.gid = number(),
                b"size" => self.size = number(),
                // "1420980792.123456789": whole seconds will do.
                b"mtime" => {
                    let seconds = record.value().ok().and_then(|value| value.split('.').next());
                    self.mtime_seconds = seconds.and_then(|seconds| seconds.parse().ok());
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn read_extension(entry: &mut impl Read) -> Result<Vec<u8>, UnpackError> {
    let mut bytes = Vec::new();
    let read = entry.take(EXTENSION_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|source| UnpackError::Tar { source })?;
    if bytes.len() as u64 > EXTENSION_BYTES_MAX {
        return Err(UnpackError::Limit { what: "bytes in an extension header", max: EXTENSION_BYTES_MAX });
    }
    Ok(bytes)
}

/// GNU's long names end in a NUL.
fn text(bytes: &[u8]) -> PathBuf {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    PathBuf::from(OsString::from_vec(bytes[..end].to_vec()))
}

/// The entry's head, or the path of an entry that is refused and why.
#[allow(clippy::type_complexity)] // the two ways to fail: a broken tar, an entry that we refuse
fn head(header: &tar::Header, extensions: Extensions) -> io::Result<Result<Head, (PathBuf, &'static str)>> {
    let path = extensions.path.unwrap_or_else(|| text(&header.path_bytes()));
    let link = extensions.link.or_else(|| header.link_name_bytes().map(|bytes| text(&bytes)));
    let target = link.unwrap_or_default();
    // A PAX size overrides the header's only for files of 8 GiB and more; the raw iteration cannot follow it.
    if extensions.size.is_some_and(|size| header.entry_size().ok() != Some(size)) {
        return Ok(Err((path, "is larger than 8 GiB, which is not supported")));
    }
    let kind = match header.entry_type() {
        // Old tars mark a directory by the slash at the end of its name.
        EntryType::Regular if path.as_os_str().as_encoded_bytes().ends_with(b"/") => Kind::Directory,
        EntryType::Regular | EntryType::Continuous => Kind::File,
        EntryType::Directory => Kind::Directory,
        EntryType::Symlink => Kind::SymbolicLink { target },
        EntryType::Link => Kind::HardLink { target },
        EntryType::Char | EntryType::Block | EntryType::Fifo => Kind::Special,
        EntryType::GNUSparse => return Ok(Err((path, "is a sparse file, which is not supported"))),
        _ => return Ok(Err((path, "is of an unknown type"))),
    };
    let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX - 1);
    Ok(Ok(Head {
        kind,
        mode: header.mode()? & 0o7777,
        uid: small(extensions.uid.map_or_else(|| header.uid(), Ok)?),
        gid: small(extensions.gid.map_or_else(|| header.gid(), Ok)?),
        mtime_seconds: extensions.mtime_seconds.map_or_else(|| header.mtime(), Ok)?,
        path,
    }))
}
