//! A radix tree of patterns: which of them match a text is found in one walk along it, however many there are.
//!
//! A hole takes all it can and gives nothing back ([`crate::pattern`]), so what it leaves is the same for every pattern that
//! has it at this place: a hole is an edge like any other.
//!
//! The tree is persistent: a clone shares all nodes, and an edit copies those on its way only ([`Arc::make_mut`]). Its depth
//! is bounded by [`crate::pattern::PATTERN_BYTES_MAX`].

use crate::pattern::{Part, Separator};
use smallvec::SmallVec;
use std::sync::Arc;

/// Bytes of a label that stand in the node itself.
const LABEL_BYTES: usize = 16;

/// A value that may be left without content; the tree then forgets it.
pub(super) trait Vacant: Default + Clone {
    fn is_vacant(&self) -> bool;
}

#[derive(Clone, Debug)]
pub(super) struct Tree<V> {
    root: Option<Arc<Node<V>>>,
}

#[derive(Clone, Debug)]
struct Node<V> {
    /// The text on the edge to this node; empty for the root and after a hole.
    label: SmallVec<[u8; LABEL_BYTES]>,
    /// Of the patterns that end here.
    end: V,
    /// Of the patterns that end here with a hole for all that is left.
    open: V,
    /// By the first byte of their labels, ascending.
    literals: Vec<(u8, Arc<Node<V>>)>,
    name: Option<Arc<Node<V>>>,
    integer: Option<Arc<Node<V>>>,
}

impl<V: Vacant> Default for Tree<V> {
    fn default() -> Self {
        Self { root: None }
    }
}

impl<V: Vacant> Tree<V> {
    pub fn is_vacant(&self) -> bool {
        self.root.is_none()
    }

    /// Changes the value of a pattern.
    pub fn edit(&mut self, pattern: &[Part], change: impl FnOnce(&mut V)) {
        let root = Arc::make_mut(self.root.get_or_insert_with(|| Node::new(&[])));
        root.edit(&[], pattern, change);
        if root.is_vacant() {
            self.root = None;
        }
    }

    /// Hands over the value of every pattern that matches the text.
    pub fn visit<'t>(&'t self, text: &[u8], separator: Separator, found: &mut impl FnMut(&'t V)) {
        if let Some(root) = &self.root {
            root.visit(text, separator, found);
        }
    }
}

impl<V: Vacant> Node<V> {
    fn new(label: &[u8]) -> Arc<Self> {
        let (end, open) = (V::default(), V::default());
        Arc::new(Self {
            label: SmallVec::from_slice(label),
            end,
            open,
            literals: Vec::new(),
            name: None,
            integer: None,
        })
    }

    fn is_vacant(&self) -> bool {
        let no_edges = self.literals.is_empty() && self.name.is_none() && self.integer.is_none();
        no_edges && self.end.is_vacant() && self.open.is_vacant()
    }

    /// Goes on with the rest of a literal, then with the parts after it.
    fn edit(&mut self, literal: &[u8], parts: &[Part], change: impl FnOnce(&mut V)) {
        if !literal.is_empty() {
            return self.edit_literal(literal, parts, change);
        }
        let Some((part, parts)) = parts.split_first() else { return change(&mut self.end) };
        let hole = match part {
            Part::Literal(literal) => return self.edit(literal.as_bytes(), parts, change),
            Part::Rest => return change(&mut self.open),
            Part::Name => &mut self.name,
            Part::Integer => &mut self.integer,
        };
        let child = Arc::make_mut(hole.get_or_insert_with(|| Self::new(&[])));
        child.edit(&[], parts, change);
        if child.is_vacant() {
            *hole = None;
        }
    }

    fn edit_literal(&mut self, literal: &[u8], parts: &[Part], change: impl FnOnce(&mut V)) {
        let place = match self.literals.binary_search_by_key(&literal[0], |(first, _)| *first) {
            Ok(place) => place,
            Err(place) => {
                self.literals.insert(place, (literal[0], Self::new(literal)));
                place
            }
        };
        let child = Arc::make_mut(&mut self.literals[place].1);
        let shared = child.label.iter().zip(literal).take_while(|(a, b)| a == b).count();
        if shared < child.label.len() {
            child.split(shared);
        }
        child.edit(&literal[shared..], parts, change);
        if child.is_vacant() {
            self.literals.remove(place);
        } else {
            child.join_only_child();
        }
    }

