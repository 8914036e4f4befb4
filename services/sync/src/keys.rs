//! The keys in etcd, by either of its APIs.

mod v2;
mod v3;

pub use v2::V2;
pub use v3::V3;

use crate::plan::{Endpoint, Plan, Step};
use async_trait::async_trait;
use http::StatusCode;

/// A value, or (without one) an empty directory, which only v2 has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `/mesos-vulcan/s3pics/backend`
    pub key: String,
    pub value: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyChange {
    Put { key: String, value: String },
    Delete { key: String },
}

#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    #[error("etcd")]
    Store(#[from] store::StoreError),
    #[error("etcd")]
    Call(#[from] web::ClientError),
    #[error("{url} answered {status}: {body}")]
    Status { url: String, status: StatusCode, body: String },
    #[error("{url} answered something that is not etcd's v2 JSON")]
    Json { url: String, source: serde_json::Error },
    #[error("{url} is not an address")]
    Address { url: String },
    #[error("{url} redirects in a circle")]
    Redirects { url: String },
}

#[async_trait]
pub trait Keys: Send + Sync {
    /// All values below a path, at any depth; none when nothing is there.
    async fn list(&self, path: &str) -> Result<Vec<Entry>, KeysError>;

    /// Carries out changes in their order; one outcome for each.
    async fn change(&self, changes: &[KeyChange]) -> Vec<Result<(), KeysError>>;
}

/// vulcand's key of a server, with its slash.
pub fn server_key(backend: &str, server: &Endpoint) -> String {
    vulcand::Key::server(backend, &server.to_string()).to_string()
}

/// Carries out those steps of a plan that write: new servers first, so that a backend never runs empty in between. Returns
/// for each step whether it was done (or had nothing to do).
pub async fn carry_out(keys: &dyn Keys, plan: &Plan, is_written: impl Fn(&Step) -> bool) -> Vec<bool> {
    let (mut puts, mut deletes) = (Vec::new(), Vec::new());
    for (index, step) in plan.steps.iter().enumerate().filter(|(_, step)| is_written(step)) {
        match step {
            Step::Put { backend, server, .. } => {
                puts.push((index, KeyChange::Put { key: server_key(backend, server), value: server.value() }));
            }
            Step::Remove { backend, server, .. } => {
                deletes.push((index, KeyChange::Delete { key: server_key(backend, server) }));
            }
            Step::Unchecked { .. } | Step::Keep { .. } | Step::Unconfigured { .. } => {}
        }
    }
    let (indexes, changes): (Vec<usize>, Vec<KeyChange>) = puts.into_iter().chain(deletes).unzip();
    let mut outcomes = vec![true; plan.steps.len()];
    for (index, outcome) in indexes.into_iter().zip(keys.change(&changes).await) {
        if let Err(error) = outcome {
            tracing::warn!(error = %lifecycle::ErrorChain(&error), "a key could not be changed");
            outcomes[index] = false;
        }
    }
    outcomes
}
