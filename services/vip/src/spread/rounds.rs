//! Once a second: say in the store that this node is ready and what it asks for, look how things stand, decide, hand over.
//!
//! The store is where everyone already says who holds what, on a lease, behind mutual TLS; so readiness and questions go
//! there, too, and need no connection, port or right of their own. It is read, not watched: one range a second is less than
//! the fence asks for, and a reading needs nothing before it. A store that does not answer moves nothing.
//!
//! A move is a planned one, as when a node is drained: the edge becomes quiet first, the node's whole edge, so that no short
//! request is lost; then the store is looked at once more. Whoever asks takes part with [`super::ASKING_PRIORITY`], so that it
//! is the one whose turn it is when the holder resigns.

use super::balance::{Balance, Decision, View};
use crate::clock;
use crate::fence::HeldLease;
use crate::fence::record::{PREFIX, Presence, READY, Record, presence_key, record_key};
use crate::health::Edge;
use crate::mailbox::Sender;
use crate::report::Fitness;
use crate::settings::VirtualRouter;
use crate::speaker::Letter;
use crate::vitals::Vitals;
use lifecycle::Stop;
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use store::{KeyRange, KeyValue, LeaseId, Operation, PutRequest, RangeRequest, Store, StoreError, TxnRequest};
use tokio::sync::watch;
use tokio::time::timeout;
use vrrp::Moment;

const ROUND: Duration = Duration::from_secs(1);
/// How long one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the last look before a move may take: an edge that is quiet stays shut for 300 ms.
const LAST_LOOK_TIMEOUT: Duration = Duration::from_millis(250);
/// Keys that are read at once: a record and a challenge for each router there can be, and as many nodes. More are not read,
/// and then nothing moves.
const KEYS_MAX: i64 = 1024;
/// Advertisements that may be missed by a node that hears the holder.
const ADVERTS_MISSED_MAX: u32 = 3;

/// How it stands, for people.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Standing {
    /// Nodes among which the addresses are spread.
    ready: Vec<String>,
    /// What this node asks its holder for.
    asks: Vec<String>,
}

pub(crate) struct Rounds {
    means: Means,
    routers: Vec<Spread>,
    balance: Balance,
    asked: BTreeSet<String>,
    standing: watch::Sender<Standing>,
}

/// What the rounds need of their surroundings.
pub(crate) struct Means {
    pub store: Arc<dyn Store>,
    pub node: String,
    pub lease: Arc<HeldLease>,
    /// `None`: this node is always ready.
    pub fitness: Option<watch::Receiver<Fitness>>,
    /// Becomes quiet before an address moves.
    pub edge: Option<Edge>,
    pub speaker: Sender<Letter>,
}

/// One virtual router, as it is spread.
struct Spread {
    key: String,
    addresses: String,
    interval: Duration,
    vitals: Arc<Vitals>,
    adverts: u64,
    heard_at: Option<Moment>,
}

impl Spread {
    fn new((router, vitals): (&VirtualRouter, &Arc<Vitals>)) -> Self {
        let addresses: Vec<String> = router.floating().iter().map(ToString::to_string).collect();
        Self {
            key: record_key(router.vrid, router.family()),
            addresses: addresses.join(" "),
            interval: router.advert_interval,
            vitals: vitals.clone(),
            adverts: 0,
            heard_at: None,
        }
    }

    /// Whether the holder was heard of late.
    fn hears(&mut self, now: Moment) -> bool {
        let adverts = self.vitals.adverts_received.get();
        if std::mem::replace(&mut self.adverts, adverts) != adverts {
            self.heard_at = Some(now);
        }
        self.heard_at.is_some_and(|at| now.saturating_sub(at) <= self.interval * ADVERTS_MISSED_MAX + ROUND)
    }
}

impl Rounds {
    /// `after`: the patience of [`Balance`].
    pub fn new(
        means: Means,
        routers: &[VirtualRouter],
        vitals: &[Arc<Vitals>],
        after: Duration,
    ) -> (Self, watch::Receiver<Standing>) {
        let routers: Vec<Spread> = routers.iter().zip(vitals).map(Spread::new).collect();
        let balance = Balance::new(means.node.clone(), routers.len(), after);
        let (standing, stands) = watch::channel(Standing::default());
        (Self { means, routers, balance, asked: BTreeSet::new(), standing }, stands)
    }

    /// Until the stop is requested.
    pub async fn run(mut self, stop: Stop) {
        while stop.or(self.round()).await.is_some() && stop.or(tokio::time::sleep(ROUND)).await.is_some() {}
        // What it asks for is not given any more; its lease would say so only when everything else has ended.
        let _ = timeout(CALL_TIMEOUT, self.say(None)).await;
    }

    async fn round(&mut self) {
        let now = clock::now();
        let heard =
            self.routers.iter_mut().filter_map(|router| router.hears(now).then(|| router.key.clone())).collect();
        let mut seen = match timeout(CALL_TIMEOUT, self.look()).await {
            Ok(Ok(seen)) => seen,
            Ok(Err(error)) => {
                tracing::debug!(error = %lifecycle::ErrorChain(&error), "look how the addresses are spread");
                None
            }
            Err(_) => None,
        };
        let ready = self.means.fitness.as_ref().is_none_or(|fitness| *fitness.borrow() == Fitness::Ready);
        if let Some(Seen { view, .. }) = &mut seen {
            view.heard = heard;
            if !ready {
                view.ready.remove(&self.means.node);
            }
        }
        let view = seen.as_ref().map(|seen| &seen.view);
        let Decision { asks, gives } = self.balance.decide(now, view);
        self.tell(view, &asks);
        self.prefer(&asks);
        let presence = ready.then_some(Presence { asks });
        if seen.is_some_and(|seen| seen.said != presence)
            && let Ok(Err(error)) = timeout(CALL_TIMEOUT, self.say(presence)).await
        {
            tracing::debug!(error = %lifecycle::ErrorChain(&error), "say that this node is ready");
        }
        if !gives.is_empty() {
            self.hand_over(&gives).await;
        }
    }

