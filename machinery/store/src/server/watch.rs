//! The `Watch` service: one stream, many watchers.

use super::{Face, access, pb};
use crate::embedded::Subscription;
use crate::engine::{Events, Span, WatcherOptions};
use crate::refusal::Refusal;
use crate::wire::mvccpb::Event;
use crate::{REQUEST_BYTES_MAX, StoreError};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use identity::Role;
use pb::watch_create_request::FilterType;
use pb::watch_request::RequestUnion;
use pb::watch_server::Watch;
use prost::Message;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// Responses that wait for the client; the watchers' events stay in history until there is room.
const RESPONSES_QUEUED_MAX: usize = 16;
/// Watchers of one stream.
const WATCHERS_PER_STREAM_MAX: usize = 10_000;
/// A watcher that asked for it hears of the store's progress this often (etcd's default is ten minutes).
const PROGRESS_INTERVAL: Duration = Duration::from_secs(60);
/// The id in a response that is about no watcher or about all of them.
const NO_WATCHER: i64 = -1;

type Output = mpsc::Sender<Result<pb::WatchResponse, Status>>;

#[tonic::async_trait]
impl Watch for Face {
    type WatchStream = BoxStream<'static, Result<pb::WatchResponse, Status>>;

    async fn watch(
        &self,
        request: Request<Streaming<pb::WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let role = self.caller(request.metadata())?;
        let (output, responses) = mpsc::channel(RESPONSES_QUEUED_MAX);
        let stream = WatchStream {
            role,
            subscription: self.store.subscribe(),
            features: BTreeMap::new(),
            id_next: 0,
            progress_wanted: false,
            output,
            face: self.clone(),
        };
        tokio::spawn(stream.run(request.into_inner()));
        Ok(Response::new(ReceiverStream::new(responses).boxed()))
    }
}

struct WatchStream {
    face: Face,
    role: Role,
    subscription: Subscription,
    features: BTreeMap<i64, Features>,
    id_next: i64,
    progress_wanted: bool,
    output: Output,
}

/// How a watcher wants to be told.
#[derive(Clone, Copy)]
struct Features {
    fragment: bool,
    progress_notify: bool,
}

/// The client went away.
struct Gone;

impl WatchStream {
    async fn run(mut self, mut requests: Streaming<pb::WatchRequest>) {
        let mut progress = tokio::time::interval(PROGRESS_INTERVAL);
        progress.reset();
        let mut requests_open = true;
        loop {
            let done = tokio::select! {
                () = self.face.stop.requested() => return,
                () = self.output.closed() => return,
                request = requests.message(), if requests_open => match request {
                    Ok(Some(request)) => self.handle(request).await,
                    // The client says no more; its watchers go on until it closes the stream.
                    Ok(None) => { requests_open = false; Ok(()) }
                    Err(_) => return,
                },
                () = self.subscription.changed() => Ok(()),
                _ = progress.tick() => self.notify_progress().await,
            };
            if done.is_err() || self.deliver().await.is_err() {
                return;
            }
        }
    }

    async fn handle(&mut self, request: pb::WatchRequest) -> Result<(), Gone> {
        match request.request_union {
            Some(RequestUnion::CreateRequest(request)) => self.create(request).await,
            Some(RequestUnion::CancelRequest(request)) => self.cancel(request.watch_id).await,
            Some(RequestUnion::ProgressRequest(_)) => {
                self.progress_wanted = true;
                Ok(())
            }
            None => Ok(()),
        }
    }

    async fn create(&mut self, request: pb::WatchCreateRequest) -> Result<(), Gone> {
        let filters: Vec<FilterType> = request.filters().collect();
        let features = Features { fragment: request.fragment, progress_notify: request.progress_notify };
        let options = WatcherOptions {
            key: if request.key.is_empty() { Bytes::from_static(b"\0") } else { copied(&request.key) },
            range_end: copied(&request.range_end),
            prev_kv: request.prev_kv,
            without_puts: filters.contains(&FilterType::Noput),
            without_deletes: filters.contains(&FilterType::Nodelete),
        };
        let refusal = if access::watch(self.role, &options.key, &options.range_end).is_err() {
            Some((request.watch_id, Refusal::PermissionDenied.message()))
        } else if Span::of(&options.key, &options.range_end).is_empty() {
            Some((NO_WATCHER, "mvcc: watcher range is empty"))
        } else if request.watch_id != 0 && self.subscription.contains(request.watch_id) {
            Some((NO_WATCHER, "mvcc: duplicate watch ID provided on the WatchStream"))
        } else if WATCHERS_PER_STREAM_MAX <= self.subscription.len() {
            Some((NO_WATCHER, "too many watchers on one stream"))
        } else {
            None
        };
        let mut response =
            pb::WatchResponse { header: self.face.header_now(), created: true, ..pb::WatchResponse::default() };
        if let Some((watch_id, reason)) = refusal {
            response.watch_id = watch_id;
            response.canceled = true;
            response.cancel_reason = reason.into();
            return self.send(response).await;
        }
        let id = match request.watch_id {
            0 => self.free_id(),
            id => id,
        };
        let revision = self.subscription.add(id, options, request.start_revision);
        self.features.insert(id, features);
        response.header = Some(self.face.header(revision));
        response.watch_id = id;
        // Events are read after this, so the client knows the id before it sees the first one.
        self.send(response).await
    }

