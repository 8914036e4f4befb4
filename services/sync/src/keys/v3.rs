//! etcd's v3 API, or our own store's.

use super::{Entry, KeyChange, Keys, KeysError};
use async_trait::async_trait;
use identity::Token;
use store::{ClientCredentials, ConnectError, EtcdClient, Operation, Store, TXN_OPERATIONS_MAX, TxnRequest};

pub struct V3 {
    store: EtcdClient,
}

impl V3 {
    pub fn connect(endpoints: &[String], token: Option<String>) -> Result<Self, ConnectError> {
        let credentials =
            token.map_or(ClientCredentials::None, |token| ClientCredentials::Token(Token::from_text(token)));
        Ok(Self { store: EtcdClient::connect(endpoints, credentials, None)? })
    }
}

#[async_trait]
impl Keys for V3 {
    async fn list(&self, path: &str) -> Result<Vec<Entry>, KeysError> {
        let found = self.store.get_prefix(&format!("{}/", path.trim_end_matches('/'))).await?;
        let entry = |kv: store::KeyValue| Entry {
            key: String::from_utf8_lossy(&kv.key).into_owned(),
            value: Some(String::from_utf8_lossy(&kv.value).into_owned()),
        };
        Ok(found.kvs.into_iter().map(entry).collect())
    }

    /// As few transactions as etcd's limit allows: usually one, so that nobody sees half of a change.
    async fn change(&self, changes: &[KeyChange]) -> Vec<Result<(), KeysError>> {
        let mut outcomes = Vec::with_capacity(changes.len());
        for chunk in changes.chunks(TXN_OPERATIONS_MAX) {
            let operation = |change: &KeyChange| match change {
                KeyChange::Put { key, value } => Operation::put(key.clone(), value.clone()),
                KeyChange::Delete { key } => Operation::delete(key.clone()),
            };
            let success = chunk.iter().map(operation).collect();
            match self.store.txn(TxnRequest { success, ..TxnRequest::default() }).await {
                Ok(_) => outcomes.extend(chunk.iter().map(|_| Ok(()))),
                Err(error) => {
                    let message = lifecycle::ErrorChain(&error).to_string();
                    let failed = |_| Err(store::StoreError::Unavailable { message: message.clone() }.into());
                    outcomes.extend(chunk.iter().map(failed));
                }
            }
        }
        outcomes
    }
}