    /// `None`: there is more than can be read.
    async fn look(&self) -> Result<Option<Seen>, StoreError> {
        let range = KeyRange::prefix(PREFIX);
        let found = self.means.store.range(RangeRequest { limit: KEYS_MAX, ..RangeRequest::of(range) }).await?;
        Ok((!found.more).then(|| self.read(&found.kvs)))
    }

    fn read(&self, kvs: &[KeyValue]) -> Seen {
        let (mut view, mut said) = (View::default(), None);
        for kv in kvs {
            let Ok(key) = std::str::from_utf8(&kv.key) else { continue };
            if let Some(node) = key.strip_prefix(READY) {
                let Some(presence) = Presence::read(&kv.value) else { continue };
                if node == self.means.node {
                    // An older lease: of a process of this node that is gone.
                    said = Some(presence.clone()).filter(|_| Some(kv.lease) == self.means.lease.get());
                }
                view.ready.insert(node.to_owned(), presence.asks);
            } else if self.routers.iter().any(|router| router.key == key)
                && let Some(record) = Record::read(&kv.value)
            {
                view.holders.insert(key.to_owned(), record.node);
            }
        }
        Seen { view, said }
    }

    /// Whoever asks is the first when the holder resigns.
    fn prefer(&mut self, asks: &BTreeSet<String>) {
        for (router, Spread { key, addresses, .. }) in self.routers.iter().enumerate() {
            let asking = asks.contains(key);
            if asking != self.asked.contains(key) {
                if asking {
                    tracing::info!(addresses, "this node has fewer addresses than others: it asks for one");
                }
                self.means.speaker.send(Letter::Asking { router, asking });
            }
        }
        self.asked.clone_from(asks);
    }

    /// `None`: this node is not ready.
    async fn say(&self, presence: Option<Presence>) -> Result<(), StoreError> {
        let key = presence_key(&self.means.node);
        let said = match (presence, self.means.lease.get()) {
            (Some(presence), Some(lease)) => put(key, &presence, lease),
            (Some(_), None) => return Ok(()),
            (None, _) => Operation::delete(key),
        };
        self.means.store.txn(TxnRequest { success: vec![said], ..TxnRequest::default() }).await?;
        Ok(())
    }

    async fn hand_over(&self, gives: &[(String, String)]) {
        if let Some(edge) = &self.means.edge {
            edge.become_quiet().await;
        }
        // That took a second or more: whoever asked may be gone, or have what it wants.
        let Ok(Ok(Some(Seen { view, .. }))) = timeout(LAST_LOOK_TIMEOUT, self.look()).await else {
            tracing::info!("no address is handed over: the store does not say who asks");
            return;
        };
        for (router, Spread { key, .. }) in self.routers.iter().enumerate() {
            let Some((_, to)) = gives.iter().find(|(given, _)| given == key) else { continue };
            if view.is_asked_by(to, key) {
                tracing::info!(record = key, to, "hands an address over");
                self.means.speaker.send(Letter::HandOver { router, to: to.clone() });
            } else {
                tracing::info!(record = key, to, "keeps an address that it is not asked for any more");
            }
        }
    }

    fn tell(&self, view: Option<&View>, asks: &BTreeSet<String>) {
        let ready = view.map(|view| view.ready.keys().cloned().collect()).unwrap_or_default();
        let asked = self.routers.iter().filter(|router| asks.contains(&router.key));
        self.standing.send_replace(Standing { ready, asks: asked.map(|router| router.addresses.clone()).collect() });
    }
}

/// A reading of the store.
struct Seen {
    view: View,
    /// What it says of this node.
    said: Option<Presence>,
}

fn put(key: String, presence: &Presence, lease: LeaseId) -> Operation {
    Operation::Put(PutRequest { key: key.into(), value: presence.write(), lease, prev_kv: false })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailbox::mailbox;
    use crate::spread::{FloatingAddress, VRID_FIRST, spread};
    use store::Embedded;

    #[tokio::test(flavor = "multi_thread")]
    async fn an_address_is_handed_over_only_to_whoever_still_asks_when_the_edge_is_quiet() {
        let directory = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(Embedded::open(directory.path().to_owned()).await.unwrap());
        let (speaker, letters) = mailbox().unwrap();
        let floating = FloatingAddress { address: [10, 0, 0, 1].into(), prefix: 24, interface: "eth0".into() };
        let (node, lease) = ("a".to_owned(), Arc::default());
        let means = Means { store: store.clone(), node, lease, fitness: None, edge: None, speaker };
        let routers = spread("a", VRID_FIRST, &[floating]);
        let (rounds, _standing) = Rounds::new(means, &routers, &[Arc::default()], Duration::ZERO);
        let key = rounds.routers[0].key.clone();
        let gives = [(key.clone(), "b".to_owned())];
        let handed = async || {
            rounds.hand_over(&gives).await;
            letters.next().is_some()
        };
        let say = async |asks: BTreeSet<String>| {
            let said = put(presence_key("b"), &Presence { asks }, 0);
            store.txn(TxnRequest { success: vec![said], ..TxnRequest::default() }).await.unwrap();
        };

        assert!(!handed().await, "it is gone");
        say([key].into()).await;
        assert!(handed().await);
        say(BTreeSet::new()).await;
        assert!(!handed().await, "it has what it wants");
    }
}