    /// Cuts the label in two: a new child takes the second part and all that was here.
    fn split(&mut self, at: usize) {
        let mut upper = Arc::unwrap_or_clone(Self::new(&self.label[..at]));
        std::mem::swap(self, &mut upper);
        let mut lower = upper;
        lower.label = SmallVec::from_slice(&lower.label[at..]);
        self.literals.push((lower.label[0], Arc::new(lower)));
    }

    /// The opposite of [`Node::split`], when nothing else is here.
    fn join_only_child(&mut self) {
        let is_passage = self.end.is_vacant() && self.open.is_vacant() && self.name.is_none() && self.integer.is_none();
        if let ([_], true) = (self.literals.as_slice(), is_passage)
            && let Some((_, child)) = self.literals.pop()
        {
            let child = Arc::unwrap_or_clone(child);
            let mut label = std::mem::take(&mut self.label);
            label.extend_from_slice(&child.label);
            *self = Self { label, ..child };
        }
    }

    fn visit<'t>(&'t self, mut text: &[u8], separator: Separator, found: &mut impl FnMut(&'t V)) {
        let mut node = self;
        loop {
            if text.is_empty() {
                found(&node.end);
            }
            if let Some(name) = &node.name {
                let end = text.iter().position(|byte| char::from(*byte) == separator.0).unwrap_or(text.len());
                name.visit(&text[end..], separator, found);
            }
            if let Some(integer) = &node.integer {
                let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
                integer.visit(&text[end..], separator, found);
            }
            found(&node.open);
            let Some(first) = text.first() else { return };
            let Ok(place) = node.literals.binary_search_by_key(first, |(first, _)| *first) else { return };
            node = &node.literals[place].1;
            let Some(rest) = text.strip_prefix(&node.label[..]) else { return };
            text = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::Pattern;
    use proptest::prelude::*;

    impl Vacant for Vec<usize> {
        fn is_vacant(&self) -> bool {
            self.is_empty()
        }
    }

    fn pattern() -> impl Strategy<Value = Pattern> {
        let part = proptest::sample::select(vec!["/", "/a", "/ab", "/abc", "/b", "/<x>", "/<int:n>", "c", "1", "é"]);
        let open = proptest::sample::select(vec!["", "<path:p>", "/<path:p>"]);
        (proptest::collection::vec(part, 0..5), open).prop_filter_map("never matches", |(parts, open)| {
            Pattern::parse(&(parts.concat() + open), Separator('/')).ok()
        })
    }

    proptest! {
        /// The walk finds the patterns that match, after any insertions and removals; what was shared stays as it was.
        #[test]
        fn the_walk_finds_what_matches(
            patterns in proptest::collection::vec(pattern(), 0..24),
            gone in proptest::collection::vec(any::<bool>(), 24),
            texts in proptest::collection::vec("[/abc1é]{0,8}", 1..8),
        ) {
            let mut full = Tree::<Vec<usize>>::default();
            for (number, pattern) in patterns.iter().enumerate() {
                full.edit(pattern.parts(), |numbers| numbers.push(number));
            }
            let mut thinned = full.clone();
            for (number, pattern) in patterns.iter().enumerate().filter(|(number, _)| gone[*number]) {
                thinned.edit(pattern.parts(), |numbers| numbers.retain(|other| *other != number));
            }
            for text in &texts {
                let find = |tree: &Tree<Vec<usize>>| {
                    let mut found = Vec::new();
                    tree.visit(text.as_bytes(), Separator('/'), &mut |numbers| found.extend_from_slice(numbers));
                    found.sort_unstable();
                    found
                };
                let matching = (0..patterns.len()).filter(|number| patterns[*number].matches(text));
                prop_assert_eq!(find(&full), matching.clone().collect::<Vec<_>>());
                prop_assert_eq!(find(&thinned), matching.filter(|number| !gone[*number]).collect::<Vec<_>>());
            }
            for (number, pattern) in patterns.iter().enumerate() {
                thinned.edit(pattern.parts(), |numbers| numbers.retain(|other| *other != number));
            }
            prop_assert!(thinned.is_vacant(), "an emptied tree has no nodes");
        }
    }
}
