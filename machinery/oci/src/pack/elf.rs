//! The little of ELF that says what a program needs: PT_INTERP, DT_NEEDED, DT_RPATH, DT_RUNPATH (System V ABI, chapter 5).
//!
//! Only what is asked for is read from the file, each piece under a bound; no bytes make it panic.

use super::PackError;
use crate::Platform;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const PROGRAM_HEADERS_MAX: usize = 1024;
const DYNAMIC_ENTRIES_MAX: u64 = 1 << 16;
const NEEDED_MAX: usize = 4096;
/// Of an interpreter's path, a library's name, a search path.
const STRING_BYTES_MAX: usize = 4096;

const PT_LOAD: u64 = 1;
const PT_DYNAMIC: u64 = 2;
const PT_INTERP: u64 = 3;
const DT_NULL: u64 = 0;
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
const DT_RPATH: u64 = 15;
const DT_RUNPATH: u64 = 29;

/// What decides whether one file may load another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    pub is_64_bit: bool,
    pub is_little_endian: bool,
    pub machine: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elf {
    pub kind: Kind,
    pub interpreter: Option<PathBuf>,
    pub needed: Vec<OsString>,
    /// Search paths, as written: joined by colons, with `$ORIGIN`.
    pub rpath: Option<OsString>,
    pub runpath: Option<OsString>,
}

#[derive(Debug, thiserror::Error)]
pub enum ElfError {
    #[error("read it")]
    Read { source: io::Error },
    #[error("{what} lies outside the file")]
    Outside { what: &'static str },
    #[error("it has more than {max} {what}")]
    Limit { what: &'static str, max: usize },
    #[error("{what} is not as the format says")]
    Form { what: &'static str },
}

/// A file, or bytes in a test.
pub trait ReadAt {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl ReadAt for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }
}

impl ReadAt for [u8] {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

/// Reads a file's needs; `None` when it is no ELF file.
pub fn read(path: &Path) -> Result<Option<Elf>, PackError> {
    let open = |source| PackError::File { action: "read", path: path.to_owned(), source };
    let file = File::open(path).map_err(open)?;
    parse(&file).map_err(|source| PackError::Elf { path: path.to_owned(), source })
}

/// Whether a file is a program that needs an interpreter (or, damaged, claims to be ELF: then it is left alone).
pub fn is_program(path: &Path) -> Result<bool, PackError> {
    let open = |source| PackError::File { action: "read", path: path.to_owned(), source };
    let file = File::open(path).map_err(open)?;
    Ok(matches!(parse(&file), Ok(Some(Elf { interpreter: Some(_), .. }))))
}

impl Kind {
    /// Go's name for the machine.
    pub fn platform(self) -> Option<Platform> {
        let architecture = match (self.machine, self.is_little_endian) {
            (3, _) => "386",
            (21, true) => "ppc64le",
            (22, _) => "s390x",
            (40, _) => "arm",
            (62, _) => "amd64",
            (183, true) => "arm64",
            (243, _) => "riscv64",
            _ => return None,
        };
        Some(Platform { architecture: architecture.to_owned(), os: "linux".to_owned(), variant: None })
    }

    /// Debian's name for the machine's library directories.
    pub fn multiarch(self) -> Option<&'static str> {
        match (self.machine, self.is_little_endian) {
            (3, _) => Some("i386-linux-gnu"),
            (21, true) => Some("powerpc64le-linux-gnu"),
            (22, _) => Some("s390x-linux-gnu"),
            (40, _) => Some("arm-linux-gnueabihf"),
            (62, _) => Some("x86_64-linux-gnu"),
            (183, true) => Some("aarch64-linux-gnu"),
            (243, _) => Some("riscv64-linux-gnu"),
            _ => None,
        }
    }
}

struct Segment {
    kind: u64,
    offset: u64,
    address: u64,
    file_bytes: u64,
}

pub fn parse<F: ReadAt + ?Sized>(file: &F) -> Result<Option<Elf>, ElfError> {
    let mut header = [0; 64];
    let length = read_some(file, &mut header, 0)?;
    if length < 16 || !header.starts_with(b"\x7fELF") {
        return Ok(None);
    }
    let is_64_bit = match header[4] {
        1 => false,
        2 => true,
        _ => return Err(ElfError::Form { what: "the class" }),
    };
    let is_little_endian = match header[5] {
        1 => true,
        2 => false,
        _ => return Err(ElfError::Form { what: "the byte order" }),
    };
    if length < if is_64_bit { 64 } else { 52 } {
        return Err(ElfError::Outside { what: "the header" });
    }
    let mut reader = Reader { file, kind: Kind { is_64_bit, is_little_endian, machine: 0 } };
    reader.kind.machine = reader.number(&header[18..20]) as u16;
    let segments = reader.segments(&header)?;
    let mut elf = Elf { kind: reader.kind, interpreter: None, needed: Vec::new(), rpath: None, runpath: None };
    if let Some(interpreter) = segments.iter().find(|segment| segment.kind == PT_INTERP) {
        elf.interpreter = Some(reader.string(interpreter.offset, "the interpreter")?.into());
    }
    if let Some(dynamic) = segments.iter().find(|segment| segment.kind == PT_DYNAMIC) {
        reader.dynamic(dynamic, &segments, &mut elf)?;
    }
    Ok(Some(elf))
}

struct Reader<'a, F: ?Sized> {
    file: &'a F,
    kind: Kind,
}

impl<F: ReadAt + ?Sized> Reader<'_, F> {
    /// An unsigned number of up to eight bytes.
    fn number(&self, bytes: &[u8]) -> u64 {
        let join = |number: u64, byte: &u8| (number << 8) | u64::from(*byte);
        if self.kind.is_little_endian { bytes.iter().rev().fold(0, join) } else { bytes.iter().fold(0, join) }
    }

