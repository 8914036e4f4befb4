//! One action, under the condition that what the plan saw still holds.

use super::plan::Action;
use super::snapshot::Snapshot;
use crate::error::RegistryError;
use crate::keys;
use crate::records::{self, LinkRecord};
use crate::registry::Registry;
use oci::{Digest, Repository};
use store::{Compare, KeyRange, Operation, Order, Target, TxnRequest};

/// Whether it was done; when the world has moved on, the next plan decides.
pub async fn act(registry: &Registry, snapshot: &Snapshot, action: &Action) -> Result<bool, RegistryError> {
    match action {
        Action::MarkLink { repository, digest, since } => {
            let record = LinkRecord { unreferenced_since: Some(*since) };
            put_link(registry, snapshot, repository, digest, record).await
        }
        Action::UnmarkLink { repository, digest } => {
            put_link(registry, snapshot, repository, digest, LinkRecord::default()).await
        }
        Action::RemoveLink { repository, digest } => remove_link(registry, snapshot, repository, digest).await,
        Action::RemoveBlob { digest } => remove_blob(registry, snapshot, digest).await,
        Action::RemoveRepository { repository } => {
            let Some(mod_revision) = snapshot.catalog.get(repository) else { return Ok(false) };
            // Whatever comes into a repository writes this key.
            delete_unchanged(registry, keys::catalog(repository), *mod_revision).await
        }
        Action::RemoveUpload { id } => remove_upload(registry, snapshot, id).await,
        Action::RemoveObject { object } => {
            registry.s3.delete(&registry.bucket, object).await?;
            registry.metrics.collected_objects.inc();
            Ok(true)
        }
    }
}

async fn put_link(
    registry: &Registry,
    snapshot: &Snapshot,
    repository: &Repository,
    digest: &Digest,
    record: LinkRecord,
) -> Result<bool, RegistryError> {
    let Some(seen) = snapshot.links.get(&(repository.clone(), digest.clone())) else { return Ok(false) };
    let key = keys::link(repository, digest);
    let compare = vec![Compare::unchanged(key.clone(), seen.mod_revision)];
    let success = vec![Operation::put(key, records::write(&record))];
    Ok(registry.store.txn(TxnRequest { compare, success, failure: Vec::new() }).await?.succeeded)
}

async fn remove_link(
    registry: &Registry,
    snapshot: &Snapshot,
    repository: &Repository,
    digest: &Digest,
) -> Result<bool, RegistryError> {
    let Some(seen) = snapshot.links.get(&(repository.clone(), digest.clone())) else { return Ok(false) };
    let key = keys::link(repository, digest);
    // No manifest was put since: one that was may reference this blob.
    let no_new_manifest = Compare {
        range: KeyRange::prefix(keys::manifests(repository)),
        order: Order::Less,
        target: Target::ModRevision(snapshot.revision + 1),
    };
    let compare = vec![Compare::unchanged(key.clone(), seen.mod_revision), no_new_manifest];
    // And one that is being put now sees this key change, and looks again.
    let success = vec![Operation::delete(key), Operation::put(keys::unlinked(repository), "{}")];
    Ok(registry.store.txn(TxnRequest { compare, success, failure: Vec::new() }).await?.succeeded)
}

async fn remove_blob(registry: &Registry, snapshot: &Snapshot, digest: &Digest) -> Result<bool, RegistryError> {
    let Some(seen) = snapshot.blobs.get(digest) else { return Ok(false) };
    // Whoever begins to hold a blob writes its record: then this fails.
    if !delete_unchanged(registry, keys::blob(digest), seen.mod_revision).await? {
        return Ok(false);
    }
    registry.s3.delete(&registry.bucket, &seen.record.object).await?;
    registry.metrics.collected_objects.inc();
    Ok(true)
}

async fn remove_upload(registry: &Registry, snapshot: &Snapshot, id: &str) -> Result<bool, RegistryError> {
    let Some(seen) = snapshot.uploads.get(id) else { return Ok(false) };
    if !delete_unchanged(registry, keys::upload(id), seen.mod_revision).await? {
        return Ok(false);
    }
    if let Some(multipart_id) = &seen.record.multipart_id {
        registry.s3.abort_multipart(&registry.bucket, &format!("uploads/{id}"), multipart_id).await?;
    }
    Ok(true)
}

/// Deletes a key unless it was written since.
async fn delete_unchanged(registry: &Registry, key: String, mod_revision: i64) -> Result<bool, RegistryError> {
    let compare = vec![Compare::unchanged(key.clone(), mod_revision)];
    let request = TxnRequest { compare, success: vec![Operation::delete(key)], failure: Vec::new() };
    Ok(registry.store.txn(request).await?.succeeded)
}
