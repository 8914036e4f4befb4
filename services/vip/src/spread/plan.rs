//! Which addresses should move so that the ready nodes hold equally many: none, most of the time.
//!
//! First move the addresses of holders that are not ready and that nobody has relieved: all were unready once. Then a move is
//! one from a node that holds the most to one that holds the fewest, while they differ by two or more. Each makes the spread
//! more even, none can be undone by another, and an even spread is left alone, wherever its addresses lie: there is no owner
//! who wants an address back. Everyone who sees the same makes the same plan.

use sha2::{Digest, Sha256};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// One address that should move; `key` is its record's in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Move {
    pub key: String,
    pub from: String,
    pub to: String,
}

/// The moves that make it even; none while nobody is ready.
pub(crate) fn plan(holders: &BTreeMap<String, String>, ready: &BTreeSet<String>) -> Vec<Move> {
    let mut held: BTreeMap<&str, Vec<&str>> = ready.iter().map(|node| (node.as_str(), Vec::new())).collect();
    let mut stranded = Vec::new();
    for (key, node) in holders {
        match held.get_mut(node.as_str()) {
            Some(keys) => keys.push(key),
            None => stranded.push((key, node)),
        }
    }
    let mut moves = Vec::new();
    for (key, from) in stranded {
        let fewest = held.iter_mut().min_by_key(|(node, keys)| (keys.len(), **node));
        let Some((to, keys)) = fewest else { return moves };
        keys.push(key);
        moves.push(Move { key: key.clone(), from: from.clone(), to: (*to).to_owned() });
    }
    loop {
        // Of equals the first by name.
        let most = held.iter().max_by_key(|(node, keys)| (keys.len(), Reverse(**node))).map(|(node, _)| *node);
        let fewest = held.iter().min_by_key(|(node, keys)| (keys.len(), **node)).map(|(node, _)| *node);
        let (Some(from), Some(to)) = (most, fewest) else { return moves };
        if held[from].len() < held[to].len() + 2 {
            return moves;
        }
        let Some(key) = held[from].iter().copied().max_by_key(|key| weight(key, to)) else { return moves };
        held.entry(from).or_default().retain(|one| *one != key);
        held.entry(to).or_default().push(key);
        moves.push(Move { key: key.to_owned(), from: from.to_owned(), to: to.to_owned() });
    }
}

/// Rendezvous hashing: which of several a node is given, the same whoever asks.
pub(super) fn weight(address: &str, node: &str) -> [u8; 32] {
    Sha256::digest(format!("{address} {node}")).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spread_of(holders: &BTreeMap<String, String>, ready: &BTreeSet<String>) -> (usize, usize) {
        let counts = ready.iter().map(|node| holders.values().filter(|holder| *holder == node).count());
        let counts: Vec<usize> = counts.collect();
        (counts.iter().copied().min().unwrap_or(0), counts.iter().copied().max().unwrap_or(0))
    }

    proptest! {
        #[test]
        fn a_plan_makes_it_even_with_the_fewest_moves_and_none_can_be_undone(
            holds in prop::collection::vec(0..5_usize, 0..12),
            ready in prop::collection::btree_set(0..5_usize, 0..5),
        ) {
            let node = |number: usize| format!("n{number}");
            let ready: BTreeSet<String> = ready.into_iter().map(node).collect();
            let mut holders: BTreeMap<String, String> =
                holds.into_iter().enumerate().map(|(key, holder)| (format!("k{key}"), node(holder))).collect();
            let before = holders.clone();
            let moves = plan(&holders, &ready);
            for Move { key, from, to } in &moves {
                prop_assert!(ready.contains(to));
                let holder = holders.insert(key.clone(), to.clone());
                prop_assert_eq!(holder.as_ref(), Some(from));
                prop_assert_eq!(&before[key], from, "moved twice");
            }
            let (fewest, most) = spread_of(&holders, &ready);
            prop_assert!(most <= fewest + 1, "{holders:?}");
            prop_assert_eq!(plan(&holders, &ready), [], "an even spread is left alone");
            // Nothing less would do: whoever has more than its share gives just that.
            let held = |node: &String| before.values().filter(|holder| *holder == node).count();
            let too_many: usize = ready.iter().map(|node| held(node).saturating_sub(most)).sum();
            let too_few: usize = ready.iter().map(|node| fewest.saturating_sub(held(node))).sum();
            let stranded = before.values().filter(|holder| !ready.contains(*holder) && !ready.is_empty()).count();
            prop_assert_eq!(moves.len(), stranded + too_many.max(too_few.saturating_sub(stranded)));
        }
    }
}
