//! One key and its versions.

use crate::Revision;
use crate::wire::mvccpb::KeyValue;
use bytes::Bytes;

/// What one version costs in memory beside its value, roughly.
const VERSION_OVERHEAD_BYTES: u64 = 128;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub revision: Revision,
    /// The place within the revision.
    pub sub: u32,
    pub create_revision: Revision,
    /// Counts from 1 since the key was created; 0 is a tombstone.
    pub version: i64,
    pub value: Bytes,
    pub lease: i64,
}

/// Versions, ascending by revision; at most one per revision.
#[derive(Clone, Debug, Default)]
pub struct KeyHistory {
    versions: Vec<Version>,
}

impl Version {
    pub fn is_tombstone(&self) -> bool {
        self.version == 0
    }

    pub fn cost_bytes(&self, key: &[u8]) -> u64 {
        VERSION_OVERHEAD_BYTES + key.len() as u64 + self.value.len() as u64
    }

    pub fn key_value(&self, key: &Bytes) -> KeyValue {
        KeyValue {
            key: key.clone(),
            create_revision: self.create_revision,
            mod_revision: self.revision,
            version: self.version,
            value: self.value.clone(),
            lease: self.lease,
        }
    }
}

impl KeyHistory {
    pub fn versions(&self) -> &[Version] {
        &self.versions
    }

    pub fn is_empty(&self) -> bool {
        self.versions.is_empty()
    }

    pub fn push(&mut self, version: Version) {
        debug_assert!(self.versions.last().is_none_or(|last| last.revision <= version.revision));
        self.versions.push(version);
    }

    /// The key as it was at `revision`.
    pub fn live_at(&self, revision: Revision) -> Option<&Version> {
        // Readers nearly always want the newest.
        let after = match self.versions.last() {
            Some(last) if last.revision <= revision => self.versions.len(),
            _ => self.versions.partition_point(|version| version.revision <= revision),
        };
        self.versions[..after].last().filter(|version| !version.is_tombstone())
    }

    pub fn live(&self) -> Option<&Version> {
        self.versions.last().filter(|version| !version.is_tombstone())
    }

    /// The version made at exactly `revision`, and the live one before it.
    pub fn changed_at(&self, revision: Revision) -> Option<(&Version, Option<&Version>)> {
        let index = self.versions.partition_point(|version| version.revision < revision);
        let version = self.versions.get(index).filter(|version| version.revision == revision)?;
        let before = self.versions[..index].last().filter(|version| !version.is_tombstone());
        Some((version, before))
    }

    /// Drops what no reader at or after `revision` can see and returns it. A tombstone made at exactly `revision` stays,
    /// since a watch may start there.
    pub fn prune(&mut self, revision: Revision) -> Vec<Version> {
        let after = self.versions.partition_point(|version| version.revision <= revision);
        let newest = match self.versions[..after].last() {
            Some(newest) if newest.is_tombstone() && newest.revision < revision => after,
            Some(_) => after - 1,
            None => 0,
        };
        self.versions.drain(..newest).collect()
    }
}
