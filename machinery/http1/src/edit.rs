//! Changes to the headers of a head on its way.

use crate::fields::Fields;
use crate::mask::Mask;
use crate::names::Known;
use crate::names::known;
use crate::text::{is_token, is_value, put_line};

/// One change. Of a list, later ones count before earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edit<'a> {
    name: &'a str,
    change: Change<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change<'a> {
    Add(&'a [u8]),
    Set(&'a [u8]),
    Remove,
}

impl<'a> Edit<'a> {
    /// One more line. `None`: no such header can be written, or it is the proxy's own: what concerns the connection, the
    /// framing or `Host` is not edited.
    pub fn add(name: &'a str, value: &'a [u8]) -> Option<Self> {
        Self::new(name, Change::Add(value))
    }

    /// This line instead of all of the name.
    pub fn set(name: &'a str, value: &'a [u8]) -> Option<Self> {
        Self::new(name, Change::Set(value))
    }

    /// No line of the name.
    pub fn remove(name: &'a str) -> Option<Self> {
        Self::new(name, Change::Remove)
    }

    fn new(name: &'a str, change: Change<'a>) -> Option<Self> {
        let value = match change {
            Change::Add(value) | Change::Set(value) => value,
            Change::Remove => b"",
        };
        let is_ours = known(name.as_bytes()).is_some_and(Known::is_ours);
        (is_token(name.as_bytes()) && is_value(value) && !is_ours).then_some(Self { name, change })
    }

    fn replaces(&self, name: &str) -> bool {
        !matches!(self.change, Change::Add(_)) && self.name.eq_ignore_ascii_case(name)
    }
}

/// Whether a line of this name is replaced or removed.
#[inline]
pub(crate) fn replace(edits: &[Edit<'_>], name: &str) -> bool {
    edits.iter().any(|edit| edit.replaces(name))
}

/// Writes the added lines, and marks those that are replaced or removed.
#[inline]
pub(crate) fn put(edits: &[Edit<'_>], out: &mut Vec<u8>, fields: &Fields<'_>, dropped: &mut Mask) {
    if edits.is_empty() {
        return;
    }
    for index in fields.positions(|header| replace(edits, header.name)) {
        dropped.insert(index);
    }
    for (at, edit) in edits.iter().enumerate() {
        if let Change::Add(value) | Change::Set(value) = edit.change
            && !replace(&edits[at + 1..], edit.name)
        {
            put_line(out, edit.name, value);
        }
    }
}
