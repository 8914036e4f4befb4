//! Leases: keys that live as long as someone says so.

use crate::refusal::Refusal;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// A shorter lease is granted this long: etcd's election timeout of 1 s (ten ticks of 100 ms), half as much again, in
/// whole seconds.
const TTL_SECONDS_MIN: i64 = 2;
/// etcd's `lease.MaxLeaseTTL`.
const TTL_SECONDS_MAX: i64 = 9_000_000_000;

struct Lease {
    ttl_seconds: i64,
    deadline: Instant,
    keys: BTreeSet<Bytes>,
}

#[derive(Default)]
pub struct Leases {
    leases: BTreeMap<i64, Lease>,
    deadlines: BTreeSet<(Instant, i64)>,
}

impl Leases {
    /// Returns the granted time in seconds.
    pub fn grant(&mut self, id: i64, ttl_seconds: i64, now: Instant) -> Result<i64, Refusal> {
        if TTL_SECONDS_MAX < ttl_seconds {
            return Err(Refusal::LeaseTtlTooLarge);
        }
        if self.leases.contains_key(&id) {
            return Err(Refusal::LeaseExists);
        }
        let ttl_seconds = ttl_seconds.max(TTL_SECONDS_MIN);
        self.restore(id, ttl_seconds, now);
        Ok(ttl_seconds)
    }

    pub fn restore(&mut self, id: i64, ttl_seconds: i64, now: Instant) {
        let deadline = deadline(ttl_seconds, now);
        self.deadlines.insert((deadline, id));
        self.leases.insert(id, Lease { ttl_seconds, deadline, keys: BTreeSet::new() });
    }

    /// Forgets a lease and returns its keys, in order.
    pub fn remove(&mut self, id: i64) -> Option<BTreeSet<Bytes>> {
        let lease = self.leases.remove(&id)?;
        self.deadlines.remove(&(lease.deadline, id));
        Some(lease.keys)
    }

    pub fn keep_alive(&mut self, id: i64, now: Instant) -> Option<i64> {
        let lease = self.leases.get_mut(&id).filter(|lease| now < lease.deadline)?;
        self.deadlines.remove(&(lease.deadline, id));
        lease.deadline = deadline(lease.ttl_seconds, now);
        self.deadlines.insert((lease.deadline, id));
        Some(lease.ttl_seconds)
    }

    /// Remaining and granted seconds.
    pub fn time_to_live(&self, id: i64, now: Instant) -> Option<(i64, i64)> {
        let lease = self.leases.get(&id).filter(|lease| now < lease.deadline)?;
        Some((lease.deadline.saturating_duration_since(now).as_secs() as i64, lease.ttl_seconds))
    }

    pub fn move_key(&mut self, key: &Bytes, from: i64, to: i64) {
        if from == to {
            return;
        }
        if let Some(lease) = self.leases.get_mut(&from) {
            lease.keys.remove(key);
        }
        if let Some(lease) = self.leases.get_mut(&to) {
            lease.keys.insert(Bytes::copy_from_slice(key));
        }
    }

    pub fn contains(&self, id: i64) -> bool {
        self.leases.contains_key(&id)
    }

    pub fn len(&self) -> usize {
        self.leases.len()
    }

    pub fn keys(&self, id: i64) -> impl Iterator<Item = &Bytes> {
        self.leases.get(&id).into_iter().flat_map(|lease| &lease.keys)
    }

    pub fn ids(&self) -> Vec<i64> {
        self.leases.keys().copied().collect()
    }

    /// Id and granted seconds of every lease.
    pub fn granted(&self) -> impl Iterator<Item = (i64, i64)> {
        self.leases.iter().map(|(id, lease)| (*id, lease.ttl_seconds))
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    pub fn expired(&self, now: Instant, count_max: usize) -> Vec<i64> {
        self.deadlines.iter().take_while(|(deadline, _)| *deadline <= now).take(count_max).map(|(_, id)| *id).collect()
    }
}

fn deadline(ttl_seconds: i64, now: Instant) -> Instant {
    let ttl = Duration::from_secs(u64::try_from(ttl_seconds).unwrap_or(0));
    now.checked_add(ttl).unwrap_or(now)
}
