//! What is stored of orders, of the account and of the settings. JSON, version 0.

use super::plan::{Held, backoff};
use super::settings::Settings;
use model::Timestamp;
use routing::certificate::{CertificateDocument, CertificateIssuer};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Times that are remembered of one name.
const TRIES_KEPT: usize = 8;
/// Characters of what went wrong.
const MESSAGE_CHARS_MAX: usize = 600;

/// What was tried for a name; `/roadstead/acme/orders/<name>`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OrderRecord {
    pub v: u32,
    /// In a row.
    pub failures: u32,
    /// Of the last one; empty when it succeeded.
    #[serde(default)]
    pub message: String,
    /// When orders were made, the last one last.
    #[serde(default)]
    pub tried_at: Vec<Timestamp>,
    /// Not before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Timestamp>,
    /// A person asked for a new certificate although there is a good one.
    #[serde(default)]
    pub renews: bool,
    /// The authority is being asked for an order. Whoever finds it stopped in this moment: there may be an order that nobody
    /// knows the URL of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub under_way: Option<UnderWay>,
}

/// An order that was begun and may be gone on with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UnderWay {
    /// Of the authority it was made at.
    pub directory: String,
    /// Of the order there.
    pub url: String,
    /// The key of the certificate to be: PEM, sealed.
    pub sealed_key: String,
    /// In a word, for people.
    pub step: String,
}

/// `/roadstead/acme/account`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AccountRecord {
    pub v: u32,
    /// Of the authority that has the account.
    pub directory: String,
    /// Told to the authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// [`AccountSecret`] as JSON, sealed.
    pub sealed: String,
}

/// The account's key is kept before the authority hears of it: whoever leads next asks with the same key, which makes no
/// second account (RFC 8555, section 7.3.1).
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum AccountSecret {
    /// As instant-acme writes them.
    Registered {
        id: String,
        key_pkcs8: String,
        directory: String,
    },
    Key {
        key_pkcs8: String,
    },
}

/// `/roadstead/acme/settings`; sealed as a whole, for what external accounts are bound with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SettingsRecord {
    pub v: u32,
    pub sealed: String,
}

/// What is sealed in it.
pub(crate) type SealedSettings = Settings;

impl OrderRecord {
    /// Before the authority is asked: it counts the order, whether its answer arrives or not.
    pub(crate) fn asks(&mut self, now: Timestamp) {
        if self.asked_at.replace(now).is_some() {
            self.failures = self.failures.saturating_add(1);
            self.message = "whoever asked for it stopped before the answer came".to_owned();
        }
        self.under_way = None;
        self.tried_at.push(now);
        let spare = self.tried_at.len().saturating_sub(TRIES_KEPT);
        self.tried_at.drain(..spare);
    }

    pub(super) fn begun(&mut self, under_way: UnderWay) {
        self.asked_at = None;
        self.under_way = Some(under_way);
    }

    /// Not before, as far as this name is concerned.
    pub(crate) fn waits_until(&self) -> Option<Timestamp> {
        let lost = self.asked_at.map(|at| at.after(backoff(self.failures.saturating_add(1))));
        self.next_at.max(lost)
    }

    /// `at_least`: what the authority asked for. What may be gone on with is kept.
    pub(crate) fn failed(&mut self, message: &str, at_least: Option<Duration>, goes_on: bool, now: Timestamp) {
        self.failures = self.failures.saturating_add(1);
        self.message = message.chars().take(MESSAGE_CHARS_MAX).collect();
        self.asked_at = None;
        self.next_at = Some(now.after(backoff(self.failures).max(at_least.unwrap_or_default())));
        if !goes_on {
            self.under_way = None;
        }
    }

    pub(crate) fn succeeded(&mut self) {
        let tried_at = std::mem::take(&mut self.tried_at);
        *self = Self { tried_at, ..Self::default() };
    }
}

impl From<&CertificateDocument> for Held {
    fn from(document: &CertificateDocument) -> Self {
        let time = |seconds: i64| Timestamp::from_millis(seconds.saturating_mul(1000));
        Self {
            names: document.names.clone(),
            not_before: time(document.not_before_s),
            not_after: time(document.not_after_s),
            issuer: document.issuer,
        }
    }
}

/// Under which id a certificate is kept: one that is renewed replaces the one before.
pub(crate) fn certificate_id(issuer: CertificateIssuer, first_name: &str) -> String {
    match issuer {
        CertificateIssuer::Acme => format!("acme.{first_name}"),
        CertificateIssuer::Given => format!("given.{first_name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_wait_longer_and_a_success_forgets_them() {
        let now = Timestamp::from_millis(1_000_000);
        let mut order = OrderRecord::default();
        let under_way =
            UnderWay { directory: "d".into(), url: "u".into(), sealed_key: "s".into(), step: String::new() };
        for number in 0..20 {
            order.asks(now.after(Duration::from_secs(number)));
            order.begun(under_way.clone());
        }
        assert_eq!((order.tried_at.len(), order.tried_at[0]), (TRIES_KEPT, now.after(Duration::from_secs(12))));
        order.failed("no", None, true, now);
        assert_eq!((order.failures, order.next_at), (1, Some(now.after(Duration::from_secs(60)))));
        assert!(order.under_way.is_some());
        order.failed(&"x".repeat(10_000), Some(Duration::from_secs(3600)), false, now);
        assert_eq!((order.next_at, order.under_way.clone()), (Some(now.after(Duration::from_secs(3600))), None));
        assert_eq!(order.message.len(), MESSAGE_CHARS_MAX);
        order.succeeded();
        assert_eq!((order.failures, order.next_at, order.tried_at.len()), (0, None, TRIES_KEPT));
    }

    #[test]
    fn an_order_whose_answer_never_came_counts_and_is_waited_for_longer_each_time() {
        let now = Timestamp::from_millis(1_000_000);
        let mut order = OrderRecord::default();
        for minutes in [1, 2, 4] {
            order.asks(now);
            assert_eq!(order.waits_until(), Some(now.after(Duration::from_secs(60 * minutes))));
        }
        assert_eq!((order.tried_at.len(), order.failures), (3, 2));
        let mut failed = order.clone();
        failed.failed("no", None, false, now);
        assert_eq!(failed.waits_until(), failed.next_at);
        order.begun(UnderWay { directory: "d".into(), url: "u".into(), sealed_key: "s".into(), step: String::new() });
        assert_eq!(order.waits_until(), None);
    }

    #[test]
    fn what_is_stored_is_read_again() {
        let order = OrderRecord { failures: 2, message: "m".into(), ..OrderRecord::default() };
        let text = serde_json::to_string(&order).unwrap();
        assert_eq!(serde_json::from_str::<OrderRecord>(&text).unwrap(), order);
        assert_eq!(serde_json::from_str::<OrderRecord>(r#"{"v":0,"failures":0}"#).unwrap(), OrderRecord::default());
        let key = serde_json::from_str(r#"{"key_pkcs8":"k"}"#).unwrap();
        assert!(matches!(key, AccountSecret::Key { .. }));
        let registered = serde_json::from_str(r#"{"id":"i","key_pkcs8":"k","directory":"d"}"#).unwrap();
        assert!(matches!(registered, AccountSecret::Registered { .. }));
    }
}