    fn segments(&self, header: &[u8; 64]) -> Result<Vec<Segment>, ElfError> {
        let (table, entry_bytes, count, own_bytes) = if self.kind.is_64_bit {
            (&header[32..40], &header[54..56], &header[56..58], 56)
        } else {
            (&header[28..32], &header[42..44], &header[44..46], 32)
        };
        let (table, entry_bytes, count) = (self.number(table), self.number(entry_bytes), self.number(count) as usize);
        if count == 0 {
            return Ok(Vec::new());
        }
        if entry_bytes < own_bytes {
            return Err(ElfError::Form { what: "the size of a program header" });
        }
        if count > PROGRAM_HEADERS_MAX {
            return Err(ElfError::Limit { what: "program headers", max: PROGRAM_HEADERS_MAX });
        }
        let mut segments = Vec::with_capacity(count);
        for index in 0..count as u64 {
            let mut bytes = [0; 56];
            let bytes = &mut bytes[..own_bytes as usize];
            let offset =
                table.checked_add(index * entry_bytes).ok_or(ElfError::Outside { what: "a program header" })?;
            read_exact(self.file, bytes, offset, "a program header")?;
            let (offset, address, file_bytes) = if self.kind.is_64_bit {
                (&bytes[8..16], &bytes[16..24], &bytes[32..40])
            } else {
                (&bytes[4..8], &bytes[8..12], &bytes[16..20])
            };
            segments.push(Segment {
                kind: self.number(&bytes[..4]),
                offset: self.number(offset),
                address: self.number(address),
                file_bytes: self.number(file_bytes),
            });
        }
        Ok(segments)
    }

    fn dynamic(&self, dynamic: &Segment, segments: &[Segment], elf: &mut Elf) -> Result<(), ElfError> {
        let word = if self.kind.is_64_bit { 8 } else { 4 };
        let (mut needed, mut rpath, mut runpath, mut strings) = (Vec::new(), None, None, None);
        for index in 0..(dynamic.file_bytes / (2 * word as u64)).min(DYNAMIC_ENTRIES_MAX) {
            let mut bytes = [0; 16];
            let bytes = &mut bytes[..2 * word];
            let outside = ElfError::Outside { what: "the dynamic section" };
            let offset = dynamic.offset.checked_add(index * 2 * word as u64).ok_or(outside)?;
            read_exact(self.file, bytes, offset, "the dynamic section")?;
            let value = self.number(&bytes[word..]);
            match self.number(&bytes[..word]) {
                DT_NULL => break,
                DT_NEEDED if needed.len() >= NEEDED_MAX => {
                    return Err(ElfError::Limit { what: "needed libraries", max: NEEDED_MAX });
                }
                DT_NEEDED => needed.push(value),
                DT_STRTAB => strings = Some(value),
                DT_RPATH => rpath = Some(value),
                DT_RUNPATH => runpath = Some(value),
                _ => {}
            }
        }
        if needed.is_empty() && rpath.is_none() && runpath.is_none() {
            return Ok(());
        }
        let strings = strings.and_then(|address| file_offset(address, segments));
        let strings = strings.ok_or(ElfError::Outside { what: "the string table" })?;
        let string = |offset: u64| {
            let outside = ElfError::Outside { what: "a name" };
            self.string(strings.checked_add(offset).ok_or(outside)?, "a name")
        };
        elf.needed = needed.into_iter().map(string).collect::<Result<_, _>>()?;
        elf.rpath = rpath.map(string).transpose()?;
        elf.runpath = runpath.map(string).transpose()?;
        Ok(())
    }

    /// Bytes up to a NUL.
    fn string(&self, offset: u64, what: &'static str) -> Result<OsString, ElfError> {
        let mut bytes = vec![0; STRING_BYTES_MAX];
        let length = read_some(self.file, &mut bytes, offset)?;
        bytes.truncate(length);
        let end = bytes.iter().position(|byte| *byte == 0).ok_or(ElfError::Outside { what })?;
        bytes.truncate(end);
        if bytes.is_empty() {
            return Err(ElfError::Form { what });
        }
        Ok(OsString::from_vec(bytes))
    }
}

/// Where in the file the bytes of a virtual address are.
fn file_offset(address: u64, segments: &[Segment]) -> Option<u64> {
    let holds = |segment: &&Segment| {
        segment.kind == PT_LOAD && address >= segment.address && address - segment.address < segment.file_bytes
    };
    let segment = segments.iter().find(holds)?;
    segment.offset.checked_add(address - segment.address)
}

fn read_some<F: ReadAt + ?Sized>(file: &F, buffer: &mut [u8], offset: u64) -> Result<usize, ElfError> {
    let mut filled = 0;
    while filled < buffer.len() {
        let Some(at) = offset.checked_add(filled as u64) else { break };
        match file.read_at(&mut buffer[filled..], at) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // An offset past what a file can have.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => break,
            Err(source) => return Err(ElfError::Read { source }),
        }
    }
    Ok(filled)
}

fn read_exact<F: ReadAt + ?Sized>(
    file: &F,
    buffer: &mut [u8],
    offset: u64,
    what: &'static str,
) -> Result<(), ElfError> {
    if read_some(file, buffer, offset)? < buffer.len() { Err(ElfError::Outside { what }) } else { Ok(()) }
}
