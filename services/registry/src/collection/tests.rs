use super::plan::{Action, plan};
use super::snapshot::{Seen, Snapshot};
use super::*;
use crate::keys;
use crate::names::Committed;
use crate::records;
use crate::records::{BlobRecord, LinkRecord, ManifestRecord, UploadRecord};
use oci::{Digest, Repository};
use std::collections::BTreeSet;
use std::sync::Arc;

const NOW: u64 = 1_000_000;

fn name(text: &str) -> Repository {
    text.parse().unwrap()
}

fn seen<T>(record: T) -> Seen<T> {
    Seen { record, mod_revision: 1 }
}

/// One image in one repository: a manifest and its layer, and nothing to collect.
fn image() -> (Snapshot, Digest, Digest) {
    let (layer, manifest) = (Digest::sha256(b"layer"), Digest::sha256(b"manifest"));
    let mut snapshot = Snapshot::default();
    let blob = |object: &str| seen(BlobRecord { object: object.into(), bytes: 1 });
    snapshot.blobs.insert(layer.clone(), blob("uploads/aa"));
    snapshot.blobs.insert(manifest.clone(), blob("manifests/bb"));
    snapshot.links.insert((name("a"), layer.clone()), seen(LinkRecord::default()));
    let record = ManifestRecord {
        media_type: oci::media_type::OCI_MANIFEST.into(),
        object: "manifests/bb".into(),
        bytes: 1,
        references: vec![layer.clone()],
        subject: None,
    };
    snapshot.manifests.insert((name("a"), manifest.clone()), record);
    snapshot.objects.insert("uploads/aa".into(), 0);
    snapshot.objects.insert("manifests/bb".into(), 0);
    (snapshot, layer, manifest)
}

fn planned(snapshot: &Snapshot) -> Vec<Action> {
    plan(snapshot, Graces::default(), NOW)
}

#[test]
fn what_is_needed_is_left_alone() {
    assert_eq!(planned(&image().0), []);
}

#[test]
fn a_blob_goes_when_its_last_manifest_has_been_gone_for_the_grace() {
    let (mut snapshot, layer, manifest) = image();
    snapshot.manifests.clear();
    let mark = Action::MarkLink { repository: name("a"), digest: layer.clone(), since: NOW };
    assert_eq!(planned(&snapshot), [mark, Action::RemoveBlob { digest: manifest.clone() }]);

    snapshot.blobs.remove(&manifest);
    snapshot.objects.remove("manifests/bb");
    let marked = |since: u64| seen(LinkRecord { unreferenced_since: Some(since) });
    snapshot.links.insert((name("a"), layer.clone()), marked(NOW - 3599));
    assert_eq!(planned(&snapshot), []);
    snapshot.links.insert((name("a"), layer.clone()), marked(NOW - 3600));
    assert_eq!(planned(&snapshot), [Action::RemoveLink { repository: name("a"), digest: layer.clone() }]);

    snapshot.links.clear();
    assert_eq!(planned(&snapshot), [Action::RemoveBlob { digest: layer }]);
}

#[test]
fn a_blob_that_another_repository_needs_stays() {
    let (mut snapshot, layer, _) = image();
    let marked = LinkRecord { unreferenced_since: Some(0) };
    snapshot.links.insert((name("b"), layer.clone()), seen(marked));
    assert_eq!(planned(&snapshot), [Action::RemoveLink { repository: name("b"), digest: layer }]);
}

#[test]
fn a_mark_is_taken_back_when_a_manifest_needs_the_blob_again() {
    let (mut snapshot, layer, _) = image();
    snapshot.links.insert((name("a"), layer.clone()), seen(LinkRecord { unreferenced_since: Some(0) }));
    assert_eq!(planned(&snapshot), [Action::UnmarkLink { repository: name("a"), digest: layer }]);
}

#[test]
fn uploads_and_objects_are_graced() {
    let (mut snapshot, ..) = image();
    let upload = |touched| seen(UploadRecord { repository: "a".into(), touched, multipart_id: None });
    snapshot.uploads.insert("cc".into(), upload(NOW - 10));
    snapshot.uploads.insert("dd".into(), upload(0));
    snapshot.uploads.insert("ee".into(), upload(0));
    snapshot.live.insert("ee".into());
    for object in ["uploads/cc", "uploads/dd", "uploads/ee", "uploads/ff", "manifests/gg"] {
        snapshot.objects.insert(object.into(), 0);
    }
    snapshot.objects.insert("uploads/hh".into(), NOW - 10);
    snapshot.objects.insert("uploads/ii".into(), u64::MAX);
    let remove = |object: &str| Action::RemoveObject { object: object.into() };
    assert_eq!(
        planned(&snapshot),
        [Action::RemoveUpload { id: "dd".into() }, remove("manifests/gg"), remove("uploads/ff")]
    );
}

/// A registry over a real store. Its S3 is nowhere: what these tests do needs none.
async fn registry() -> (Registry, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let store = store::Embedded::open(directory.path().to_owned()).await.unwrap();
    let nowhere = s3client::Config {
        endpoint: "http://127.0.0.1:9".into(),
        access_key: "k".into(),
        secret_key: "s".into(),
        region: "r".into(),
    };
    let s3 = s3client::Client::new(nowhere).unwrap();
    (Registry::new(Arc::new(store), s3, "bucket".into()), directory)
}

async fn commit(registry: &Registry, repository: &str, digest: &Digest) -> Committed {
    let id = crate::registry::fresh_id().unwrap();
    let upload = UploadRecord { repository: repository.into(), touched: 0, multipart_id: None };
    registry.store.put(&keys::upload(&id), records::write(&upload)).await.unwrap();
    let offered = BlobRecord { object: format!("uploads/{id}"), bytes: 1 };
    registry.commit_blob(&name(repository), digest, &offered, &id).await.unwrap()
}

