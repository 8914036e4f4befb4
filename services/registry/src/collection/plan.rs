//! What to do, from what is. Pure: the same snapshot and time give the same plan.

use super::Graces;
use super::snapshot::Snapshot;
use oci::{Digest, Repository};
use std::collections::BTreeSet;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The first sight of a link that no manifest needs.
    MarkLink {
        repository: Repository,
        digest: Digest,
        since: u64,
    },
    /// A manifest needs it again.
    UnmarkLink {
        repository: Repository,
        digest: Digest,
    },
    RemoveLink {
        repository: Repository,
        digest: Digest,
    },
    RemoveBlob {
        digest: Digest,
    },
    /// An empty repository leaves the catalog.
    RemoveRepository {
        repository: Repository,
    },
    RemoveUpload {
        id: String,
    },
    RemoveObject {
        object: String,
    },
}

pub fn plan(snapshot: &Snapshot, graces: Graces, now: u64) -> Vec<Action> {
    let over = |since: u64, grace: Duration| now.saturating_sub(since) >= grace.as_secs();
    let mut actions = Vec::new();

    let referenced: BTreeSet<(&Repository, &Digest)> = snapshot
        .manifests
        .iter()
        .flat_map(|((repository, _), record)| record.references.iter().map(move |digest| (repository, digest)))
        .collect();
    for ((repository, digest), link) in &snapshot.links {
        let (repository_name, digest_name) = (repository.clone(), digest.clone());
        let is_referenced = referenced.contains(&(repository, digest));
        match link.record.unreferenced_since {
            None if is_referenced => {}
            Some(_) if is_referenced => {
                actions.push(Action::UnmarkLink { repository: repository_name, digest: digest_name });
            }
            Some(since) if over(since, graces.unreferenced) => {
                actions.push(Action::RemoveLink { repository: repository_name, digest: digest_name });
            }
            Some(_) => {}
            None => actions.push(Action::MarkLink { repository: repository_name, digest: digest_name, since: now }),
        }
    }

    let held: BTreeSet<&Digest> =
        snapshot.links.keys().chain(snapshot.manifests.keys()).map(|(_, digest)| digest).collect();
    for digest in snapshot.blobs.keys().filter(|digest| !held.contains(digest)) {
        actions.push(Action::RemoveBlob { digest: digest.clone() });
    }

    let in_use: BTreeSet<&Repository> =
        snapshot.links.keys().chain(snapshot.manifests.keys()).map(|(repository, _)| repository).collect();
    for repository in snapshot.catalog.keys().filter(|repository| !in_use.contains(repository)) {
        actions.push(Action::RemoveRepository { repository: repository.clone() });
    }

    for (id, upload) in &snapshot.uploads {
        if !snapshot.live.contains(id) && over(upload.record.touched, graces.upload) {
            actions.push(Action::RemoveUpload { id: id.clone() });
        }
    }

    let mut named: BTreeSet<&str> = snapshot.blobs.values().map(|blob| blob.record.object.as_str()).collect();
    named.extend(snapshot.manifests.values().map(|manifest| manifest.object.as_str()));
    for (object, written) in &snapshot.objects {
        let upload = object.strip_prefix("uploads/").unwrap_or_default();
        let on_its_way = snapshot.uploads.contains_key(upload) || snapshot.live.contains(upload);
        if !named.contains(object.as_str()) && !on_its_way && over(*written, graces.orphan) {
            actions.push(Action::RemoveObject { object: object.clone() });
        }
    }
    actions
}
