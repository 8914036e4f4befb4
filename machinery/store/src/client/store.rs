//! The Store trait over gRPC.

use super::call::Kind;
use super::{EtcdClient, RESPONSE_BYTES_MAX, watch};
use crate::convert;
use crate::wire::etcdserverpb as pb;
use crate::{
    Lease, LeaseId, Operation, RangeRequest, RangeResponse, Revision, Store, StoreError, TxnRequest, TxnResponse,
    WatchRequest, WatchStream,
};
use async_trait::async_trait;
use pb::kv_client::KvClient;
use pb::lease_client::LeaseClient;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

#[async_trait]
impl Store for EtcdClient {
    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, StoreError> {
        let request = convert::range_request(request);
        let sent = self.call(
            Kind::Read,
            || request.clone(),
            |channel, request| Box::pin(async move { kv(channel).range(request).await }),
        );
        sent.await.map(convert::range_response)
    }

    async fn txn(&self, request: TxnRequest) -> Result<TxnResponse, StoreError> {
        let is_read = |operation: &Operation| matches!(operation, Operation::Range(_));
        let kind = match request.success.iter().chain(&request.failure).all(is_read) {
            true => Kind::Read,
            false => Kind::Write,
        };
        let request = convert::txn_request(request);
        let sent = self.call(
            kind,
            || request.clone(),
            |channel, request| Box::pin(async move { kv(channel).txn(request).await }),
        );
        sent.await.map(convert::txn_response)
    }

    async fn watch(&self, request: WatchRequest) -> Result<WatchStream, StoreError> {
        watch::open(self, convert::watch_request(request)).await
    }

    async fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        let request = pb::CompactionRequest { revision, physical: false };
        let sent = self.call(
            Kind::Write,
            || request,
            |channel, request| Box::pin(async move { kv(channel).compact(request).await }),
        );
        sent.await.map(drop)
    }

    async fn lease_grant(&self, ttl: Duration) -> Result<Lease, StoreError> {
        let request = pb::LeaseGrantRequest { ttl: convert::seconds(ttl), id: 0 };
        let sent = self.call(
            Kind::Write,
            || request,
            |channel, request| Box::pin(async move { lease(channel).lease_grant(request).await }),
        );
        let response = sent.await?;
        Ok(Lease { id: response.id, ttl: convert::duration(response.ttl) })
    }

    async fn lease_keep_alive(&self, id: LeaseId) -> Result<Option<Duration>, StoreError> {
        let sent = self.call(
            Kind::Read,
            || pb::LeaseKeepAliveRequest { id },
            |channel, request| {
                Box::pin(async move {
                    let (metadata, extensions, ask) = request.into_parts();
                    let (requests, queue) = mpsc::channel(1);
                    requests.try_send(ask).expect("the queue is new");
                    let request = tonic::Request::from_parts(metadata, extensions, ReceiverStream::new(queue));
                    let mut answers = lease(channel).lease_keep_alive(request).await?.into_inner();
                    let answer = answers.message().await?;
                    // The request's side is open until here, and no longer: it would hold a stream of the connection.
                    drop(requests);
                    Ok(tonic::Response::new(answer))
                })
            },
        );
        match sent.await? {
            Some(answer) => Ok((answer.ttl > 0).then(|| convert::duration(answer.ttl))),
            None => Err(StoreError::Unavailable { message: "the keep-alive was not answered".into() }),
        }
    }

    async fn lease_revoke(&self, id: LeaseId) -> Result<(), StoreError> {
        let request = pb::LeaseRevokeRequest { id };
        let sent = self.call(
            Kind::Write,
            || request,
            |channel, request| Box::pin(async move { lease(channel).lease_revoke(request).await }),
        );
        sent.await.map(drop)
    }

    async fn cluster_id(&self) -> Result<u64, StoreError> {
        self.read_cluster_id().await
    }
}

fn kv(channel: Channel) -> KvClient<Channel> {
    KvClient::new(channel).max_decoding_message_size(RESPONSE_BYTES_MAX)
}

fn lease(channel: Channel) -> LeaseClient<Channel> {
    LeaseClient::new(channel).max_decoding_message_size(RESPONSE_BYTES_MAX)
}
