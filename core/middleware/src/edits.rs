//! Changes to a head. Names and values come from a chain's settings (borrowed) or from the request (owned).

use crate::compress::Encoding;
use crate::effect::Effect;
use crate::view::Headers;
use std::borrow::Cow;

/// What happens to one header field; edits are applied in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderEdit<'c> {
    pub name: Cow<'c, str>,
    pub change: Change<'c>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<'c> {
    /// Every field of that name goes.
    Remove,
    /// Every field of that name goes, this one comes.
    Set(Cow<'c, [u8]>),
    Add(Cow<'c, [u8]>),
}

/// Changes to a request before it is forwarded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits<'c> {
    /// Path and query instead of the client's: visible ASCII, beginning with `/`.
    pub target: Option<String>,
    pub headers: Vec<HeaderEdit<'c>>,
}

/// Changes to a response before it reaches the client.
#[derive(Clone, Debug, Default)]
pub struct ResponseEdits<'c> {
    pub headers: Vec<HeaderEdit<'c>>,
    /// Encode the body so, which makes its length unknown; the header fields that say it are among the edits.
    pub encoding: Option<Encoding>,
    pub effects: Vec<Effect>,
}

impl<'c> HeaderEdit<'c> {
    pub(crate) fn set(name: impl Into<Cow<'c, str>>, value: impl Into<Cow<'c, [u8]>>) -> Self {
        Self { name: name.into(), change: Change::Set(value.into()) }
    }

    pub(crate) fn add(name: impl Into<Cow<'c, str>>, value: impl Into<Cow<'c, [u8]>>) -> Self {
        Self { name: name.into(), change: Change::Add(value.into()) }
    }

    pub(crate) fn remove(name: impl Into<Cow<'c, str>>) -> Self {
        Self { name: name.into(), change: Change::Remove }
    }

    fn names(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// Whether earlier fields of that name go.
    fn replaces(&self, name: &str) -> bool {
        !matches!(self.change, Change::Add(_)) && self.names(name)
    }

    fn value(&self) -> Option<&[u8]> {
        match &self.change {
            Change::Remove => None,
            Change::Set(value) | Change::Add(value) => Some(value),
        }
    }
}

/// The first value of a field once `edits` are made.
pub(crate) fn first_after<'a>(edits: &'a [HeaderEdit<'_>], original: &'a dyn Headers, name: &str) -> Option<&'a [u8]> {
    match edits.iter().rposition(|edit| edit.replaces(name)) {
        Some(last) => edits[last..].iter().filter(|edit| edit.names(name)).find_map(HeaderEdit::value),
        None => original.first(name).or_else(|| edits.iter().find(|edit| edit.names(name)).and_then(HeaderEdit::value)),
    }
}

/// Every field once `edits` are made, in order: what is left of the original, then what came.
pub(crate) fn each_after(edits: &[HeaderEdit<'_>], original: &dyn Headers, visit: &mut dyn FnMut(&str, &[u8])) {
    original.each(&mut |name, value| {
        if !edits.iter().any(|edit| edit.replaces(name)) {
            visit(name, value);
        }
    });
    for (position, edit) in edits.iter().enumerate() {
        let outdone = edits[position + 1..].iter().any(|later| later.replaces(&edit.name));
        if let (Some(value), false) = (edit.value(), outdone) {
            visit(&edit.name, value);
        }
    }
}

impl Edits<'_> {
    pub fn is_empty(&self) -> bool {
        self.target.is_none() && self.headers.is_empty()
    }

    /// The request's header fields once these edits are made.
    pub fn each(&self, original: &dyn Headers, visit: &mut dyn FnMut(&str, &[u8])) {
        each_after(&self.headers, original, visit);
    }
}

impl ResponseEdits<'_> {
    /// The response's header fields once these edits are made.
    pub fn each(&self, original: &dyn Headers, visit: &mut dyn FnMut(&str, &[u8])) {
        each_after(&self.headers, original, visit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(edits: &[HeaderEdit<'_>], original: &dyn Headers) -> Vec<String> {
        let mut lines = Vec::new();
        each_after(edits, original, &mut |name, value| {
            lines.push(format!("{name}: {}", String::from_utf8_lossy(value)));
        });
        lines
    }

    #[test]
    fn edits_are_made_in_order() {
        let original = [("Host", "a"), ("X-A", "1"), ("x-a", "2")];
        let edits = [
            HeaderEdit::add("X-A", b"3".as_slice()),
            HeaderEdit::set("x-b", b"4".as_slice()),
            HeaderEdit::remove("X-B"),
            HeaderEdit::add("X-B", b"5".as_slice()),
        ];
        assert_eq!(after(&edits, &original), ["Host: a", "X-A: 1", "x-a: 2", "X-A: 3", "X-B: 5"]);
        assert_eq!(first_after(&edits, &original, "x-a"), Some(b"1".as_slice()));
        assert_eq!(first_after(&edits, &original, "x-b"), Some(b"5".as_slice()));
        let edits = [HeaderEdit::add("X-A", b"3".as_slice()), HeaderEdit::set("x-A", b"6".as_slice())];
        assert_eq!(after(&edits, &original), ["Host: a", "x-A: 6"]);
        assert_eq!(first_after(&[HeaderEdit::remove("host")], &original, "Host"), None);
    }
}
