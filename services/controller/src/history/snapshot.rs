//! What a rollback is planned upon: every key at one revision of the store, and all that was kept of what led there.
//!
//! The state is read once. Then the history is waited for until it has seen that revision; of a quiet prefix, which hears of
//! the store's progress now and then only, until nothing that people own differs between what was read and what was seen (or
//! the revision that is asked for, if that is later).

use super::record::{PREFIXES, is_controllers};
use super::rollback::{Plan, Refusal, Scope};
use super::store::{History, Past, WriteError};
use ::store::{Compare, KeyValue, Operation, RefusalCode, Revision, StoreError};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::timeout;

/// The history is behind the store for a moment at most; whoever asks waits so long.
const CATCH_UP_MAX: Duration = Duration::from_secs(2);
/// A rollback gives way so often to whoever changes the same keys.
pub(crate) const ATTEMPTS_MAX: usize = 5;

/// By key, for each prefix.
type Held = [BTreeMap<String, KeyValue>; PREFIXES.len()];

/// What came of a rollback.
pub(crate) struct Done {
    pub plan: Plan,
    /// `None`: there was nothing to be done, or it was a dry run.
    pub revision: Option<Revision>,
}

impl History {
    /// Brings people's keys back to what they were after a revision, all at once. Whoever changes one of them meanwhile is
    /// given way to, and it is planned anew.
    pub async fn roll_back(
        &self,
        revision: Revision,
        scope: &Scope,
        dry_run: bool,
    ) -> Result<Result<Done, Refusal>, WriteError> {
        for _ in 0..ATTEMPTS_MAX {
            let plan = match self.plan(revision, scope).await? {
                Ok(plan) => plan,
                Err(refusal) => return Ok(Err(refusal)),
            };
            if dry_run || plan.steps.is_empty() {
                return Ok(Ok(Done { plan, revision: None }));
            }
            match self.carry_out(&plan).await {
                Ok(revision) => return Ok(Ok(Done { plan, revision: Some(revision) })),
                Err(WriteError::Changed) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Err(Refusal::Contended { attempts: ATTEMPTS_MAX }))
    }

    pub(super) async fn plan(&self, revision: Revision, scope: &Scope) -> Result<Result<Plan, Refusal>, StoreError> {
        let (now, held) = self.held().await?;
        if revision > now {
            return Ok(Err(Refusal::NotYet { revision, now }));
        }
        let caught_up = timeout(CATCH_UP_MAX, async {
            for (place, held) in held.iter().enumerate() {
                self.catch_up(place, revision, now, held).await?;
            }
            Ok::<_, StoreError>(())
        });
        match caught_up.await {
            Ok(caught_up) => caught_up?,
            Err(_) => return Ok(Err(Refusal::Behind)),
        }
        let Past { since, servers_since, records } = self.read().await?;
        let held = held.into_iter().flatten().collect();
        Ok(match revision {
            revision if revision < since => Err(Refusal::TooOld { since }),
            revision if scope.servers && revision < servers_since => {
                Err(Refusal::ServersTooOld { since: servers_since })
            }
            revision => Plan::new(revision, scope, &records, now, &held),
        })
    }

    /// All keys but the controller's, at one revision.
    async fn held(&self) -> Result<(Revision, Held), StoreError> {
        let (mut now, mut held) = (0, Held::default());
        for (place, prefix) in PREFIXES.iter().enumerate() {
            let (at, kvs) = self.store().read_prefix(prefix, now).await?;
            now = at;
            let named = |kv: KeyValue| Some((std::str::from_utf8(&kv.key).ok()?.to_owned(), kv));
            held[place] = kvs.into_iter().filter_map(named).filter(|(key, _)| !is_controllers(key)).collect();
        }
        Ok((now, held))
    }

    /// Until the history knows all that led from a revision to what is held now.
    async fn catch_up(
        &self,
        place: usize,
        revision: Revision,
        now: Revision,
        held: &BTreeMap<String, KeyValue>,
    ) -> Result<(), StoreError> {
        let own = held.values().filter(|kv| kv.lease == 0);
        let changed_at = own.map(|kv| kv.mod_revision).max().unwrap_or_default();
        let mut seen = self.seen();
        loop {
            let seen_at = seen.borrow_and_update()[place];
            if seen_at >= now {
                return Ok(());
            }
            // 0: the keeper has not begun.
            let at = seen_at.max(revision);
            if seen_at > 0 && at >= changed_at && !self.has_unseen_deletes(PREFIXES[place], at, held).await? {
                return Ok(());
            }
            // The sender is this history's own: it is there as long as this is.
            let _seen_more = seen.changed().await;
        }
    }

    /// Whether a key that somebody owned at a revision is not there any more: a delete leaves no revision at its key. Where
    /// the store has compacted that moment, a delete of the last milliseconds may be missed.
    async fn has_unseen_deletes(
        &self,
        prefix: &str,
        at: Revision,
        held: &BTreeMap<String, KeyValue>,
    ) -> Result<bool, StoreError> {
        let then = match self.store().read_prefix(prefix, at).await {
            Err(StoreError::Refused { code: RefusalCode::OutOfRange, .. }) => return Ok(false),
            read => read?.1,
        };
        let is_held = |key: &str| held.get(key).is_some_and(|kv| kv.lease == 0);
        let own = then.iter().filter(|kv| kv.lease == 0).filter_map(|kv| std::str::from_utf8(&kv.key).ok());
        Ok(own.filter(|key| !is_controllers(key)).any(|key| !is_held(key)))
    }

    /// Does what was planned, all at once, if nobody changed any of it meanwhile.
    async fn carry_out(&self, plan: &Plan) -> Result<Revision, WriteError> {
        let compare = plan.steps.iter().map(|step| Compare::unchanged(step.key.clone(), step.read_at)).collect();
        let operation = |step: &super::rollback::Step| match &step.after {
            Some(value) => Operation::put(step.key.clone(), value.clone()),
            None => Operation::delete(step.key.clone()),
        };
        self.write(compare, plan.steps.iter().map(operation).collect()).await
    }
}

#[cfg(test)]
mod tests;
