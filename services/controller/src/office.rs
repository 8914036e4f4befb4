//! The office of the leader: taken, held and given up by one controller. The decisions are `election`'s; here they meet
//! the store, the clock and the term.

use crate::cluster::roster;
use crate::election::{Command, Election, Outcome, Record, Seen, Votes};
use crate::keys;
use crate::leader::{Campaign, Fence, LeaderError, look};
use crate::peers::Reach;
use crate::term::{self, Lead, TermError, TermSettings};
use crate::uuids::Uuids;
use futures::StreamExt;
use lifecycle::{BoxError, ErrorChain, Stop};
use std::sync::Arc;
use std::time::Duration;
use store::{KeyRange, Store, StoreError, WatchRequest};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// A store that is away is tried again after this time.
const STORE_RETRY_INTERVAL: Duration = Duration::from_millis(200);
/// The store answers a look or a campaign within this time, or not at all.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// A controller may be started before its store: it waits for it, and is ready after.
pub(crate) async fn take_alone(store: &dyn Store, uuids: &mut Uuids, stop: &Stop) -> Result<Fence, StoreError> {
    loop {
        match Fence::take(store, uuids).await {
            Err(error @ StoreError::Unavailable { .. }) => {
                tracing::warn!(error = %ErrorChain(&error), "waiting for the store");
                if stop.or(sleep(STORE_RETRY_INTERVAL)).await.is_none() {
                    return Err(error);
                }
            }
            taken => return taken,
        }
    }
}

/// One controller among several: candidate and leader in turn.
pub(crate) struct Office {
    store: Arc<dyn Store>,
    settings: TermSettings,
    /// What this controller writes when it leads; the framework's id comes from the store.
    record: Record,
    election: Election,
    uuids: Uuids,
    lead: Lead,
    reach: Arc<Reach>,
    origin: Instant,
    term: Option<RunningTerm>,
}

struct RunningTerm {
    fence: Fence,
    stop: Stop,
    work: JoinHandle<Result<(), TermError>>,
}

impl Office {
    pub(crate) fn new(
        settings: TermSettings,
        record: Record,
        is_candidate: bool,
        uuids: Uuids,
        lead: Lead,
        reach: Arc<Reach>,
    ) -> Self {
        let election = Election::new(&record.node, &record.incarnation, is_candidate);
        let (store, origin) = (settings.leader.store.clone(), Instant::now());
        Self { store, settings, record, election, uuids, lead, reach, origin, term: None }
    }

    /// Ends after `stop`, with the lead given away; or because a later process of this node leads.
    pub(crate) async fn run(mut self, stop: Stop) -> Result<(), BoxError> {
        let changed = Arc::new(Notify::new());
        let watching = tokio::spawn(watch_record(self.store.clone(), changed.clone()));
        let ended = loop {
            if stop.is_requested() {
                break Ok(());
            }
            let now = self.now();
            let command = self.election.command(now);
            if !self.election.is_leading() {
                self.close_term().await;
            }
            let outcome = match command {
                Command::Look => self.look().await,
                Command::Campaign { against, cause } => {
                    tracing::debug!(?cause, "the lead can be taken");
                    self.campaign(against, &stop).await
                }
                Command::Renew { good_until, looks } => self.renew(good_until, looks).await,
                Command::Rest { until } => {
                    self.rest(until, &changed, &stop).await;
                    continue;
                }
                Command::End => break Err(LeaderError::Superseded.into()),
            };
            self.election.heard(now, self.now(), outcome);
            if !self.election.is_leading() {
                self.lead.follow(self.election.leader());
            }
        };
        watching.abort();
        self.give_up().await;
        ended
    }

    async fn look(&mut self) -> Outcome {
        let seen = match timeout(ANSWER_MAX, look(self.store.as_ref())).await {
            Ok(Ok(seen)) => seen,
            Ok(Err(error)) => {
                tracing::debug!(error = %ErrorChain(&error), "the leader's record cannot be read");
                return Outcome::NoAnswer;
            }
            Err(_) => return Outcome::NoAnswer,
        };
        let (at, seen) = seen;
        let votes = match &seen {
            Some(seen) if seen.is_leased => self.reach.votes(seen).await,
            _ => Votes::default(),
        };
        Outcome::Saw { at, seen, votes }
    }

    async fn campaign(&mut self, against: Option<store::Revision>, stop: &Stop) -> Outcome {
        if !self.is_member().await {
            tracing::warn!("this machine is none of the cluster (any more): it does not stand");
            return Outcome::NoAnswer;
        }
        tracing::info!("standing for the lead");
        let campaign = Fence::campaign(self.store.as_ref(), &mut self.uuids, &self.record, against);
        match timeout(ANSWER_MAX, campaign).await {
            Ok(Ok(Campaign::Won { fence, ttl })) => {
                tracing::info!(revision = fence.revision(), "this controller leads");
                self.open_term(fence, stop);
                Outcome::Won { ttl }
            }
            Ok(Ok(Campaign::Lost)) => Outcome::Lost,
            Ok(Err(error)) => {
                tracing::warn!(error = %ErrorChain(&error), "the lead cannot be taken");
                Outcome::NoAnswer
            }
            Err(_) => Outcome::NoAnswer,
        }
    }

