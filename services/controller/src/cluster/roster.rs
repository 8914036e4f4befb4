//! The machines of the cluster, as every controller knows them: read from the store, again whenever a watch tells of a
//! change, and kept, so that they are known while the store is away.

use super::Member;
use crate::keys;
use futures::StreamExt;
use lifecycle::{ErrorChain, Stop};
use protocol::CONTROLLERS_MAX;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use store::{KeyValue, Revision, Store, StoreError};
use tokio::sync::watch;
use tokio::time::timeout;

/// A store that is away is tried again after this time.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// A store that does not answer within this time is away.
const READ_MAX: Duration = Duration::from_secs(2);

/// The machines by name; `None` until they were read.
pub(crate) type Machines = BTreeMap<String, Member>;

#[derive(Clone)]
pub(crate) struct Roster(watch::Sender<Option<Arc<Machines>>>);

impl Roster {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    /// Keeps it up to date until `stop`.
    pub(crate) async fn follow(self, store: Arc<dyn Store>, stop: Stop) {
        let following = async {
            loop {
                if let Err(error) = self.follow_once(store.as_ref()).await {
                    tracing::debug!(error = %ErrorChain(&error), "the members cannot be followed");
                }
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
        };
        stop.or(following).await.unwrap_or(())
    }

    /// Until the watch breaks.
    async fn follow_once(&self, store: &dyn Store) -> Result<(), StoreError> {
        let revision = self.read_again(store).await?;
        let mut batches = store.watch_prefix(keys::MEMBERS_PREFIX, revision + 1).await?;
        while let Some(batch) = batches.next().await {
            if !batch?.events.is_empty() {
                self.read_again(store).await?;
            }
        }
        Ok(())
    }

    async fn read_again(&self, store: &dyn Store) -> Result<Revision, StoreError> {
        let away = |_| StoreError::Unavailable { message: format!("no answer within {READ_MAX:?}") };
        let (revision, machines) = timeout(READ_MAX, read(store)).await.map_err(away)??;
        self.set(machines);
        Ok(revision)
    }

    /// Tells when the machines have changed.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Option<Arc<Machines>>> {
        self.0.subscribe()
    }

    pub(crate) fn set(&self, machines: Machines) {
        self.0.send_if_modified(|known| {
            let is_new = known.as_deref() != Some(&machines);
            if is_new {
                *known = Some(Arc::new(machines));
            }
            is_new
        });
    }

    /// None, while nothing is known.
    pub(crate) fn machines(&self) -> Arc<Machines> {
        self.0.borrow().clone().unwrap_or_default()
    }

    /// Whether a machine is surely none of the cluster (any more). A cluster that is just being founded has none yet.
    pub(crate) fn is_stranger(&self, node: &str) -> bool {
        self.0.borrow().as_ref().is_some_and(|machines| !machines.is_empty() && !machines.contains_key(node))
    }

    /// Where controllers are reached: `leader` first, the other candidates after it.
    pub(crate) fn controllers(&self, leader: &str) -> Vec<String> {
        let machines = self.machines();
        let candidates = machines.values().filter(|member| member.state).map(|member| member.peers.clone());
        let others = candidates.filter(|peers| peers != leader);
        std::iter::once(leader.to_owned()).chain(others).take(CONTROLLERS_MAX).collect()
    }
}

/// As they are now, and the store's revision.
pub(crate) async fn read(store: &dyn Store) -> Result<(Revision, Machines), StoreError> {
    let (revision, kvs) = store.read_prefix(keys::MEMBERS_PREFIX, 0).await?;
    Ok((revision, kvs.iter().filter_map(member).map(|member| (member.name.clone(), member)).collect()))
}

/// What this version cannot read, or what lies under another key than its own, is nobody's here.
fn member(kv: &KeyValue) -> Option<Member> {
    let member: Member = serde_json::from_slice(&kv.value).ok()?;
    (keys::member(&member.name).as_bytes() == kv.key).then_some(member)
}

#[cfg(test)]
pub(crate) fn test_member(name: &str, is_state: bool) -> Member {
    Member {
        name: name.to_owned(),
        address: std::net::IpAddr::from([127, 0, 0, 1]),
        peers: format!("{name}:8081"),
        state: is_state,
        etcd_peer_url: format!("https://{name}:2380"),
        etcd_client_url: format!("https://{name}:2379"),
        joined_at: String::new(),
        version: String::new(),
        join_token: String::new(),
        node_key: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_leader_is_named_first_and_only_candidates_after_it() {
        let roster = Roster::new();
        assert!(!roster.is_stranger("a"), "nothing is known yet");
        assert_eq!(roster.controllers("b:8081"), ["b:8081"]);
        let members = [("a", true), ("b", true), ("c", true), ("d", false)];
        roster.set(members.map(|(name, state)| (name.to_owned(), test_member(name, state))).into());
        assert_eq!(roster.controllers("b:8081"), ["b:8081", "a:8081", "c:8081"]);
        assert!(roster.is_stranger("e") && !roster.is_stranger("d"));
    }
}
