//! Who may change what at the same time: writers of one key take turns; making and deleting a bucket waits for them.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use tokio::sync::{Mutex, OwnedMutexGuard, OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// Locks are shared by hash: strangers that collide wait for each other's flush, nothing else.
const KEY_LOCKS: usize = 4096;
const BUCKET_LOCKS: usize = 256;

pub struct Locks {
    keys: Vec<Arc<Mutex<()>>>,
    buckets: Vec<Arc<RwLock<()>>>,
}

/// Whatever a change must hold until it is applied.
pub enum Guards {
    Key { _bucket: OwnedRwLockReadGuard<()>, _key: OwnedMutexGuard<()> },
    Bucket { _bucket: OwnedRwLockWriteGuard<()> },
}

impl Locks {
    pub fn new() -> Self {
        let keys = std::iter::repeat_with(Arc::default).take(KEY_LOCKS).collect();
        let buckets = std::iter::repeat_with(Arc::default).take(BUCKET_LOCKS).collect();
        Self { keys, buckets }
    }

    /// The bucket first, then the key: the same order everywhere.
    pub async fn key(&self, bucket: &str, key: &str) -> Guards {
        let bucket_lock = Arc::clone(&self.buckets[slot(bucket, BUCKET_LOCKS)]);
        let key_lock = Arc::clone(&self.keys[slot((bucket, key), KEY_LOCKS)]);
        let _bucket = bucket_lock.read_owned().await;
        Guards::Key { _bucket, _key: key_lock.lock_owned().await }
    }

    pub async fn bucket(&self, bucket: &str) -> Guards {
        Guards::Bucket { _bucket: Arc::clone(&self.buckets[slot(bucket, BUCKET_LOCKS)]).write_owned().await }
    }
}

fn slot(value: impl Hash, slots: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    (hasher.finish() % slots as u64) as usize
}
