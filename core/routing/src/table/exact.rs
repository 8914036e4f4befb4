//! Values by exact text: a hash table that is persistent like the [`super::tree`]. A clone shares all shards, and an edit
//! copies one of them.

use super::tree::Vacant;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock};

/// Entries a shard has on average at most; then there is one shard more.
const SHARD_ENTRIES: usize = 4;

/// Keyed anew in every process: nobody can prepare texts that fall into one shard.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

#[derive(Clone, Debug)]
pub(super) struct Exact<V> {
    shards: Vec<Arc<Vec<Entry<V>>>>,
    entries: usize,
}

#[derive(Clone, Debug)]
struct Entry<V> {
    hash: u64,
    text: Box<str>,
    value: V,
}

impl<V: Vacant> Default for Exact<V> {
    fn default() -> Self {
        Self { shards: Vec::new(), entries: 0 }
    }
}

impl<V: Vacant> Exact<V> {
    pub fn is_vacant(&self) -> bool {
        self.entries == 0
    }

    pub fn get(&self, text: &str) -> Option<&V> {
        let found = match self.shards.as_slice() {
            [] => None,
            // So few are sooner compared than hashed.
            [only] => only.iter().find(|entry| *entry.text == *text),
            shards => {
                let hash = HASHER.hash_one(text);
                let shard = &shards[shard(hash, shards.len())];
                shard.iter().find(|entry| entry.hash == hash && *entry.text == *text)
            }
        };
        found.map(|entry| &entry.value)
    }

    /// Changes the value of a text.
    pub fn edit(&mut self, text: &str, change: impl FnOnce(&mut V)) {
        if self.entries >= self.shards.len() * SHARD_ENTRIES {
            self.grow();
        }
        let hash = HASHER.hash_one(text);
        let place = shard(hash, self.shards.len());
        let shard = Arc::make_mut(&mut self.shards[place]);
        let place = shard.iter().position(|entry| *entry.text == *text).unwrap_or_else(|| {
            shard.push(Entry { hash, text: text.into(), value: V::default() });
            self.entries += 1;
            shard.len() - 1
        });
        change(&mut shard[place].value);
        if shard[place].value.is_vacant() {
            shard.swap_remove(place);
            self.entries -= 1;
        }
    }

    /// One more shard, which takes its part of one other (linear hashing): no edit ever has to move all entries.
    fn grow(&mut self) {
        let new = self.shards.len();
        self.shards.push(Arc::default());
        if let Some(highest_bit) = new.checked_ilog2() {
            let divided = new & !(1 << highest_bit);
            let all = self.shards[divided].iter().cloned();
            let (stay, go) = all.partition(|entry| shard(entry.hash, new + 1) == divided);
            self.shards[divided] = Arc::new(stay);
            self.shards[new] = Arc::new(go);
        }
    }
}

/// Of so many shards the one for this hash: by as many bits as they need, and where that shard is yet to come, by one less.
fn shard(hash: u64, shards: usize) -> usize {
    let mask = shards.next_power_of_two() - 1;
    let place = hash as usize & mask;
    if place < shards { place } else { place & (mask >> 1) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        /// It is a map, whatever was put in and taken out, and a clone does not see what comes later.
        #[test]
        fn it_is_a_map(edits in proptest::collection::vec(("[abcde]{0,3}", proptest::option::of(0..9usize)), 0..200)) {
            let mut exact = Exact::<Vec<usize>>::default();
            let mut map = HashMap::new();
            let mut before = None;
            for (number, (text, value)) in edits.iter().enumerate() {
                if number == edits.len() / 2 {
                    before = Some((exact.clone(), map.clone()));
                }
                exact.edit(text, |values| *values = Vec::from_iter(*value));
                match value {
                    Some(value) => map.insert(text, vec![*value]),
                    None => map.remove(text),
                };
            }
            for (exact, map) in before.iter().chain([&(exact, map)]) {
                prop_assert_eq!(exact.is_vacant(), map.is_empty());
                for (text, _) in &edits {
                    prop_assert_eq!(exact.get(text), map.get(text));
                }
                prop_assert_eq!(exact.get("elsewhere"), None);
            }
        }
    }
}
