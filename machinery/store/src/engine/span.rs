//! A range of keys as etcd reads it.

use std::ops::Bound;

/// `[key, range_end)`: an empty end is the one key, `\0` is to the end of all keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span<'a> {
    One(&'a [u8]),
    Between(&'a [u8], &'a [u8]),
    From(&'a [u8]),
}

type Bounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

impl<'a> Span<'a> {
    pub fn of(key: &'a [u8], range_end: &'a [u8]) -> Self {
        match range_end {
            b"" => Self::One(key),
            b"\0" => Self::From(key),
            _ => Self::Between(key, range_end),
        }
    }

    pub fn contains(&self, key: &[u8]) -> bool {
        match self {
            Self::One(one) => *one == key,
            Self::Between(start, end) => *start <= key && key < *end,
            Self::From(start) => *start <= key,
        }
    }

    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Between(start, end) if end <= start)
    }

    /// Bounds for an ordered map; `None` when nothing can lie between them.
    pub fn bounds(&self) -> Option<Bounds<'a>> {
        match self {
            Self::One(key) => Some((Bound::Included(key), Bound::Included(key))),
            Self::Between(start, end) => (!self.is_empty()).then_some((Bound::Included(start), Bound::Excluded(end))),
            Self::From(start) => Some((Bound::Included(start), Bound::Unbounded)),
        }
    }
}
