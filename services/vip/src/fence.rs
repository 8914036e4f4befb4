//! The fence: who holds an address by the word of the store, so that two nodes that do not hear each other do not both
//! hold it.
//!
//! `/roadstead/vip/<vrid>` names the holder, under a lease of its node. A lease alone would make every takeover as slow
//! as its lifetime, and a short one would need a write every few hundred milliseconds. So the record may also be taken
//! from a *living* lease, by challenge:
//!
//! ```text
//! backup, hears nothing                store                           holder
//!   └─ put <vrid>/challenge ───────────▶ revision C ── watch ─────────────▶ │
//!                                        record, affirms C ◀──────── put ───┤ it lives, and is at least as good
//!        Refused ◀──────────────────────       or                           │
//!                                        record names the challenger ◀──────┤ the challenger is better: handed over
//!        Granted ◀──────────────────────       or                           │
//!   └─ record unchanged after a while                                       ✗ dead, or cut off
//!      put record if still unchanged ──▶ Granted
//! ```
//!
//! A holder that lives costs the store a read every 500 ms and a heartbeat of its lease; a holder that is dead costs the
//! backup nothing, because it asks one interval before it would take over. Whoever the record names holds the address;
//! VRRP decides alone when the store does not answer in time.
//!
//! Rejected: the lease's expiry as the only sign of death (etcd's shortest is above a second); the record's modification
//! as heartbeat (ten writes a second and address, each flushed to disk on every member).

mod lease;
pub(crate) mod record;
mod watcher;

use crate::mailbox::Sender;
use crate::settings::VirtualRouter;
use crate::speaker::Letter;
use crate::vitals::Vitals;
pub(crate) use lease::HeldLease;
use lifecycle::Stop;
use record::{Challenge, Record, challenge_key, record_key};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use store::{Compare, KeyValue, LeaseId, Operation, PutRequest, Revision, Store, StoreError, TxnRequest};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use vrrp::Fence;

/// Questions that may wait: each router has one open at most, and withdraws it before the next.
pub(crate) const QUESTIONS_MAX: usize = 1024;
/// The share of the time for an answer that a holder has to affirm itself; the rest is for our own calls.
const CHALLENGE_SHARE_PERCENT: u32 = 65;
/// The most a challenged holder is given: many times what a store needs.
const CHALLENGE_MAX: Duration = Duration::from_millis(400);
/// Readings of the record in one question: it changes under our hands only while others act, too.
const ATTEMPTS_MAX: u32 = 6;
/// How long giving a record back may take; then its lease ends it.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(1);

/// What the speaker asks of the store; `router` counts as in the configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Question {
    /// May this node hold the router's addresses? Answered within `within`, by a letter with the same serial.
    Ask { router: usize, serial: u64, within: Duration, priority: u8 },
    /// It does not hold them and does not want to.
    Release { router: usize },
}

/// When each record last changed, by key.
type Changes = HashMap<String, Revision>;

/// What all parts of the fence share.
pub(crate) struct Shared {
    pub store: Arc<dyn Store>,
    pub node: String,
    pub lease: Arc<HeldLease>,
    pub changes: watch::Sender<Changes>,
    pub routers: Vec<Fenced>,
}

/// One virtual router, to the store.
pub(crate) struct Fenced {
    pub key: String,
    pub preempts: bool,
    /// Whether this node holds the addresses, or wants to: else it gives a record that is still its own to whoever asks.
    pub wanted: AtomicBool,
    pub vitals: Arc<Vitals>,
}

/// Answers questions until the stop is requested, then until `questions` closes.
pub(crate) async fn run(
    store: Arc<dyn Store>,
    node: String,
    lease: Arc<HeldLease>,
    routers: &[VirtualRouter],
    vitals: &[Arc<Vitals>],
    mut questions: mpsc::Receiver<Question>,
    speaker: Sender<Letter>,
) {
    let fenced = |(router, vitals): (&VirtualRouter, &Arc<Vitals>)| Fenced {
        key: record_key(router.vrid, router.family()),
        preempts: router.preempt,
        wanted: AtomicBool::new(false),
        vitals: vitals.clone(),
    };
    let routers = routers.iter().zip(vitals).map(fenced).collect();
    let shared = Arc::new(Shared { store, node, lease, changes: watch::Sender::default(), routers });
    let stop = Stop::new();
    let keeping = tokio::spawn(lease::keep(shared.clone(), stop.clone()));
    let watching = tokio::spawn(watcher::watch(shared.clone(), stop.clone()));

    let mut open: HashMap<usize, JoinHandle<()>> = HashMap::new();
    while let Some(question) = questions.recv().await {
        match question {
            Question::Ask { router, serial, within, priority } => {
                let (shared, speaker) = (shared.clone(), speaker.clone());
                let asking = tokio::spawn(async move {
                    let verdict = shared.ask(router, within, priority).await;
                    speaker.send(Letter::Fence { router, serial, verdict });
                });
                if let Some(before) = open.insert(router, asking) {
                    before.abort();
                }
            }
            Question::Release { router } => {
                // The record may be ours by now whether or not the answer arrived: an abort alone would leave it.
                let before = open.remove(&router);
                let shared = shared.clone();
                let releasing = tokio::spawn(async move {
                    if let Some(before) = before {
                        before.abort();
                        let _ = before.await;
                    }
                    shared.release(router).await;
                });
                open.insert(router, releasing);
            }
        }
    }
    for (_, task) in open {
        let _ = tokio::time::timeout(RELEASE_TIMEOUT, task).await;
    }
    stop.request();
    let _ = watching.await;
    let _ = keeping.await;
}

