//! Whether the store can be heard.

use super::Source;
use crate::servers::lock;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Since when each source has not been heard; `None`: it is.
#[derive(Debug)]
pub(crate) struct Contact(Mutex<[Option<Instant>; Source::ALL.len()]>);

impl Contact {
    /// Nothing was heard yet.
    pub fn new() -> Self {
        Self(Mutex::new([Some(Instant::now()); Source::ALL.len()]))
    }

    pub fn heard(&self, source: Source) {
        lock(&self.0)[source as usize] = None;
    }

    pub fn lost(&self, source: Source) {
        lock(&self.0)[source as usize].get_or_insert_with(Instant::now);
    }

    /// How long the source that is away the longest is.
    pub fn away_for(&self) -> Option<Duration> {
        lock(&self.0).iter().flatten().map(Instant::elapsed).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_source_that_is_away_is_enough() {
        let contact = Contact::new();
        assert!(contact.away_for().is_some());
        Source::ALL.into_iter().for_each(|source| contact.heard(source));
        assert_eq!(contact.away_for(), None);
        contact.lost(Source::Vulcand);
        contact.heard(Source::Documents);
        assert!(contact.away_for().is_some());
    }
}
