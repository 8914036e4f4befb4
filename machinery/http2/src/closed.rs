//! How the last streams ended. What still comes for one that we have reset was under way, and is dropped; for one that the
//! client has ended it is an error (RFC 9113 §5.1, "closed").

use std::collections::VecDeque;

/// What is remembered of each connection.
const CLOSED_KEPT_MAX: usize = 128;

#[derive(Debug, Default)]
pub(crate) struct Closed(VecDeque<u32>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    ByClient,
    /// The client did not know when it sent what came since.
    ByUs,
}

impl Closed {
    /// Identifiers of clients are odd (RFC 9113 §5.1.1), so their last bit says how.
    pub fn put(&mut self, id: u32, how: How) {
        if self.0.len() == CLOSED_KEPT_MAX {
            self.0.pop_front();
        }
        self.0.push_back(id & !1 | u32::from(how == How::ByUs));
    }

    /// `None`: it was long ago, or never.
    pub fn how(&self, id: u32) -> Option<How> {
        let found = self.0.iter().rev().find(|closed| **closed | 1 == id | 1)?;
        Some(if found & 1 == 1 { How::ByUs } else { How::ByClient })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_are_remembered() {
        let mut closed = Closed::default();
        for number in 0..1000 {
            closed.put(number * 2 + 1, if number % 3 == 0 { How::ByUs } else { How::ByClient });
        }
        assert_eq!((closed.how(1999), closed.how(1997)), (Some(How::ByUs), Some(How::ByClient)));
        assert_eq!((closed.how(1), closed.0.len()), (None, CLOSED_KEPT_MAX));
    }
}
