//! Everything the collection decides on.

use crate::error::RegistryError;
use crate::keys::{self, Key};
use crate::records::{self, BlobRecord, LinkRecord, ManifestRecord, UploadRecord};
use crate::registry::Registry;
use oci::{Digest, Repository};
use std::collections::{BTreeMap, BTreeSet};

/// A record and the revision of its last change.
#[derive(Clone, Debug)]
pub struct Seen<T> {
    pub record: T,
    pub mod_revision: i64,
}

#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Of the store, at which all of this was so.
    pub revision: i64,
    pub blobs: BTreeMap<Digest, Seen<BlobRecord>>,
    pub links: BTreeMap<(Repository, Digest), Seen<LinkRecord>>,
    pub manifests: BTreeMap<(Repository, Digest), ManifestRecord>,
    pub uploads: BTreeMap<String, Seen<UploadRecord>>,
    /// Repositories, and the revision at which something last came into each.
    pub catalog: BTreeMap<Repository, i64>,
    /// Uploads that this process feeds.
    pub live: BTreeSet<String>,
    /// S3 keys and the seconds since 1970 at which they were written.
    pub objects: BTreeMap<String, u64>,
}

/// Objects are listed before the store is read: an object that is committed in between is then named by a record.
pub async fn read(registry: &Registry) -> Result<Snapshot, RegistryError> {
    let mut snapshot = Snapshot { live: registry.sessions.ids().into_iter().collect(), ..Snapshot::default() };
    let mut next: Option<String> = None;
    loop {
        let page = registry.s3.list(&registry.bucket, "", None, next.as_deref()).await?;
        for object in page.objects {
            // A time that cannot be read counts as now: the object is left alone.
            let written = object.last_modified.parse::<jiff::Timestamp>().map(|time| time.as_second());
            let written = written.map_or(u64::MAX, |seconds| u64::try_from(seconds).unwrap_or(0));
            snapshot.objects.insert(object.key, written);
        }
        match page.next {
            Some(token) => next = Some(token),
            None => break,
        }
    }
    read_store(registry, &mut snapshot).await?;
    Ok(snapshot)
}

/// The store's part, all of it at one revision.
pub async fn read_store(registry: &Registry, snapshot: &mut Snapshot) -> Result<(), RegistryError> {
    let (revision, kvs) = registry.store.read_prefix(keys::ROOT, 0).await?;
    snapshot.revision = revision;
    for kv in kvs {
        let mod_revision = kv.mod_revision;
        match Key::parse(&kv.key) {
            Some(Key::Blob(digest)) => {
                let record = records::read(&kv.key, &kv.value)?;
                snapshot.blobs.insert(digest, Seen { record, mod_revision });
            }
            Some(Key::Link(repository, digest)) => {
                let record = records::read(&kv.key, &kv.value)?;
                snapshot.links.insert((repository, digest), Seen { record, mod_revision });
            }
            Some(Key::Manifest(repository, digest)) => {
                snapshot.manifests.insert((repository, digest), records::read(&kv.key, &kv.value)?);
            }
            Some(Key::Upload(id)) => {
                let record = records::read(&kv.key, &kv.value)?;
                snapshot.uploads.insert(id, Seen { record, mod_revision });
            }
            Some(Key::Catalog(repository)) => drop(snapshot.catalog.insert(repository, mod_revision)),
            Some(Key::Other) | None => {}
        }
    }
    Ok(())
}
