//! The transactions that make bytes mean something.
//!
//! Each reads, decides, and writes under the condition that what it read has not changed; when it has, it is done again, a
//! bounded number of times.

use crate::error::{Code, RegistryError};
use crate::keys;
use crate::records::{self, BlobRecord, LinkRecord, ManifestRecord};
use crate::registry::Registry;
use bytes::Bytes;
use oci::{Digest, Repository, Tag};
use std::collections::BTreeSet;
use store::{Compare, KeyRange, KeyValue, Operation, Order, RangeRequest, Target, TxnRequest};

/// How often a transaction is tried against others.
const ATTEMPTS_MAX: usize = 16;
/// Tags one transaction removes: the store takes 128 operations.
const TAGS_PER_TRANSACTION_MAX: usize = 100;

/// What a commit did with the object it was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// The digest is that object now.
    Taken,
    /// The digest had its object already; the offered one is not needed.
    Duplicate,
}

/// A record, its bytes, and the revision of its last change.
struct Read<T> {
    record: T,
    value: Bytes,
    mod_revision: i64,
}

/// The condition that a blob is what it was. Records of blobs are written again, unchanged, by everybody who begins to hold
/// them, so their value is compared, not their revision: twenty pushes of one layer do not hinder each other. An object's
/// name is never used twice, so an equal value is the same record.
fn same_blob(key: &str, existing: Option<&Read<BlobRecord>>) -> Compare {
    match existing {
        None => Compare::absent(key.to_owned()),
        Some(read) => Compare {
            range: KeyRange::one(key.to_owned()),
            order: Order::Equal,
            target: Target::Value(read.value.clone()),
        },
    }
}

impl Registry {
    pub async fn blob_record(&self, digest: &Digest) -> Result<Option<BlobRecord>, RegistryError> {
        Ok(self.read(&keys::blob(digest)).await?.map(|read| read.record))
    }

    /// A blob that a repository holds.
    pub async fn held_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<Option<BlobRecord>, RegistryError> {
        let link_key = keys::link(repository, digest);
        let Some(link) = self.read::<LinkRecord>(&link_key).await? else { return Ok(None) };
        if link.record.unreferenced_since.is_some() {
            // Somebody asks because they are about to use it: its time begins anew.
            let compare = vec![Compare::unchanged(link_key.clone(), link.mod_revision)];
            let success = vec![Operation::put(link_key, records::write(&LinkRecord::default()))];
            let kept = self.store.txn(TxnRequest { compare, success, failure: Vec::new() }).await?;
            if !kept.succeeded && self.read::<LinkRecord>(&keys::link(repository, digest)).await?.is_none() {
                return Ok(None);
            }
        }
        self.blob_record(digest).await
    }

