//! A watch over gRPC: one stream each. It ends with an error when the connection is lost, when its member loses its leader,
//! and when its member falls silent; its reader reads anew, elsewhere.

use super::call::Kind;
use super::endpoints::{Chosen, Endpoints};
use super::{EtcdClient, RESPONSE_BYTES_MAX};
use crate::convert;
use crate::refusal::{Refusal, error_of};
use crate::wire::etcdserverpb as pb;
use crate::{StoreError, WatchBatch, WatchStream};
use futures::StreamExt;
use pb::watch_client::WatchClient;
use pb::watch_request::RequestUnion;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Streaming};

/// A watch whose member answered nobody over its connection for this long asks whether it is there (a progress request,
/// which any etcd takes at any pace, unlike HTTP/2's pings) ...
const SILENCE_MAX: Duration = Duration::from_millis(500);
/// ... and is dead when nothing comes within this time. A machine that is merely busy answers sooner.
const ANSWER_MAX: Duration = Duration::from_millis(700);
/// Watches of one connection wait this much longer one than the other: the answer to the first is good for all.
const TURN: Duration = Duration::from_millis(20);
/// Further watches share their turns.
const TURNS_MAX: u32 = 8;

/// The watch of an answer that is everyone's on the stream: an asked-for progress.
const NO_WATCH: i64 = -1;

/// What came over the stream of a watch.
type Message = Result<Option<pb::WatchResponse>, tonic::Status>;

/// An open watch and the way to ask whether it is there.
struct Watching {
    responses: Streaming<pb::WatchResponse>,
    requests: mpsc::Sender<pb::WatchRequest>,
    endpoints: Arc<Endpoints>,
    chosen: Chosen,
    /// How long its member may be silent.
    silence_max: Duration,
}

pub async fn open(client: &EtcdClient, request: pb::WatchCreateRequest) -> Result<WatchStream, StoreError> {
    let request = pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(request)) };
    let sent = client.call_somewhere(
        Kind::Read,
        || request.clone(),
        |channel, request| {
            Box::pin(async move {
                let (metadata, extensions, create) = request.into_parts();
                // One create and one probe at a time: room for both.
                let (requests, queue) = mpsc::channel(2);
                requests.try_send(create).expect("the queue is new");
                let request = tonic::Request::from_parts(metadata, extensions, ReceiverStream::new(queue));
                let mut client = WatchClient::new(channel).max_decoding_message_size(RESPONSE_BYTES_MAX);
                let mut responses = client.watch(request).await?.into_inner();
                let first = created(&mut responses).await?;
                Ok(Response::new((first, responses, requests)))
            })
        },
    );
    let ((first, responses, requests), endpoints, chosen) = sent.await?;
    if first.canceled {
        return Err(cancellation(&first));
    }
    let silence_max = SILENCE_MAX + TURN * (chosen.next_watch() % TURNS_MAX);
    let watching = Watching { responses, requests, endpoints, chosen, silence_max };
    let batches = futures::stream::unfold(Some(watching), |watching| async move {
        let mut watching = watching?;
        match watching.next_batch().await {
            Ok(batch) => Some((Ok(batch), Some(watching))),
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(batches.boxed())
}

/// The answer to the creation, good or bad.
async fn created(responses: &mut Streaming<pb::WatchResponse>) -> Result<pb::WatchResponse, tonic::Status> {
    loop {
        match responses.message().await? {
            Some(response) if response.created || response.canceled => return Ok(response),
            Some(_) => {}
            None => return Err(tonic::Status::unavailable("the watch's stream ended")),
        }
    }
}

impl Watching {
    async fn next_batch(&mut self) -> Result<WatchBatch, StoreError> {
        loop {
            let response = self.next().await?;
            // The revision of an asked-for progress may run ahead of events that are still to come (etcd #15220).
            if response.created || response.watch_id == NO_WATCH {
                continue;
            }
            // The header of a response with events may run ahead of events that are still to come.
            let last = response.events.last().and_then(|event| event.kv.as_ref()).map(|kv| kv.mod_revision);
            let revision = last.or(response.header.map(|header| header.revision)).unwrap_or(0);
            return Ok(WatchBatch { revision, events: convert::events(response.events) });
        }
    }

    async fn next(&mut self) -> Result<pb::WatchResponse, StoreError> {
        let message = self.message().await?;
        self.chosen.heard();
        match message {
            Ok(Some(response)) if response.canceled => Err(cancellation(&response)),
            Ok(Some(response)) => Ok(response),
            Ok(None) => Err(StoreError::Unavailable { message: "the watch's stream ended".into() }),
            Err(status) => {
                self.endpoints.move_on(&self.chosen);
                Err(error_of(&status))
            }
        }
    }

    async fn message(&mut self) -> Result<Message, StoreError> {
        loop {
            let silent_at = self.chosen.heard_at() + self.silence_max;
            if let Ok(message) = tokio::time::timeout_at(silent_at, self.responses.message()).await {
                return Ok(message);
            }
            if self.chosen.heard_at() + self.silence_max <= Instant::now() {
                return self.probe().await;
            }
        }
    }

    async fn probe(&mut self) -> Result<Message, StoreError> {
        let request = RequestUnion::ProgressRequest(pb::WatchProgressRequest {});
        // A queue that is full or closed holds or had its probe: the answer is waited for all the same.
        let _asked = self.requests.try_send(pb::WatchRequest { request_union: Some(request) });
        tokio::time::timeout(ANSWER_MAX, self.responses.message()).await.map_err(|_| {
            self.chosen.renew();
            self.endpoints.move_on(&self.chosen);
            StoreError::Unavailable { message: "the watch's member fell silent".into() }
        })
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
