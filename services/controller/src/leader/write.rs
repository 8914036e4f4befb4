//! Changes made durable, and only then believed.

use super::commit::{self, Batch};
use super::{Leader, LeaderError, Settings};
use crate::routes::{Public, RouteChange};
use lifecycle::ErrorChain;
use model::AppId;
use scheduler::Change;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use store::{RefusalCode, StoreError, TXN_OPERATIONS_MAX, TxnRequest};

impl Leader {
    /// Makes a request's changes, and the routes of their apps, durable, and applies them: in one transaction where they
    /// fit. Other routes, which the store may refuse, are no matter of this request; they follow with the next pass.
    pub(super) async fn commit(&mut self, changes: Vec<Change>) -> Result<Result<(), StoreError>, LeaderError> {
        let apps: BTreeSet<_> = changes.iter().map(|change| commit::app_of(&self.world, change)).collect();
        let mut routes = self.plan_routes(&changes);
        routes.retain(|route| apps.contains(&route.app));
        let batches = if changes.len() * 2 + routes.len() <= TXN_OPERATIONS_MAX {
            vec![commit::single(changes, routes)]
        } else {
            commit::batches(&self.world, changes, routes)
        };
        for mut batch in batches {
            if let Err(error) = self.write(&mut batch).await? {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }

    /// The routes that follow from changes.
    pub(super) fn plan_routes(&self, changes: &[Change]) -> Vec<RouteChange> {
        let Settings { domain, https_port, platform_routes: platform, .. } = &self.settings;
        let public = Public { domain, https_port: *https_port };
        if changes.is_empty() {
            return self.routes.plan(&self.world, public, platform);
        }
        let mut after = self.world.clone();
        changes.iter().for_each(|change| after.apply(change));
        self.routes.plan(&after, public, platform)
    }

    /// Writes what the store takes. What it refuses of one app holds up no other app; it is planned again with the next
    /// pass.
    pub(super) async fn write_each(&mut self, batches: Vec<Batch>) -> Result<Result<(), StoreError>, LeaderError> {
        let mut refused: BTreeMap<Option<AppId>, String> = BTreeMap::new();
        let mut batches = VecDeque::from(batches);
        while let Some(mut batch) = batches.pop_front() {
            let is_of_one = batch.apps.len() <= 1;
            // An app's later batches rely on its earlier ones.
            if batch.apps.iter().any(|app| refused.contains_key(app)) {
                if is_of_one {
                    continue;
                }
            } else {
                match self.write(&mut batch).await? {
                    Ok(()) => continue,
                    Err(error) if !is_refusal(&error) => return Ok(Err(error)),
                    Err(error) if is_of_one => {
                        refused.extend(batch.apps.into_iter().map(|app| (app, ErrorChain(&error).to_string())));
                        continue;
                    }
                    Err(_) => {}
                }
            }
            for part in commit::apart(&self.world, batch).into_iter().rev() {
                batches.push_front(part);
            }
        }
        self.note_refused(refused);
        Ok(Ok(()))
    }

    /// Logs what is refused for a new reason.
    fn note_refused(&mut self, refused: BTreeMap<Option<AppId>, String>) {
        for (app, reason) in refused.iter().filter(|(app, reason)| self.world.refused.get(*app) != Some(*reason)) {
            let app = app.as_ref().map_or("", AppId::as_str);
            tracing::error!(app, reason, "the store does not take an app's changes");
        }
        self.unpublished |= self.world.refused != refused;
        self.world.refused = refused;
    }

    pub(super) async fn write(&mut self, batch: &mut Batch) -> Result<Result<(), StoreError>, LeaderError> {
        if !batch.operations.is_empty() {
            let success = batch.take_operations();
            let request = TxnRequest { compare: vec![self.fence.compare()], success, failure: Vec::new() };
            match self.settings.store.txn(request).await {
                Ok(response) if response.succeeded => self.revision = response.revision,
                Ok(_) => return Err(LeaderError::Superseded),
                Err(error) => {
                    self.doubtful = !is_refusal(&error);
                    return Ok(Err(error));
                }
            }
        }
        self.unpublished = true;
        for route in &batch.routes {
            self.routes.apply(route, self.revision);
        }
        for change in &batch.changes {
            Self::log(change);
            let events = self.events_of(change);
            self.remember_node(change);
            self.world.apply(change);
            if let Change::Retire { task, .. } = change
                && let Some(record) = self.world.tasks.get_mut(&task.id)
            {
                // Its server left the route with the last write of the route, which is this one if it was in it.
                let written_at = self.routes.written_at.get(&task.app).copied();
                record.unrouted_at = record.unrouted_at.or(written_at).or(Some(self.revision));
            }
            events.into_iter().for_each(|event| self.tell(event));
        }
        Ok(Ok(()))
    }
}

/// Whether a transaction surely changed nothing; after any other error it may have been written.
fn is_refusal(error: &StoreError) -> bool {
    matches!(error, StoreError::Refused { code, .. } if !matches!(code, RefusalCode::Other))
}
