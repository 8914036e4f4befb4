//! Where a request's candidates are found: by host, below it by path, below that by one more field (a header, a parameter
//! or the method), and of what is found there the best that matches.
//!
//! Each alternative of each route stands in one place, under the patterns of these three that it cannot do without; one that
//! has none (a regexp, a `!`) stands beside those that have. That a request leads to a place says that these patterns
//! match; whatever else the alternative asks for is tried. Within a place the best goes first, and none is tried that could
//! not win any more.

use super::exact::Exact;
use super::rank::Rank;
use super::tree::{Tree, Vacant};
use crate::expression::{Alternative, Condition, Matcher, RequestHead, Subject, Term, Test};
use crate::pattern::Pattern;
use smallvec::SmallVec;
use std::sync::Arc;

#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    by_host: Places<OfHost>,
    any_host: OfHost,
}

/// Values by pattern.
#[derive(Clone, Debug)]
struct Places<V> {
    exact: Exact<V>,
    with_holes: Tree<V>,
}

/// What asks for one host pattern.
#[derive(Clone, Debug, Default)]
struct OfHost {
    by_path: Places<OfPath>,
    any_path: OfPath,
}

/// What asks for one path pattern too.
#[derive(Clone, Debug, Default)]
struct OfPath {
    by_field: Vec<(Subject, Places<Candidates>)>,
    others: Candidates,
}

/// Best first. Most places have one.
#[derive(Clone, Debug, Default)]
struct Candidates(SmallVec<[Entry; 1]>);

/// A candidate, and of it what a lookup mostly needs no more than.
#[derive(Clone, Debug)]
struct Entry {
    candidate: Arc<Candidate>,
    position: u32,
    /// The candidate asks for nothing but its place.
    is_decided: bool,
}

/// One alternative of a route.
#[derive(Debug)]
pub(super) struct Candidate {
    pub rank: Rank,
    /// Of the route in the table.
    pub position: u32,
    /// Of the alternative in the route's expression.
    number: usize,
    // Where it stands.
    host: Option<Arc<Matcher>>,
    path: Option<Arc<Matcher>>,
    field: Option<Arc<Matcher>>,
    /// What its place does not say already.
    rest: SmallVec<[Term; 1]>,
}

/// What came of a lookup.
#[derive(Default)]
pub(super) struct Found<'t> {
    best: Option<&'t Entry>,
    /// Alternatives that were put to the test.
    pub tried: usize,
}

impl Index {
    pub fn insert(&mut self, candidate: Candidate) {
        let candidate = Arc::new(candidate);
        self.edit(&candidate, |candidates| candidates.insert(candidate.clone()));
    }

    pub fn remove(&mut self, candidate: &Candidate) {
        self.edit(candidate, |candidates| candidates.remove(candidate));
    }

    /// Changes the list at a candidate's place.
    fn edit(&mut self, candidate: &Candidate, change: impl FnOnce(&mut Candidates)) {
        let change = |place: &mut OfPath| match pattern(&candidate.field) {
            Some((field, pattern)) => place.edit_field(field, pattern, change),
            None => change(&mut place.others),
        };
        let change = |place: &mut OfHost| match pattern(&candidate.path) {
            Some((_, path)) => place.by_path.edit(path, change),
            None => change(&mut place.any_path),
        };
        match pattern(&candidate.host) {
            Some((_, host)) => self.by_host.edit(host, change),
            None => change(&mut self.any_host),
        }
    }

    /// The best candidate that matches. `host_name` is the request's.
    pub fn find(&self, head: &RequestHead<'_>, host_name: &str) -> Found<'_> {
        let mut found = Found::default();
        self.by_host.visit(host_name, &Subject::Host, &mut |place| found.look(place, head, host_name));
        found.look(&self.any_host, head, host_name);
        found
    }
}

impl Candidate {
    pub fn new(rank: Rank, position: u32, number: usize, alternative: &Alternative) -> Self {
        let host = anchor(alternative, |subject| *subject == Subject::Host);
        let path = anchor(alternative, |subject| *subject == Subject::Path);
        let field = anchor(alternative, |subject| !matches!(subject, Subject::Host | Subject::Path));
        let said = |matcher| [&host, &path, &field].into_iter().flatten().any(|anchor| Arc::ptr_eq(anchor, matcher));
        let rest = alternative.terms.iter().filter(|term| term.negated || !said(&term.matcher)).cloned().collect();
        Self { rank, position, number, host, path, field, rest }
    }