    fn free_id(&mut self) -> i64 {
        while self.subscription.contains(self.id_next) {
            self.id_next += 1;
        }
        self.id_next += 1;
        self.id_next - 1
    }

    async fn cancel(&mut self, id: i64) -> Result<(), Gone> {
        if !self.subscription.remove(id) {
            return Ok(());
        }
        self.features.remove(&id);
        let header = self.face.header_now();
        self.send(pb::WatchResponse { header, watch_id: id, canceled: true, ..pb::WatchResponse::default() }).await
    }

    /// Sends everything there is to send.
    async fn deliver(&mut self) -> Result<(), Gone> {
        while let Some((id, revision, read)) = self.subscription.read() {
            let header = Some(self.face.header(revision));
            match read {
                Ok(Events { events, .. }) if events.is_empty() => {}
                Ok(Events { events, .. }) => {
                    let fragment = self.features.get(&id).is_some_and(|features| features.fragment);
                    let response = pb::WatchResponse { header, watch_id: id, events, ..pb::WatchResponse::default() };
                    for part in fragments(response, fragment) {
                        self.send(part).await?;
                    }
                }
                Err(error) => {
                    let compact_revision = match error {
                        StoreError::Compacted { compact_revision } => compact_revision,
                        _ => 0,
                    };
                    self.features.remove(&id);
                    self.send(pb::WatchResponse {
                        header,
                        watch_id: id,
                        canceled: true,
                        compact_revision,
                        cancel_reason: Refusal::Compacted.message().into(),
                        ..pb::WatchResponse::default()
                    })
                    .await?;
                }
            }
        }
        if self.progress_wanted
            && let Some(revision) = self.subscription.progress()
        {
            self.progress_wanted = false;
            self.send_progress(NO_WATCHER, revision).await?;
        }
        Ok(())
    }

    async fn notify_progress(&mut self) -> Result<(), Gone> {
        let Some(revision) = self.subscription.progress() else { return Ok(()) };
        let ids: Vec<i64> =
            self.features.iter().filter(|(_, features)| features.progress_notify).map(|(id, _)| *id).collect();
        for id in ids {
            self.send_progress(id, revision).await?;
        }
        Ok(())
    }

    /// Nothing at or below the header's revision will follow.
    async fn send_progress(&mut self, watch_id: i64, revision: i64) -> Result<(), Gone> {
        let header = Some(self.face.header(revision));
        self.send(pb::WatchResponse { header, watch_id, ..pb::WatchResponse::default() }).await
    }

    async fn send(&self, response: pb::WatchResponse) -> Result<(), Gone> {
        self.output.send(Ok(response)).await.map_err(|_| Gone)
    }
}

/// One response, or several when it is large and the client can put them together.
fn fragments(response: pb::WatchResponse, may_split: bool) -> Vec<pb::WatchResponse> {
    if !may_split || response.events.len() < 2 || response.encoded_len() < REQUEST_BYTES_MAX {
        return vec![response];
    }
    let mut parts: Vec<Vec<Event>> = Vec::new();
    let mut bytes = usize::MAX;
    let pb::WatchResponse { header, watch_id, events, .. } = response;
    for event in events {
        let event_bytes = event.encoded_len();
        match parts.last_mut() {
            Some(part) if bytes + event_bytes < REQUEST_BYTES_MAX => part.push(event),
            _ => {
                bytes = 0;
                parts.push(vec![event]);
            }
        }
        bytes += event_bytes;
    }
    let last = parts.len().saturating_sub(1);
    let part = |(index, events)| pb::WatchResponse {
        header,
        watch_id,
        events,
        fragment: index < last,
        ..pb::WatchResponse::default()
    };
    parts.into_iter().enumerate().map(part).collect()
}

/// A watcher outlives its request, whose buffer must not stay for its sake.
fn copied(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}