    /// As the store knows it now. One that founds a cluster finds it empty.
    async fn is_member(&self) -> bool {
        let Some(shared) = &self.settings.cluster else { return true };
        if let Ok(Ok((_, machines))) = timeout(ANSWER_MAX, roster::read(self.store.as_ref())).await {
            shared.roster.set(machines);
        }
        !shared.roster.is_stranger(&self.record.node)
    }

    async fn renew(&mut self, good_until: Duration, looks: bool) -> Outcome {
        let Some(term) = &self.term else { return Outcome::Deposed };
        let left = good_until.saturating_sub(self.now());
        let store = self.store.as_ref();
        let is_ours = async {
            let holds = |seen: Option<Seen>| seen.is_some_and(|seen| seen.revision == term.fence.revision());
            Ok(!looks || holds(look(store).await?.1))
        };
        match timeout(left, async { tokio::try_join!(term.fence.renew(store), is_ours) }).await {
            Ok(Ok((Some(ttl), true))) => Outcome::Renewed { ttl },
            Ok(Ok(_)) => Outcome::Deposed,
            Ok(Err(error)) => {
                tracing::warn!(error = %ErrorChain(&error), "the lead's lease cannot be renewed");
                Outcome::NoAnswer
            }
            Err(_) => Outcome::NoAnswer,
        }
    }

    /// Until a time, or until something is worth a look.
    async fn rest(&mut self, until: Duration, changed: &Notify, stop: &Stop) {
        let origin = self.origin;
        let term_ended = async {
            match &mut self.term {
                Some(term) => (&mut term.work).await,
                None => std::future::pending().await,
            }
        };
        let ended = tokio::select! {
            () = stop.requested() => return,
            () = tokio::time::sleep_until(origin + until) => return,
            () = changed.notified() => None,
            () = self.reach.lost() => None,
            ended = term_ended => Some(ended),
        };
        let now = self.now();
        let Some(ended) = ended else {
            self.election.nudge(now);
            return;
        };
        let Some(RunningTerm { fence, .. }) = self.term.take() else { return };
        match ended {
            Ok(Ok(())) => {
                tracing::info!("the lead is given away");
                release(self.store.as_ref(), &fence).await;
                self.election.abstain(now);
            }
            Ok(Err(TermError::Lead(LeaderError::Superseded))) => {
                tracing::warn!("another controller has taken the lead");
                self.election.step_down(now);
            }
            Ok(Err(error)) => {
                tracing::error!(error = %ErrorChain(&error), "this controller cannot lead");
                release(self.store.as_ref(), &fence).await;
                self.election.abstain(now);
            }
            Err(panic) => {
                tracing::error!(error = %ErrorChain(&panic), "the leader's task died");
                release(self.store.as_ref(), &fence).await;
                self.election.abstain(now);
            }
        }
    }

    fn open_term(&mut self, fence: Fence, stop: &Stop) {
        let (settings, lead, term_stop) = (self.settings.clone(), self.lead.clone(), stop.child());
        let work = {
            let (fence, stop) = (fence.clone(), term_stop.clone());
            tokio::spawn(async move { term::open(settings, fence, &lead, stop).await?.run().await })
        };
        self.term = Some(RunningTerm { fence, stop: term_stop, work });
    }

    /// Of a lead that is lost: its sessions and streams end at once.
    async fn close_term(&mut self) {
        if let Some(term) = self.term.take() {
            tracing::warn!("this controller leads no longer");
            term.stop.request();
            self.lead.follow(None);
            // A write that is under way is the fence's matter; it must not hold up the next campaign.
            term.work.abort();
            let _aborted = term.work.await;
            // It may have opened to the faces in this moment.
            self.lead.follow(None);
        }
    }

    /// At the end: whoever comes next need not wait for the lease.
    async fn give_up(&mut self) {
        if let Some(term) = self.term.take() {
            term.stop.request();
            if timeout(ANSWER_MAX, term.work).await.is_err() {
                tracing::warn!("the leader's last write is not answered");
            }
            release(self.store.as_ref(), &term.fence).await;
        }
        self.lead.follow(None);
    }

    fn now(&self) -> Duration {
        self.origin.elapsed()
    }
}

async fn release(store: &dyn Store, fence: &Fence) {
    // What cannot be released ends by itself.
    if !matches!(timeout(ANSWER_MAX, fence.release(store)).await, Ok(Ok(()))) {
        tracing::debug!("the lead is left to its lease");
    }
}

/// Tells of every change of the record. One that happened while nobody watched is not missed: each watch that begins is
/// worth a look.
async fn watch_record(store: Arc<dyn Store>, changed: Arc<Notify>) {
    loop {
        let request = WatchRequest { range: KeyRange::one(keys::LEADER), start_revision: 0, prev_kv: false };
        if let Ok(mut events) = store.watch(request).await {
            changed.notify_one();
            while let Some(Ok(batch)) = events.next().await {
                if !batch.events.is_empty() {
                    changed.notify_one();
                }
            }
        }
        sleep(STORE_RETRY_INTERVAL).await;
    }
}