impl Shared {
    async fn ask(&self, router: usize, within: Duration, priority: u8) -> Fence {
        let Some(fenced) = self.routers.get(router) else { return Fence::Unknown };
        fenced.wanted.store(true, Relaxed);
        match tokio::time::timeout(within, self.try_ask(fenced, within, priority)).await {
            Ok(Ok(verdict)) => verdict,
            Ok(Err(error)) => {
                tracing::debug!(key = fenced.key, error = %lifecycle::ErrorChain(&error), "ask who holds the address");
                Fence::Unknown
            }
            Err(_) => Fence::Unknown,
        }
    }

    async fn try_ask(&self, fenced: &Fenced, within: Duration, priority: u8) -> Result<Fence, StoreError> {
        let Some(lease) = self.lease.get() else { return Ok(Fence::Unknown) };
        let mine = Record { node: self.node.clone(), affirms: 0 };
        let mut challenged = None;
        for _ in 0..ATTEMPTS_MAX {
            let Some(kv) = self.store.get(&fenced.key).await? else {
                if self.take(fenced, Compare::absent(fenced.key.clone()), &mine, lease).await? {
                    return Ok(Fence::Granted);
                }
                continue;
            };
            let unchanged = Compare::unchanged(fenced.key.clone(), kv.mod_revision);
            // A record that cannot be read is nobody's.
            let Some(holder) = Record::read(&kv.value) else {
                if self.take(fenced, unchanged, &mine, lease).await? {
                    return Ok(Fence::Granted);
                }
                continue;
            };
            if holder.node == self.node {
                // An older lease: of a process of this node that is gone.
                if kv.lease == lease || self.take(fenced, unchanged, &mine, lease).await? {
                    return Ok(Fence::Granted);
                }
                continue;
            }
            match challenged {
                Some(revision) if holder.affirms >= revision => return Ok(Fence::Refused { holder: holder.node }),
                // It was silent for the time it had.
                Some(revision) if kv.mod_revision < revision => {
                    if self.take(fenced, unchanged, &mine, lease).await? {
                        return Ok(Fence::Granted);
                    }
                }
                _ => {
                    let patience = (within * CHALLENGE_SHARE_PERCENT / 100).min(CHALLENGE_MAX);
                    challenged = Some(self.challenge(fenced, &kv, priority, lease, patience).await?);
                }
            }
        }
        Ok(Fence::Unknown)
    }

    /// Writes the record if `condition` holds.
    async fn take(
        &self,
        fenced: &Fenced,
        condition: Compare,
        record: &Record,
        lease: LeaseId,
    ) -> Result<bool, StoreError> {
        let success = vec![put(&fenced.key, record.write(), lease), Operation::delete(challenge_key(&fenced.key))];
        let request = TxnRequest { compare: vec![condition], success, ..TxnRequest::default() };
        Ok(self.store.txn(request).await?.succeeded)
    }

    /// Asks the holder to affirm itself, and waits until its record changes or `patience` ends. The challenge's revision.
    async fn challenge(
        &self,
        fenced: &Fenced,
        record: &KeyValue,
        priority: u8,
        lease: LeaseId,
        patience: Duration,
    ) -> Result<Revision, StoreError> {
        let challenge = Challenge { node: self.node.clone(), priority, preempts: fenced.preempts, lease };
        let mut changes = self.changes.subscribe();
        let success = vec![put(&challenge_key(&fenced.key), challenge.write(), lease)];
        let revision = self.store.txn(TxnRequest { success, ..TxnRequest::default() }).await?.revision;
        let changed = |changes: &Changes| changes.get(&fenced.key).is_some_and(|last| *last > record.mod_revision);
        let _ = tokio::time::timeout(patience, changes.wait_for(changed)).await;
        Ok(revision)
    }

    /// Gives the record back, if it is ours.
    async fn release(&self, router: usize) {
        let Some(fenced) = self.routers.get(router) else { return };
        fenced.wanted.store(false, Relaxed);
        let Some(lease) = self.lease.get() else { return };
        let own = Compare {
            range: store::KeyRange::one(fenced.key.clone()),
            order: store::Order::Equal,
            target: store::Target::Lease(lease),
        };
        let success = vec![Operation::delete(fenced.key.clone())];
        let request = TxnRequest { compare: vec![own], success, ..TxnRequest::default() };
        match tokio::time::timeout(RELEASE_TIMEOUT, self.store.txn(request)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::debug!(key = fenced.key, error = %lifecycle::ErrorChain(&error), "give the record back");
            }
            Err(_) => tracing::debug!(key = fenced.key, "give the record back: no answer"),
        }
    }

    /// Answers a challenge to a record of ours: hands it to a better node, or affirms it.
    async fn answer(&self, fenced: &Fenced, challenge: &Challenge, revision: Revision) -> Result<(), StoreError> {
        if challenge.node == self.node {
            return Ok(());
        }
        let (Some(lease), Some(kv)) = (self.lease.get(), self.store.get(&fenced.key).await?) else { return Ok(()) };
        if kv.lease != lease {
            return Ok(());
        }
        let better = challenge.preempts && challenge.priority > fenced.vitals.priority.load(Relaxed);
        let (record, lease) = if better || !fenced.wanted.load(Relaxed) {
            (Record { node: challenge.node.clone(), affirms: 0 }, challenge.lease)
        } else {
            (Record { node: self.node.clone(), affirms: revision }, lease)
        };
        let compare = vec![Compare::unchanged(fenced.key.clone(), kv.mod_revision)];
        let success = vec![put(&fenced.key, record.write(), lease)];
        self.store.txn(TxnRequest { compare, success, ..TxnRequest::default() }).await?;
        Ok(())
    }
}

fn put(key: &str, value: bytes::Bytes, lease: LeaseId) -> Operation {
    Operation::Put(PutRequest { key: key.to_owned().into(), value, lease, prev_kv: false })
}

#[cfg(test)]
mod tests;
