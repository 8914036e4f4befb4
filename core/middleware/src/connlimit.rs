//! `connlimit`: so many requests at once per key; 429 beyond. A request counts until its exchange is over, a tunnel until
//! it closes. Keys are as many as requests under way, which the engine bounds.

use crate::answer::Answer;
use crate::spec::{Fields, SpecError};
use crate::step::{Note, Seen, Step, Verdict};
use crate::variable::Variable;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const SHARDS: usize = 16;
const CONNECTIONS_MAX: i64 = 1_000_000_000;

#[derive(Debug)]
pub(crate) struct ConnLimit {
    connections_max: u64,
    variable: Variable,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
}

/// How many requests are under way by key; a key of none is not there.
type Shard = HashMap<Arc<[u8]>, u64>;

/// One request under way; dropping it gives its place back.
pub(crate) struct Slot {
    counts: Arc<Counts>,
    key: Arc<[u8]>,
}

impl ConnLimit {
    pub fn read(mut fields: Fields) -> Result<Self, SpecError> {
        let connections = fields.bounded("Connections", 0, CONNECTIONS_MAX)?;
        let connections_max = connections.ok_or_else(|| fields.error("Connections", "is missing"))?;
        let variable = Variable::parse("Variable", &fields.text("Variable")?)?;
        Ok(Self { connections_max, variable, counts: Arc::default() })
    }
}

impl Step for ConnLimit {
    fn request<'c>(&'c self, seen: &mut Seen<'_, 'c>) -> Verdict<'c> {
        match Counts::enter(&self.counts, self.variable.key(seen).bytes(), self.connections_max) {
            Some(slot) => Verdict::PassWith(Note::Slot(slot)),
            None => Verdict::Answer(Answer::text(429, format!("max connections reached: {}", self.connections_max))),
        }
    }
}

impl Counts {
    fn enter(counts: &Arc<Self>, key: &[u8], max: u64) -> Option<Slot> {
        let mut shard = counts.shard(key);
        let (key, count) = match shard.get_key_value(key) {
            Some((known, count)) => (known.clone(), *count),
            None => (Arc::from(key), 0),
        };
        if count >= max {
            return None;
        }
        shard.insert(key.clone(), count + 1);
        drop(shard);
        Some(Slot { counts: counts.clone(), key })
    }

    fn shard(&self, key: &[u8]) -> MutexGuard<'_, Shard> {
        let shard = self.hasher.hash_one(key) as usize % SHARDS;
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut shard = self.counts.shard(&self.key);
        match shard.get_mut(&self.key) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                shard.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{answer, chain, passes, request};
    use crate::{Decision, Finish, Now};
    use proptest::prelude::*;
    use serde_json::json;

    proptest! {
        /// Requests come and go in any order: never more at once than allowed, and nothing is left behind.
        #[test]
        fn never_more_at_once_and_all_are_given_back(
            max in 0u64..4, steps in proptest::collection::vec((any::<bool>(), 0u8..3, any::<prop::sample::Index>()), 0..60),
        ) {
            let counts = Arc::new(Counts::default());
            let mut held: Vec<(u8, Slot)> = Vec::new();
            for (comes, key, which) in steps {
                if comes {
                    let under_way = held.iter().filter(|(of, _)| *of == key).count() as u64;
                    let slot = Counts::enter(&counts, &[key], max);
                    prop_assert_eq!(slot.is_some(), under_way < max);
                    held.extend(slot.map(|slot| (key, slot)));
                } else if !held.is_empty() {
                    held.swap_remove(which.index(held.len()));
                }
            }
            drop(held);
            prop_assert!(counts.shards.iter().all(|shard| shard.lock().unwrap().is_empty()));
        }
    }

    #[test]
    fn one_key_has_so_many_requests_at_once_and_gives_them_back() {
        let chain = chain("connlimit", json!({"Connections": 2, "Variable": "request.header.Source"}));
        let at = |source| [("Source", source)];
        let before = |source: &'static str| {
            let headers = at(source);
            match chain.before(&request("GET", "/", &headers), Now::default()) {
                Decision::Continue(passage) => Ok(passage),
                Decision::Answer(answer) => Err(answer),
                Decision::Ask(_) => unreachable!(),
            }
        };
        let (first, second) = (before("a").ok().unwrap(), before("a").ok().unwrap());
        let refused = before("a").err().unwrap();
        assert_eq!((refused.status, refused.body.as_slice()), (429, b"max connections reached: 2".as_slice()));
        let other = before("b").ok().unwrap();
        drop(first);
        let third = before("a").ok().unwrap();
        third.finish(&Finish::default(), Now::default());
        assert!(before("a").is_ok());
        drop((second, other));
    }

    #[test]
    fn zero_connections_refuse_everything() {
        let chain = chain("connlimit", json!({"Connections": 0, "Variable": "client.ip"}));
        assert_eq!(answer(&chain, &request("GET", "/", &[])).body, b"max connections reached: 0");
    }

    #[test]
    fn what_was_refused_further_in_gives_its_place_back() {
        let list = json!([
            {"Id": "a", "Priority": 1, "Type": "connlimit", "Middleware": {"Connections": 1, "Variable": "client.ip"}},
            {"Id": "b", "Priority": 2, "Type": "iplist", "Middleware": {"Deny": ["192.0.2.0/24"]}},
        ]);
        let chain = crate::testing::chain_of(&list);
        for _ in 0..3 {
            assert_eq!(answer(&chain, &request("GET", "/", &[])).status, 403);
        }
        assert!(!passes(&chain, &request("GET", "/", &[])));
    }
}
