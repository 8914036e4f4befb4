//! The leader's hand on the cluster's own keys: machines, join tokens, settings. One per term; every write is fenced like
//! the leader's own.

use super::roster::{self, Machines, Roster};
use super::tokens::TokenRefusal;
use super::{Cluster, Settings};
use crate::election::Record;
use crate::keys;
use crate::leader::Fence;
use identity::SealKey;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::net::SocketAddr;
use std::sync::Arc;
use store::{Compare, Operation, Store, StoreError, TxnRequest};
use tokio::sync::Mutex;

/// What the process has of the cluster, whoever leads.
pub(crate) struct Shared {
    pub cluster: Cluster,
    /// `host:port` where the others reach this controller.
    pub advertise: String,
    /// Where its API listens.
    pub api: SocketAddr,
    pub store: Arc<dyn Store>,
    /// What machines that join are given.
    pub seal_key: Option<SealKey>,
    pub roster: Roster,
}

pub(crate) struct Registrar {
    pub shared: Arc<Shared>,
    fence: Fence,
    /// Machines join one after the other, so that a name and an address are given once.
    pub joining: Mutex<()>,
    /// While a machine is removed nothing is issued to it. Taken after `joining`, where both are.
    pub issuing: Mutex<()>,
}

#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("{0}")]
    Invalid(String),
    #[error(transparent)]
    Token(#[from] TokenRefusal),
    #[error("{0}")]
    Taken(String),
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Forbidden(String),
    /// May go by itself.
    #[error("{0}")]
    NotNow(String),
    #[error("this controller leads no longer")]
    Superseded,
    #[error("the cluster's state cannot be read or written")]
    Store(#[source] StoreError),
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Shared {
    /// What this controller writes down when it leads; the framework's id comes from the store.
    pub(crate) fn record(&self, incarnation: String) -> Record {
        let (node, peers, api) = (self.cluster.node.clone(), self.advertise.clone(), self.api.to_string());
        Record { framework_id: String::new(), incarnation, node, peers, api }
    }
}

impl Registrar {
    pub(crate) fn new(shared: Arc<Shared>, fence: Fence) -> Self {
        Self { shared, fence, joining: Mutex::new(()), issuing: Mutex::new(()) }
    }

    pub(crate) fn store(&self) -> &dyn Store {
        self.shared.store.as_ref()
    }

    /// The machines as they are now.
    pub(crate) async fn machines(&self) -> Result<Machines, StoreError> {
        let (_, machines) = roster::read(self.store()).await?;
        self.shared.roster.set(machines.clone());
        Ok(machines)
    }

    /// As written down, else as configured.
    pub(crate) async fn settings(&self) -> Result<Settings, StoreError> {
        let stored = self.store().get(keys::CLUSTER).await?.and_then(|kv| value(&kv.value));
        Ok(stored.unwrap_or_else(|| self.shared.cluster.settings.clone()))
    }

    /// All or nothing, and only while this controller leads; `false` when a condition of the caller's does not hold.
    pub(crate) async fn write(&self, conditions: Vec<Compare>, operations: Vec<Operation>) -> Result<bool, Refusal> {
        let compare = std::iter::once(self.fence.compare()).chain(conditions).collect();
        let leads_still = vec![Operation::Range(store::RangeRequest::of(store::KeyRange::one(keys::LEADER)))];
        let written = self.store().txn(TxnRequest { compare, success: operations, failure: leads_still }).await?;
        if written.succeeded {
            return Ok(true);
        }
        let Some(store::OperationResponse::Range(record)) = written.responses.first() else { return Ok(false) };
        match record.kvs.first() {
            Some(kv) if kv.mod_revision == self.fence.revision() => Ok(false),
            _ => Err(Refusal::Superseded),
        }
    }
}

/// What this version cannot read counts as absent.
pub(crate) fn value<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}

pub(crate) fn put(key: String, value: &impl Serialize) -> Operation {
    Operation::put(key, serde_json::to_vec(value).expect("these types have string keys and finite numbers only"))
}
