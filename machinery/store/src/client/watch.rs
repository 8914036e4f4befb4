//! A watch over gRPC: one stream each. It ends with an error when the connection is lost; its reader reads anew.

use super::{EtcdClient, REQUEST_TIMEOUT, RESPONSE_BYTES_MAX, Repeat};
use crate::convert;
use crate::refusal::{Refusal, error_of};
use crate::wire::etcdserverpb as pb;
use crate::{StoreError, WatchBatch, WatchStream};
use futures::StreamExt;
use pb::watch_client::WatchClient;
use pb::watch_request::RequestUnion;
use tonic::Streaming;
use tonic::metadata::MetadataValue;

/// A member that has lost its leader ends the watch instead of staying silent.
const REQUIRE_LEADER_METADATA: &str = "hasleader";

pub async fn open(client: &EtcdClient, request: pb::WatchCreateRequest) -> Result<WatchStream, StoreError> {
    let request = pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(request)) };
    let sent = client.call(
        Repeat::Safe,
        // The request's side stays open as long as the watch.
        || futures::stream::iter([request.clone()]).chain(futures::stream::pending()),
        |channel, mut request| {
            request.metadata_mut().insert(REQUIRE_LEADER_METADATA, MetadataValue::from_static("true"));
            Box::pin(async move {
                WatchClient::new(channel).max_decoding_message_size(RESPONSE_BYTES_MAX).watch(request).await
            })
        },
    );
    let mut responses = sent.await?;
    let created = tokio::time::timeout(REQUEST_TIMEOUT, created(&mut responses)).await;
    created.unwrap_or_else(|_| Err(StoreError::Unavailable { message: "the watch was not created in time".into() }))?;
    let batches = futures::stream::unfold(Some(responses), |responses| async move {
        let mut responses = responses?;
        match next_batch(&mut responses).await {
            Ok(batch) => Some((Ok(batch), Some(responses))),
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(batches.boxed())
}

async fn created(responses: &mut Streaming<pb::WatchResponse>) -> Result<(), StoreError> {
    loop {
        let response = next(responses).await?;
        if response.created {
            return Ok(());
        }
    }
}

async fn next_batch(responses: &mut Streaming<pb::WatchResponse>) -> Result<WatchBatch, StoreError> {
    loop {
        let response = next(responses).await?;
        if response.created {
            continue;
        }
        // The header of a response with events may run ahead of events that are still to come.
        let last = response.events.last().and_then(|event| event.kv.as_ref()).map(|kv| kv.mod_revision);
        let revision = last.or(response.header.map(|header| header.revision)).unwrap_or(0);
        return Ok(WatchBatch { revision, events: convert::events(response.events) });
    }
}

async fn next(responses: &mut Streaming<pb::WatchResponse>) -> Result<pb::WatchResponse, StoreError> {
    match responses.message().await {
        Ok(Some(response)) if response.canceled => Err(cancellation(&response)),
        Ok(Some(response)) => Ok(response),
        Ok(None) => Err(StoreError::Unavailable { message: "the watch's stream ended".into() }),
        Err(status) => Err(error_of(&status)),
    }
}

fn cancellation(response: &pb::WatchResponse) -> StoreError {
    if response.compact_revision != 0 {
        return StoreError::Compacted { compact_revision: response.compact_revision };
    }
    // etcd gives the reason as text, with its own prefix.
    if response.cancel_reason.contains(Refusal::PermissionDenied.message()) {
        return Refusal::PermissionDenied.into();
    }
    StoreError::Unavailable { message: format!("the watch was cancelled: {}", response.cancel_reason) }
}