    /// Makes an object the bytes of a digest, held by a repository, and ends its upload: one transaction.
    pub async fn commit_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        offered: &BlobRecord,
        upload_id: &str,
    ) -> Result<Committed, RegistryError> {
        let committed = self.commit(repository, digest, Some(offered), upload_id).await?;
        Ok(committed.expect("an object was offered"))
    }

    /// Ends an upload of a digest that has its object already; false when it has none (any more).
    pub async fn commit_known_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        upload_id: &str,
    ) -> Result<bool, RegistryError> {
        self.commit(repository, digest, None, upload_id).await.map(|committed| committed.is_some())
    }

    /// `None` when the digest has no object and none is offered.
    async fn commit(
        &self,
        repository: &Repository,
        digest: &Digest,
        offered: Option<&BlobRecord>,
        upload_id: &str,
    ) -> Result<Option<Committed>, RegistryError> {
        let (blob_key, upload_key) = (keys::blob(digest), keys::upload(upload_id));
        for _ in 0..ATTEMPTS_MAX {
            let existing = self.read::<BlobRecord>(&blob_key).await?;
            let guard = same_blob(&blob_key, existing.as_ref());
            let (record, outcome) = match (&existing, offered) {
                (Some(read), _) => (&read.record, Committed::Duplicate),
                (None, Some(offered)) => (offered, Committed::Taken),
                (None, None) => return Ok(None),
            };
            // The blob's record is written in both cases: so a collection that saw it unused fails.
            let success = vec![
                Operation::put(blob_key.clone(), records::write(record)),
                Operation::put(keys::link(repository, digest), records::write(&LinkRecord::default())),
                Operation::put(keys::catalog(repository), "{}"),
                Operation::delete(upload_key.clone()),
            ];
            let compare = vec![guard, Compare::exists(upload_key.clone())];
            if self.store.txn(TxnRequest { compare, success, failure: Vec::new() }).await?.succeeded {
                return Ok(Some(outcome));
            }
            if self.store.get(&upload_key).await?.is_none() {
                return Err(RegistryError::refused(Code::BlobUploadUnknown, "the upload was given up"));
            }
        }
        Err(RegistryError::Contention)
    }

    /// Lets a repository hold a blob that another one has; false when there is no such blob.
    pub async fn mount_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        from: Option<&Repository>,
    ) -> Result<bool, RegistryError> {
        let blob_key = keys::blob(digest);
        for _ in 0..ATTEMPTS_MAX {
            let Some(blob) = self.read::<BlobRecord>(&blob_key).await? else { return Ok(false) };
            if let Some(from) = from
                && self.store.get(&keys::link(from, digest)).await?.is_none()
            {
                return Ok(false);
            }
            let compare = vec![same_blob(&blob_key, Some(&blob))];
            let success = vec![
                Operation::put(blob_key.clone(), blob.value),
                Operation::put(keys::link(repository, digest), records::write(&LinkRecord::default())),
                Operation::put(keys::catalog(repository), "{}"),
            ];
            if self.store.txn(TxnRequest { compare, success, failure: Vec::new() }).await?.succeeded {
                return Ok(true);
            }
        }
        Err(RegistryError::Contention)
    }

    /// Takes a blob from a repository; false when the repository does not hold it.
    pub async fn unlink_blob(&self, repository: &Repository, digest: &Digest) -> Result<bool, RegistryError> {
        let link_key = keys::link(repository, digest);
        let compare = vec![Compare::exists(link_key.clone())];
        let success = vec![Operation::delete(link_key), Operation::put(keys::unlinked(repository), "{}")];
        Ok(self.store.txn(TxnRequest { compare, success, failure: Vec::new() }).await?.succeeded)
    }

    pub async fn manifest_record(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<Option<ManifestRecord>, RegistryError> {
        Ok(self.read(&keys::manifest(repository, digest)).await?.map(|read| read.record))
    }

    /// Puts a manifest, whose bytes are `record.object`, under its digest and its tags. All of `required` must be held by
    /// the repository, and stay so until this is done.
    pub async fn put_manifest(
        &self,
        repository: &Repository,
        digest: &Digest,
        mut record: ManifestRecord,
        tags: &[Tag],
        required: &BTreeSet<Digest>,
    ) -> Result<Committed, RegistryError> {
        let (blob_key, unlinked_key) = (keys::blob(digest), keys::unlinked(repository));
        let offered = BlobRecord { object: record.object.clone(), bytes: record.bytes };
        for _ in 0..ATTEMPTS_MAX {
            let unlinked = self.store.get(&unlinked_key).await?.map_or(0, |kv| kv.mod_revision);
            self.require_links(repository, required).await?;
            let existing = self.read::<BlobRecord>(&blob_key).await?;
            let guard = same_blob(&blob_key, existing.as_ref());
            let outcome = if existing.is_some() { Committed::Duplicate } else { Committed::Taken };
            let blob = existing.map_or_else(|| offered.clone(), |read| read.record);
            record.object.clone_from(&blob.object);
            let compare = vec![guard, Compare::unchanged(unlinked_key.clone(), unlinked)];
            let mut success = vec![
                Operation::put(blob_key.clone(), records::write(&blob)),
                Operation::put(keys::manifest(repository, digest), records::write(&record)),
                Operation::put(keys::catalog(repository), "{}"),
            ];
            if let Some(subject) = &record.subject {
                success.push(Operation::put(keys::referrer(repository, subject, digest), "{}"));
            }
            success.extend(tags.iter().map(|tag| Operation::put(keys::tag(repository, tag), digest.to_string())));
            if self.store.txn(TxnRequest { compare, success, failure: Vec::new() }).await?.succeeded {
                return Ok(outcome);
            }
        }
        Err(RegistryError::Contention)
    }

    async fn require_links(&self, repository: &Repository, required: &BTreeSet<Digest>) -> Result<(), RegistryError> {
        for digest in required {
            if self.store.get(&keys::link(repository, digest)).await?.is_none() {
                let message = format!("the manifest references {digest}, which {repository} does not hold");
                return Err(RegistryError::refused(Code::ManifestBlobUnknown, message));
            }
        }
        Ok(())
    }

    pub async fn tag_digest(&self, repository: &Repository, tag: &Tag) -> Result<Option<Digest>, RegistryError> {
        let Some(kv) = self.store.get(&keys::tag(repository, tag)).await? else { return Ok(None) };
        Ok(std::str::from_utf8(&kv.value).ok().and_then(|text| text.parse().ok()))
    }

    pub async fn delete_tag(&self, repository: &Repository, tag: &Tag) -> Result<bool, RegistryError> {
        Ok(self.store.delete(&keys::tag(repository, tag)).await?)
    }

    /// Removes a manifest and every tag on it; false when there is none.
    pub async fn delete_manifest(&self, repository: &Repository, digest: &Digest) -> Result<bool, RegistryError> {
        let manifest_key = keys::manifest(repository, digest);
        for _ in 0..ATTEMPTS_MAX {
            let Some(read) = self.read::<ManifestRecord>(&manifest_key).await? else { return Ok(false) };
            let (_, tags) = self.store.read_prefix(&keys::tags(repository), 0).await?;
            let text = digest.to_string();
            let on_it: Vec<KeyValue> = tags.into_iter().filter(|kv| kv.value == text.as_bytes()).collect();
            let now: Vec<&KeyValue> = on_it.iter().take(TAGS_PER_TRANSACTION_MAX).collect();
            let mut compare: Vec<Compare> =
                now.iter().map(|kv| Compare::unchanged(kv.key.clone(), kv.mod_revision)).collect();
            compare.push(Compare::unchanged(manifest_key.clone(), read.mod_revision));
            let mut success: Vec<Operation> = now.iter().map(|kv| Operation::delete(kv.key.clone())).collect();
            let is_last = now.len() == on_it.len();
            if is_last {
                success.push(Operation::delete(manifest_key.clone()));
                if let Some(subject) = &read.record.subject {
                    success.push(Operation::delete(keys::referrer(repository, subject, digest)));
                }
            }
            let done = self.store.txn(TxnRequest { compare, success, failure: Vec::new() }).await?.succeeded;
            if done && is_last {
                return Ok(true);
            }
        }
        Err(RegistryError::Contention)
    }

    /// Names after `last` (exclusive) under a prefix, at most `count`, and whether there are more.
    pub async fn names(&self, prefix: &str, last: &str, count: usize) -> Result<(Vec<String>, bool), RegistryError> {
        let mut range = KeyRange::prefix(prefix.to_owned());
        if !last.is_empty() {
            range.key = format!("{prefix}{last}\0").into();
        }
        let limit = i64::try_from(count).unwrap_or(i64::MAX).max(1);
        let request = RangeRequest { limit, keys_only: true, ..RangeRequest::of(range) };
        let found = self.store.range(request).await?;
        let name = |kv: &KeyValue| String::from_utf8_lossy(&kv.key[prefix.len()..]).into_owned();
        Ok((found.kvs.iter().map(name).take(count).collect(), found.more))
    }

    async fn read<T: serde::de::DeserializeOwned>(&self, key: &str) -> Result<Option<Read<T>>, RegistryError> {
        let Some(kv) = self.store.get(key).await? else { return Ok(None) };
        let record = records::read(&kv.key, &kv.value)?;
        Ok(Some(Read { record, value: kv.value, mod_revision: kv.mod_revision }))
    }
}
