//! The dynamic table (RFC 7541 §2.3.2, §4): fields that came before, the newest first.

use super::kind::Kind;
use std::collections::VecDeque;

/// What a field counts besides its text (RFC 7541 §4.1).
pub(super) const ENTRY_BYTES: usize = 32;

#[derive(Debug)]
pub(super) struct Table {
    entries: VecDeque<Entry>,
    bytes: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct Entry {
    text: Box<[u8]>,
    name_bytes: usize,
    kind: Kind,
    /// What its name alone is.
    name_kind: Kind,
}

/// A field of a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found<'a> {
    pub name: &'a [u8],
    pub value: &'a [u8],
    pub kind: Kind,
    pub name_kind: Kind,
}

impl Table {
    pub fn new(bytes_max: usize) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// 0 is the newest.
    pub fn get(&self, index: usize) -> Option<Found<'_>> {
        let Entry { text, name_bytes, kind, name_kind } = self.entries.get(index)?;
        let (name, value) = text.split_at(*name_bytes);
        Some(Found { name, value, kind: *kind, name_kind: *name_kind })
    }

    /// One that is larger than the table empties it (RFC 7541 §4.4).
    pub fn insert(&mut self, text: Box<[u8]>, name_bytes: usize, kind: Kind, name_kind: Kind) {
        let bytes = text.len() + ENTRY_BYTES;
        self.shrink_to(self.bytes_max.saturating_sub(bytes));
        if bytes <= self.bytes_max {
            self.bytes += bytes;
            self.entries.push_front(Entry { text, name_bytes, kind, name_kind });
        }
    }

    pub fn resize(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
        self.shrink_to(bytes_max);
    }

    fn shrink_to(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max {
            let Some(oldest) = self.entries.pop_back() else { break };
            self.bytes -= oldest.text.len() + ENTRY_BYTES;
        }
    }
}
