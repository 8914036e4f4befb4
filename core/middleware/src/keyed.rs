//! A bounded map of states by key, for all threads.
//!
//! Each shard has two generations: a key that is touched moves to the young one; when the young one is full or old, it
//! becomes the old one, and what was left in that is forgotten. So what is used stays, memory is bounded, and nothing ever
//! walks the map. The hash's keys are random, std's own doing, so that no client can choose where keys lie; nothing else
//! depends on them. Rejected: an exact list by age, whose pointers cost more than the states.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::mem;
use std::sync::{Mutex, PoisonError};

/// Keys one map holds (oxy's default capacity).
pub const KEYS_MAX: usize = 65_536;
const SHARDS: usize = 16;
const GENERATION_KEYS_MAX: usize = KEYS_MAX / SHARDS / 2;

#[derive(Debug)]
pub struct Keyed<T> {
    shards: [Mutex<Generations<T>>; SHARDS],
    hasher: RandomState,
    /// What was not touched for twice as long is forgotten.
    kept_nanos: u64,
}

#[derive(Debug)]
struct Generations<T> {
    young: HashMap<Box<[u8]>, T>,
    old: HashMap<Box<[u8]>, T>,
    young_since_nanos: u64,
}

impl<T> Keyed<T> {
    pub fn new(kept_nanos: u64) -> Self {
        let shard = |_| Mutex::new(Generations { young: HashMap::new(), old: HashMap::new(), young_since_nanos: 0 });
        Self { shards: std::array::from_fn(shard), hasher: RandomState::new(), kept_nanos }
    }

    /// Works on the state of a key, made first where there is none.
    pub fn with<R>(&self, key: &[u8], now_nanos: u64, make: impl FnOnce() -> T, work: impl FnOnce(&mut T) -> R) -> R {
        let shard = self.hasher.hash_one(key) as usize % SHARDS;
        let mut shard = self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner);
        shard.age(now_nanos, self.kept_nanos);
        if let Some(state) = shard.young.get_mut(key) {
            return work(state);
        }
        let (key, state) = shard.old.remove_entry(key).unwrap_or_else(|| (key.into(), make()));
        if shard.young.len() == GENERATION_KEYS_MAX {
            shard.turn(now_nanos);
        }
        work(shard.young.entry(key).or_insert(state))
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap()).map(|shard| shard.young.len() + shard.old.len()).sum()
    }
}

impl<T> Generations<T> {
    fn age(&mut self, now_nanos: u64, kept_nanos: u64) {
        let age = now_nanos.saturating_sub(self.young_since_nanos);
        if age > kept_nanos {
            self.turn(now_nanos);
            if age > kept_nanos.saturating_mul(2) {
                self.old = HashMap::new();
            }
        }
    }

    fn turn(&mut self, now_nanos: u64) {
        self.old = mem::take(&mut self.young);
        self.young_since_nanos = now_nanos;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_keys_stays_bounded_and_a_key_in_use_survives_it() {
        let map = Keyed::new(u64::MAX);
        for n in 0..200_000u32 {
            map.with(&n.to_be_bytes(), 0, || 0u32, |count| *count += 1);
            if n % 100 == 0 {
                map.with(b"in use", 0, || 0, |count| *count += 1);
            }
        }
        assert!(map.len() <= KEYS_MAX, "{}", map.len());
        assert_eq!(map.with(b"in use", 0, || 0, |count| *count), 2_000);
    }

    #[test]
    fn what_is_not_touched_is_forgotten() {
        let map = Keyed::new(10);
        map.with(b"a", 0, || 0, |count| *count += 1);
        assert_eq!(map.with(b"a", 11, || 0, |count| *count), 1);
        assert_eq!(map.with(b"a", 22, || 0, |count| *count), 1);
        assert_eq!(map.with(b"a", 100, || 0, |count| *count), 0);
    }
}
