//! What the leader does about certificates as long as it leads: looks what is wanted, plans, and carries it out.

use super::account;
use super::http::Http;
use super::order::{OrderError, Orderer, forget_challenges};
use super::plan::{Action, Held, plan};
use super::settings::Settings;
use super::vault::{Vault, VaultError, put};
use crate::desk::Desk;
use crate::keys;
use crate::leader::Clock;
use crate::routes;
use instant_acme::Account;
use lifecycle::{ErrorChain, Stop};
use model::Timestamp;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use store::Operation;
use tokio::time::timeout;

/// What apps ask for is looked at this often.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// Everything is read again this often, whatever happens…
const PASS_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// …and this long after the state did not answer.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

pub(crate) struct Keeper {
    pub vault: Arc<Vault>,
    pub desk: Desk,
    pub domain: String,
    /// Of this machine's own; `None`: those of whoever led before.
    pub settings: Option<Settings>,
    pub clock: Clock,
}

/// The account, and what it was opened with.
struct Open {
    settings: Settings,
    http: Http,
    account: Account,
}

impl Keeper {
    pub(crate) async fn keep(self, stop: Stop) {
        stop.or(self.run()).await;
    }

    async fn run(&self) {
        let mut open = None;
        let mut known = BTreeSet::new();
        let mut look_at = Timestamp::EPOCH;
        loop {
            let wanted = routes::certificate_names(&self.desk.view(), &self.domain);
            let now = self.clock.now();
            if wanted != known || now >= look_at {
                look_at = match self.pass(&wanted, &mut open).await {
                    Ok(at) => at.unwrap_or(Timestamp::from_millis(i64::MAX)).min(now.after(PASS_INTERVAL)),
                    Err(VaultError::Superseded) => return,
                    Err(error) => {
                        tracing::warn!(error = %ErrorChain(&error), "certificates cannot be looked after");
                        now.after(RETRY_INTERVAL)
                    }
                };
                known = wanted;
            }
            if timeout(LOOK_INTERVAL, self.vault.changed.notified()).await.is_ok() {
                look_at = Timestamp::EPOCH;
            }
        }
    }

    /// When to look again.
    async fn pass(&self, wanted: &BTreeSet<String>, open: &mut Option<Open>) -> Result<Option<Timestamp>, VaultError> {
        let now = self.clock.now();
        let certificates = self.vault.certificates().await?;
        let orders = self.vault.orders().await?;
        let held = certificates.iter().map(|(id, document)| (id.clone(), Held::from(document))).collect();
        let plan = plan(now, wanted, &held, &orders);
        let mut look_at = plan.look_at;
        for action in plan.actions {
            match action {
                Action::Forget(name) => {
                    let forgotten = vec![Operation::delete(keys::acme_order(&name)), forget_challenges()];
                    self.vault.write(forgotten).await?;
                }
                Action::Drop(id) => {
                    tracing::info!(id, "a certificate that has ended and is not wanted is forgotten");
                    self.vault.write(vec![Operation::delete(keys::certificate(&id))]).await?;
                }
                Action::Order(name) => {
                    if self.order(&name, open).await? {
                        // The next one, or when to try again.
                        look_at = Some(now);
                    }
                }
            }
        }
        Ok(look_at)
    }

    /// Whether it was tried, well or not.
    async fn order(&self, name: &str, open: &mut Option<Open>) -> Result<bool, VaultError> {
        let Some(settings) = self.settings().await? else { return Ok(false) };
        let mut record = self.vault.order(name).await?;
        let tried = async {
            if open.as_ref().is_none_or(|open| open.settings != settings) {
                let ca = settings.ca.clone();
                let http = tokio::task::spawn_blocking(move || Http::new(ca.as_deref())).await;
                let http = http.map_err(|_| OrderError::Slow)??;
                let account = account::open(&self.vault, &settings, &http).await?;
                *open = Some(Open { settings: settings.clone(), http, account });
            }
            let Some(Open { account, .. }) = open.as_ref() else { return Err(OrderError::Slow) };
            let orderer =
                Orderer { vault: &self.vault, desk: &self.desk, settings: &settings, account, clock: &self.clock };
            orderer.obtain(name, &mut record).await
        }
        .await;
        let error = match tried {
            Ok(()) => return Ok(true),
            Err(OrderError::Vault(error @ (VaultError::Superseded | VaultError::Store(_)))) => return Err(error),
            Err(error) => error,
        };
        let message = ErrorChain(&error).to_string();
        let at_least = open.as_ref().and_then(|open| open.http.take_retry_after());
        // It may be the account that is at fault: it is opened anew.
        *open = None;
        record.failed(&message, at_least, error.goes_on(), self.clock.now());
        let next_at = record.next_at.map(|at| at.to_string()).unwrap_or_default();
        tracing::warn!(name, error = message, next_at, "there is no certificate for a name");
        let mut writes = vec![put(keys::acme_order(name), &record)];
        // What goes on may be looked at still.
        if record.under_way.is_none() {
            writes.push(forget_challenges());
        }
        self.vault.write(writes).await?;
        Ok(true)
    }

    /// This machine's own are written down for the leaders after it.
    async fn settings(&self) -> Result<Option<Settings>, VaultError> {
        if self.vault.seal_key().is_err() {
            // Then an order says so.
            return Ok(self.settings.clone());
        }
        let kept = self.vault.settings().await?;
        let Some(own) = &self.settings else { return Ok(kept) };
        if kept.as_ref() != Some(own) {
            self.vault.keep_settings(own).await?;
        }
        Ok(Some(own.clone()))
    }
}