    /// No two in a table have the same.
    fn place(&self) -> (&Rank, usize) {
        (&self.rank, self.number)
    }
}

/// The matcher of such a subject without which the alternative cannot match, if it has a pattern; rather not a method, which
/// many share, and an exact one rather than another.
fn anchor(alternative: &Alternative, of: impl Fn(&Subject) -> bool) -> Option<Arc<Matcher>> {
    let patterns = alternative.positive().filter_map(|matcher| match &matcher.condition {
        Condition::Text(subject, Test::Pattern(pattern)) if of(subject) => Some((matcher, subject, pattern)),
        _ => None,
    });
    let best = patterns.min_by_key(|(_, subject, pattern)| (**subject == Subject::Method, pattern.exact().is_none()));
    best.map(|(matcher, ..)| matcher.clone())
}

fn pattern(anchor: &Option<Arc<Matcher>>) -> Option<(&Subject, &Pattern)> {
    match &anchor.as_ref()?.condition {
        Condition::Text(subject, Test::Pattern(pattern)) => Some((subject, pattern)),
        _ => None,
    }
}

impl OfPath {
    fn edit_field(&mut self, field: &Subject, pattern: &Pattern, change: impl FnOnce(&mut Candidates)) {
        let at = self.by_field.iter().position(|(known, _)| known == field).unwrap_or_else(|| {
            self.by_field.push((field.clone(), Places::default()));
            self.by_field.len() - 1
        });
        let places = &mut self.by_field[at].1;
        places.edit(pattern, change);
        if places.is_vacant() {
            self.by_field.swap_remove(at);
        }
    }
}

impl<V: Vacant> Places<V> {
    fn edit(&mut self, pattern: &Pattern, change: impl FnOnce(&mut V)) {
        match pattern.exact() {
            Some(text) => self.exact.edit(text, change),
            None => self.with_holes.edit(pattern.parts(), change),
        }
    }

    /// Hands over the value of every pattern that matches the text of a subject.
    fn visit<'t>(&'t self, text: &str, subject: &Subject, found: &mut impl FnMut(&'t V)) {
        if let Some(value) = self.exact.get(text) {
            found(value);
        }
        self.with_holes.visit(text.as_bytes(), subject.separator(), found);
    }
}

impl<'t> Found<'t> {
    /// The position of the route that takes the request.
    pub fn position(&self) -> Option<usize> {
        self.best.map(|entry| entry.position as usize)
    }

    fn look(&mut self, place: &'t OfHost, head: &RequestHead<'_>, host_name: &str) {
        place.by_path.visit(head.path, &Subject::Path, &mut |place| self.look_closer(place, head, host_name));
        self.look_closer(&place.any_path, head, host_name);
    }

    fn look_closer(&mut self, place: &'t OfPath, head: &RequestHead<'_>, host_name: &str) {
        for (field, places) in &place.by_field {
            if let Some(value) = field.value(head, host_name) {
                places.visit(value, field, &mut |candidates| self.take(candidates, head, host_name));
            }
        }
        self.take(&place.others, head, host_name);
    }

    fn take(&mut self, candidates: &'t Candidates, head: &RequestHead<'_>, host_name: &str) {
        for entry in &candidates.0 {
            if self.best.is_some_and(|best| best.candidate.rank <= entry.candidate.rank) {
                return;
            }
            self.tried += 1;
            if entry.is_decided || entry.candidate.rest.iter().all(|term| term.holds(head, host_name)) {
                self.best = Some(entry);
                return;
            }
        }
    }
}

impl Candidates {
    fn insert(&mut self, candidate: Arc<Candidate>) {
        let (Ok(place) | Err(place)) = self.place(&candidate);
        let (position, is_decided) = (candidate.position, candidate.rest.is_empty());
        self.0.insert(place, Entry { candidate, position, is_decided });
    }

    fn remove(&mut self, candidate: &Candidate) {
        if let Ok(place) = self.place(candidate) {
            self.0.remove(place);
        }
    }

    /// Where it stands, or would.
    fn place(&self, candidate: &Candidate) -> Result<usize, usize> {
        self.0.binary_search_by(|entry| entry.candidate.place().cmp(&candidate.place()))
    }
}

impl<V: Vacant> Default for Places<V> {
    fn default() -> Self {
        Self { exact: Exact::default(), with_holes: Tree::default() }
    }
}

impl<V: Vacant> Vacant for Places<V> {
    fn is_vacant(&self) -> bool {
        self.exact.is_vacant() && self.with_holes.is_vacant()
    }
}

impl Vacant for Candidates {
    fn is_vacant(&self) -> bool {
        self.0.is_empty()
    }
}

impl Vacant for OfPath {
    fn is_vacant(&self) -> bool {
        self.by_field.is_empty() && self.others.is_vacant()
    }
}

impl Vacant for OfHost {
    fn is_vacant(&self) -> bool {
        self.by_path.is_vacant() && self.any_path.is_vacant()
    }
}
