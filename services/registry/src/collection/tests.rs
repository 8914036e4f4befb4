use super::plan::{Action, plan};
use super::snapshot::{Seen, Snapshot};
use super::*;
use crate::records::{BlobRecord, LinkRecord, ManifestRecord, UploadRecord};
use oci::{Digest, Repository};

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
