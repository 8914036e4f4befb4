//! Certificates, orders, the account and the settings in the store. Every write compares the leader's record; every private
//! key is sealed.

use super::record::{AccountRecord, OrderRecord, SealedSettings, SettingsRecord};
use super::settings::Settings;
use crate::keys;
use crate::leader::Fence;
use identity::{SealError, SealKey};
use routing::certificate::{CERTIFICATES_PREFIX, CertificateDocument};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::sync::Arc;
use store::{Operation, Revision, Store, StoreError, TxnRequest};
use tokio::sync::Notify;

/// One per term.
pub(crate) struct Vault {
    store: Arc<dyn Store>,
    fence: Fence,
    seal_key: Option<SealKey>,
    /// A person changed something: it is looked at now.
    pub changed: Notify,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum VaultError {
    #[error("this machine has no seal key (identity/seal.key), without which no private key is stored or read")]
    NoSealKey,
    #[error("this controller leads no longer")]
    Superseded,
    #[error("the certificates in the state cannot be read or written")]
    Store(#[from] StoreError),
    #[error("a private key in the state cannot be opened")]
    Seal(#[from] SealError),
}

impl Vault {
    pub(crate) fn new(store: Arc<dyn Store>, fence: Fence, seal_key: Option<SealKey>) -> Self {
        Self { store, fence, seal_key, changed: Notify::new() }
    }

    pub(crate) fn seal_key(&self) -> Result<&SealKey, VaultError> {
        self.seal_key.as_ref().ok_or(VaultError::NoSealKey)
    }

    /// By id. What this version cannot read is left as it is.
    pub(crate) async fn certificates(&self) -> Result<BTreeMap<String, CertificateDocument>, VaultError> {
        self.all(CERTIFICATES_PREFIX).await
    }

    /// By name.
    pub(crate) async fn orders(&self) -> Result<BTreeMap<String, OrderRecord>, VaultError> {
        self.all(keys::ACME_ORDERS_PREFIX).await
    }

    /// A new one where there is none.
    pub(crate) async fn order(&self, name: &str) -> Result<OrderRecord, VaultError> {
        Ok(self.one(&keys::acme_order(name)).await?.unwrap_or_default())
    }

    pub(super) async fn account(&self) -> Result<Option<AccountRecord>, VaultError> {
        self.one(keys::ACME_ACCOUNT).await
    }

    pub(crate) async fn settings(&self) -> Result<Option<Settings>, VaultError> {
        let Some(record) = self.one::<SettingsRecord>(keys::ACME_SETTINGS).await? else { return Ok(None) };
        // Sealed with another key, which is lost: this machine's own settings hold, as if there were none.
        let Ok(opened) = self.seal_key()?.open(&record.sealed) else { return Ok(None) };
        Ok(serde_json::from_slice::<SealedSettings>(&opened).ok())
    }

    pub(super) async fn keep_settings(&self, settings: &Settings) -> Result<(), VaultError> {
        let sealed = self.seal_key()?.seal(&json(settings))?;
        self.write(vec![put(keys::ACME_SETTINGS.to_owned(), &SettingsRecord { v: 0, sealed })]).await?;
        Ok(())
    }

    /// All or nothing, and only while this controller leads.
    pub(crate) async fn write(&self, success: Vec<Operation>) -> Result<Revision, VaultError> {
        let request = TxnRequest { compare: vec![self.fence.compare()], success, failure: Vec::new() };
        let written = self.store.txn(request).await?;
        if written.succeeded { Ok(written.revision) } else { Err(VaultError::Superseded) }
    }

    async fn all<T: DeserializeOwned>(&self, prefix: &str) -> Result<BTreeMap<String, T>, VaultError> {
        let (_, kvs) = self.store.read_prefix(prefix, 0).await?;
        let one = |kv: &store::KeyValue| {
            let id = std::str::from_utf8(&kv.key).ok()?.strip_prefix(prefix)?.to_owned();
            Some((id, serde_json::from_slice(&kv.value).ok()?))
        };
        Ok(kvs.iter().filter_map(one).collect())
    }

    async fn one<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, VaultError> {
        let kv = self.store.get(key).await?;
        Ok(kv.and_then(|kv| serde_json::from_slice(&kv.value).ok()))
    }
}

pub(crate) fn put(key: String, value: &impl Serialize) -> Operation {
    Operation::put(key, json(value))
}

pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("these types have string keys and finite numbers only")
}
