//! Where a request's candidates are found: by host, below it by path, and of what is found there the best that matches.
//!
//! Each alternative of each route stands in one place, under the host pattern and the path pattern it cannot do without; an
//! alternative that has none (a regexp, a `!`) stands in the list of its bucket. A place promises only that alternatives
//! standing elsewhere do not match. Within a place the best goes first, and none is tried that could not win any more.

use super::rank::Rank;
use super::tree::{Tree, Vacant};
use crate::expression::{Alternative, Condition, RequestHead, Subject, Test};
use crate::pattern::{Part, Pattern, Separator};
use crate::route::Route;
use std::sync::Arc;

#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    by_host: Tree<Bucket>,
    any_host: Bucket,
}

/// What asks for one host pattern.
#[derive(Clone, Debug, Default)]
struct Bucket {
    by_path: Tree<Candidates>,
    any_path: Candidates,
}

/// Best first.
#[derive(Clone, Debug, Default)]
struct Candidates(Vec<Arc<Candidate>>);

/// One alternative of a route.
#[derive(Debug)]
pub(super) struct Candidate {
    pub rank: Rank,
    pub route: Arc<Route>,
    /// Of the route in the table.
    pub position: usize,
    /// Of the alternative in the route's expression.
    pub alternative: usize,
}

/// What came of a lookup.
#[derive(Default)]
pub(super) struct Found<'t> {
    pub best: Option<&'t Candidate>,
    /// Alternatives that were put to the test.
    pub tried: usize,
}

impl Index {
    pub fn insert(&mut self, candidate: Candidate) {
        let candidate = Arc::new(candidate);
        self.edit(&candidate.clone(), |candidates| candidates.insert(candidate));
    }

    pub fn remove(&mut self, candidate: &Candidate) {
        self.edit(candidate, |candidates| candidates.remove(candidate));
    }

    /// Changes the list at a candidate's place.
    fn edit(&mut self, candidate: &Candidate, change: impl FnOnce(&mut Candidates)) {
        let alternative = candidate.route.expression.alternative(candidate.alternative);
        let path = place(alternative, &Subject::Path);
        let change = |bucket: &mut Bucket| match path {
            Some(path) => bucket.by_path.edit(path, change),
            None => change(&mut bucket.any_path),
        };
        match place(alternative, &Subject::Host) {
            Some(host) => self.by_host.edit(host, change),
            None => change(&mut self.any_host),
        }
    }

    /// The best candidate that matches. `host_name` is the request's.
    pub fn find(&self, head: &RequestHead<'_>, host_name: &str) -> Found<'_> {
        let mut found = Found::default();
        self.by_host.visit(host_name.as_bytes(), Separator('.'), &mut |bucket| found.look(bucket, head, host_name));
        found.look(&self.any_host, head, host_name);
        found
    }
}

/// The pattern of this subject without which the alternative cannot match; an exact one rather than another.
fn place<'a>(alternative: Alternative<'a>, subject: &Subject) -> Option<&'a [Part]> {
    let patterns = alternative.positive().filter_map(|matcher| match &matcher.condition {
        Condition::Text(of, Test::Pattern(pattern)) if of == subject => Some(pattern),
        _ => None,
    });
    patterns.min_by_key(|pattern| pattern.exact().is_none()).map(Pattern::parts)
}

impl<'t> Found<'t> {
    fn look(&mut self, bucket: &'t Bucket, head: &RequestHead<'_>, host_name: &str) {
        let path = head.path.as_bytes();
        bucket.by_path.visit(path, Separator('/'), &mut |candidates| self.take(candidates, head, host_name));
        self.take(&bucket.any_path, head, host_name);
    }

    fn take(&mut self, candidates: &'t Candidates, head: &RequestHead<'_>, host_name: &str) {
        for candidate in &candidates.0 {
            if self.best.is_some_and(|best| best.rank <= candidate.rank) {
                return;
            }
            self.tried += 1;
            if candidate.route.expression.alternative(candidate.alternative).matches(head, host_name) {
                self.best = Some(candidate);
                return;
            }
        }
    }
}

impl Candidates {
    fn insert(&mut self, candidate: Arc<Candidate>) {
        let place =
            self.0.binary_search_by(|other| other.place().cmp(&candidate.place())).unwrap_or_else(|place| place);
        self.0.insert(place, candidate);
    }

    fn remove(&mut self, candidate: &Candidate) {
        if let Ok(place) = self.0.binary_search_by(|other| other.place().cmp(&candidate.place())) {
            self.0.remove(place);
        }
    }
}

impl Candidate {
    /// No two in a table have the same.
    fn place(&self) -> (&Rank, usize) {
        (&self.rank, self.alternative)
    }
}

impl Vacant for Candidates {
    fn is_vacant(&self) -> bool {
        self.0.is_empty()
    }
}

impl Vacant for Bucket {
    fn is_vacant(&self) -> bool {
        self.by_path.is_vacant() && self.any_path.is_vacant()
    }
}