/// What the collection would read, but for the objects.
async fn seen_now(registry: &Registry) -> Snapshot {
    let mut snapshot = Snapshot::default();
    snapshot::read_store(registry, &mut snapshot).await.unwrap();
    snapshot
}

fn manifest_of(layer: &Digest) -> ManifestRecord {
    ManifestRecord {
        media_type: oci::media_type::OCI_MANIFEST.into(),
        object: "manifests/aa".into(),
        bytes: 1,
        references: vec![layer.clone()],
        subject: None,
    }
}

#[tokio::test]
async fn a_link_stays_when_a_manifest_came_after_the_plan() {
    let (registry, _directory) = registry().await;
    let (layer, manifest) = (Digest::sha256(b"layer"), Digest::sha256(b"manifest"));
    assert_eq!(commit(&registry, "a", &layer).await, Committed::Taken);
    let snapshot = seen_now(&registry).await;
    let required = BTreeSet::from([layer.clone()]);
    registry.put_manifest(&name("a"), &manifest, manifest_of(&layer), &[], &required).await.unwrap();
    let remove = Action::RemoveLink { repository: name("a"), digest: layer.clone() };
    assert!(!act::act(&registry, &snapshot, &remove).await.unwrap());
    assert!(registry.held_blob(&name("a"), &layer).await.unwrap().is_some());

    // In the other repository nothing has changed since: there it goes, and a manifest that needs it is refused.
    commit(&registry, "b", &layer).await;
    let snapshot = seen_now(&registry).await;
    let remove = Action::RemoveLink { repository: name("b"), digest: layer.clone() };
    assert!(act::act(&registry, &snapshot, &remove).await.unwrap());
    let refused = registry.put_manifest(&name("b"), &manifest, manifest_of(&layer), &[], &required).await;
    assert!(refused.is_err());
}

#[tokio::test]
async fn a_blob_stays_when_somebody_began_to_hold_it_after_the_plan() {
    let (registry, _directory) = registry().await;
    let layer = Digest::sha256(b"layer");
    commit(&registry, "a", &layer).await;
    registry.unlink_blob(&name("a"), &layer).await.unwrap();
    let snapshot = seen_now(&registry).await;
    let remove = Action::RemoveBlob { digest: layer.clone() };
    let empty = Action::RemoveRepository { repository: name("a") };
    assert_eq!(plan(&snapshot, Graces::default(), NOW), [remove.clone(), empty.clone()]);
    assert!(act::act(&registry, &snapshot, &empty).await.unwrap());
    assert_eq!(commit(&registry, "b", &layer).await, Committed::Duplicate);
    assert!(!act::act(&registry, &snapshot, &remove).await.unwrap());
    assert!(registry.held_blob(&name("b"), &layer).await.unwrap().is_some());
}

#[tokio::test]
async fn asking_for_a_marked_blob_takes_the_mark_away() {
    let (registry, _directory) = registry().await;
    let layer = Digest::sha256(b"layer");
    commit(&registry, "a", &layer).await;
    let snapshot = seen_now(&registry).await;
    let mark = Action::MarkLink { repository: name("a"), digest: layer.clone(), since: NOW };
    assert!(act::act(&registry, &snapshot, &mark).await.unwrap());
    let link = |snapshot: Snapshot| snapshot.links[&(name("a"), layer.clone())].record.unreferenced_since;
    assert_eq!(link(seen_now(&registry).await), Some(NOW));
    registry.held_blob(&name("a"), &layer).await.unwrap();
    assert_eq!(link(seen_now(&registry).await), None);
}

#[tokio::test]
async fn an_upload_that_was_given_up_cannot_be_committed() {
    let (registry, _directory) = registry().await;
    let offered = BlobRecord { object: "uploads/aa".into(), bytes: 1 };
    let outcome = registry.commit_blob(&name("a"), &Digest::sha256(b"x"), &offered, "aa").await;
    assert!(outcome.is_err());
    assert!(registry.blob_record(&Digest::sha256(b"x")).await.unwrap().is_none());
}

/// Between the look at a blob and the commit the collection may have removed it: then the upload's own object is needed.
#[tokio::test]
async fn a_digest_without_an_object_is_not_committed_as_known() {
    let (registry, _directory) = registry().await;
    let layer = Digest::sha256(b"layer");
    let upload = UploadRecord { repository: "a".into(), touched: 0, multipart_id: None };
    registry.store.put(&keys::upload("aa"), records::write(&upload)).await.unwrap();
    assert!(!registry.commit_known_blob(&name("a"), &layer, "aa").await.unwrap());
    assert!(registry.blob_record(&layer).await.unwrap().is_none());
    commit(&registry, "b", &layer).await;
    assert!(registry.commit_known_blob(&name("a"), &layer, "aa").await.unwrap());
    assert!(registry.held_blob(&name("a"), &layer).await.unwrap().is_some());
}

#[tokio::test]
async fn many_uploads_of_one_digest_are_one_blob() {
    let (registry, _directory) = registry().await;
    let layer = Digest::sha256(b"layer");
    let commits = (0..64).map(|number| {
        let (registry, layer) = (&registry, &layer);
        async move { commit(registry, &format!("r{}", number % 3), layer).await }
    });
    let outcomes = futures::future::join_all(commits).await;
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Committed::Taken).count(), 1);
    assert_eq!(seen_now(&registry).await.links.len(), 3);
}
