//! What is on the disk, what is only in its cache, and what a power cut leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;

/// The unit a disk writes whole or not at all.
const SECTOR_BYTES: u64 = 512;

pub struct World {
    pub random: Random,
    /// Counts crashes; a handle of an earlier epoch is dead.
    pub epoch: u64,
    pub files: BTreeMap<u64, Content>,
    pub file_next: u64,
    pub names: Names,
    pub durable_names: Names,
    pub unsynced_names: Vec<NameChange>,
    pub directories: BTreeSet<PathBuf>,
    pub locks: BTreeSet<PathBuf>,
    /// The mutant: sync answers and does nothing.
    pub sync_is_ignored: bool,
    pub sync_fails_next: bool,
    pub syncs_held: bool,
    pub syncs_waiting: usize,
    pub syncs: u64,
    /// Operations that still succeed before the power goes.
    pub operations_left: Option<u64>,
}

pub type Names = BTreeMap<PathBuf, u64>;

#[derive(Default)]
pub struct Content {
    pub seen: Vec<u8>,
    pub durable: Vec<u8>,
    pub unsynced: Vec<Change>,
}

pub enum Change {
    Write { offset: u64, bytes: Vec<u8> },
    SetLen(u64),
}

pub enum NameChange {
    Link(PathBuf, u64),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

impl World {
    pub fn new(seed: u64) -> Self {
        Self {
            random: Random(seed),
            epoch: 0,
            files: BTreeMap::new(),
            file_next: 0,
            names: Names::new(),
            durable_names: Names::new(),
            unsynced_names: Vec::new(),
            directories: BTreeSet::from([PathBuf::from("/")]),
            locks: BTreeSet::new(),
            sync_is_ignored: false,
            sync_fails_next: false,
            syncs_held: false,
            syncs_waiting: 0,
            syncs: 0,
            operations_left: None,
        }
    }

    pub fn content(&mut self, file: u64) -> &mut Content {
        self.files.get_mut(&file).expect("files are never forgotten")
    }

    pub fn spend_operation(&mut self) -> io::Result<()> {
        match &mut self.operations_left {
            None => Ok(()),
            Some(0) => Err(io::Error::other("injected: the power is gone")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    pub fn change_names(&mut self, change: NameChange) {
        apply_name(&mut self.names, &change);
        self.unsynced_names.push(change);
    }

    pub fn crash(&mut self) {
        self.epoch += 1;
        self.locks.clear();
        self.operations_left = None;
        let kept = self.random.below(self.unsynced_names.len() as u64 + 1) as usize;
        for change in std::mem::take(&mut self.unsynced_names).iter().take(kept) {
            apply_name(&mut self.durable_names, change);
        }
        self.names = self.durable_names.clone();
        for content in self.files.values_mut() {
            // Whole runs differ in how much the disk's cache had got down: nothing, everything, or a part.
            let kept_of_4 = self.random.below(5);
            for change in std::mem::take(&mut content.unsynced) {
                match change {
                    Change::SetLen(_) if self.random.below(4) < kept_of_4 => apply(&mut content.durable, &change),
                    Change::SetLen(_) => {}
                    Change::Write { offset, bytes } => {
                        for (offset, sector) in sectors(offset, &bytes) {
                            if self.random.below(4) < kept_of_4 {
                                let bytes = sector.to_vec();
                                apply(&mut content.durable, &Change::Write { offset, bytes });
                            }
                        }
                    }
                }
            }
            content.seen = content.durable.clone();
        }
    }
}

pub fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::SetLen(len) => bytes.resize(*len as usize, 0),
        Change::Write { offset, bytes: written } => {
            let start = *offset as usize;
            let end = start + written.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[start..end].copy_from_slice(written);
        }
    }
}

fn apply_name(names: &mut Names, change: &NameChange) {
    match change {
        NameChange::Link(path, file) => {
            names.insert(path.clone(), *file);
        }
        NameChange::Rename(from, to) => {
            if let Some(file) = names.remove(from) {
                names.insert(to.clone(), file);
            }
        }
        NameChange::Remove(path) => {
            names.remove(path);
        }
    }
}

/// A write cut at the disk's sector boundaries.
fn sectors(mut offset: u64, mut bytes: &[u8]) -> Vec<(u64, &[u8])> {
    let mut parts = Vec::new();
    while !bytes.is_empty() {
        let room = (SECTOR_BYTES - offset % SECTOR_BYTES) as usize;
        let (sector, rest) = bytes.split_at(room.min(bytes.len()));
        parts.push((offset, sector));
        offset += sector.len() as u64;
        bytes = rest;
    }
    parts
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, seeded, good enough to choose faults.
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
