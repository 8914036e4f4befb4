//! Rewriting the log: what is still live in the oldest segment is appended again, then the segment goes.
//!
//! Why the oldest, and not the emptiest: a record that deletes something must outlive what it deletes. Whatever a record in
//! the oldest segment deletes lay before it, so it is gone, and the record can go too. No other bookkeeping is needed, and
//! a crash at any point leaves, at worst, a record twice, which replays to the same.
//!
//! A commit may be durable and not yet applied, so that its record does not look live: `Shared::commits` is taken for
//! writing once, which waits for all commits that could have written to the segment.

use super::Shared;
use super::buckets::NO_BODY;
use crate::Error;
use crate::body::Content;
use crate::record::{Put, Record};
use crate::state::{State, Stored, to_stored};
use futures::{StreamExt, TryStreamExt};
use std::sync::Arc;
use tokio::task::spawn_blocking;

/// Records rewritten at once: they share flushes, and cost at most this many inline bodies of memory.
const REWRITES_MAX: usize = 64;

/// What rewriting remembers between two runs.
#[derive(Default)]
pub(super) struct Progress {
    /// The segments when it last ran: nothing to look at until there are more.
    segments: usize,
}

/// Something whose record lies in the segment that is about to go.
enum Live {
    Bucket { bucket: String },
    Document { bucket: String, name: String },
    Object { bucket: String, key: String },
    Upload { bucket: String, key: String, upload: String },
    Part { bucket: String, key: String, upload: String, number: u32 },
}

impl Shared {
    /// Starts rewriting in the background, unless it runs already or there is no reason to.
    pub(super) fn compact_if_due(self: &Arc<Self>) {
        let Ok(mut progress) = Arc::clone(&self.compaction).try_lock_owned() else { return };
        if self.log.segments().len() <= progress.segments {
            return;
        }
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(error) = shared.compact().await {
                tracing::warn!(error = &error as &dyn std::error::Error, "the log was not rewritten");
            }
            progress.segments = shared.log.segments().len();
        });
    }

    async fn compact(self: &Arc<Self>) -> Result<(), Error> {
        loop {
            let segments = self.log.segments();
            let log_bytes = segments.len() as u64 * self.options.segment_bytes;
            // The last segment is written to, and the one before it may have been a moment ago.
            let [oldest, _, _, ..] = segments[..] else { return Ok(()) };
            if log_bytes <= self.options.log_bytes_min || log_bytes <= 2 * self.state().live_bytes() {
                return Ok(());
            }
            self.rewrite(oldest).await?;
        }
    }

    async fn rewrite(self: &Arc<Self>, segment: u64) -> Result<(), Error> {
        drop(self.commits.write().await);
        let live = live_in(&self.state(), segment);
        tracing::debug!(segment, live = live.len(), "rewriting the oldest segment");
        let rewrites = futures::stream::iter(live.into_iter().map(|entry| self.rewrite_entry(entry, segment)));
        rewrites.buffer_unordered(REWRITES_MAX).try_collect::<()>().await?;
        let shared = Arc::clone(self);
        let removed = spawn_blocking(move || shared.log.remove_segment(segment));
        removed.await.map_err(|_| Error::ShuttingDown)?.map_err(|source| self.log_error(source))
    }

    /// Appends the record of one entry again, unless the entry has changed since.
    async fn rewrite_entry(self: &Arc<Self>, entry: Live, segment: u64) -> Result<(), Error> {
        let guards = match &entry {
            Live::Bucket { bucket } | Live::Document { bucket, .. } => self.locks.bucket(bucket).await,
            Live::Object { bucket, key } | Live::Upload { bucket, key, .. } | Live::Part { bucket, key, .. } => {
                self.locks.key(bucket, key).await
            }
        };
        let Some((record, content)) = self.record_of(entry, segment)? else { return Ok(()) };
        let content = match content {
            Some(content) => content,
            None => self.inline_content(&record).await?,
        };
        let shared = Arc::clone(self);
        let committed = tokio::spawn(async move { shared.commit_to_end(guards, record, content).await });
        committed.await.map_err(|_| Error::ShuttingDown)?
    }

    /// The record that says what an entry is now, with its content unless that must be read from the log.
    fn record_of(&self, entry: Live, segment: u64) -> Result<Option<(Record, Option<Content>)>, Error> {
        let state = self.state();
        Ok(match entry {
            Live::Bucket { bucket } => state.bucket(&bucket).and_then(|found| {
                let created = found.created.as_ref().filter(|created| created.position.segment == segment)?;
                let (owner, created_ms) = (created.owner.clone(), created.created_ms);
                Some((Record::CreateBucket { bucket, owner, created_ms }, Some(NO_BODY)))
            }),
            Live::Document { bucket, name } => state.bucket(&bucket).and_then(|found| {
                let document = found.documents.get(&name).filter(|document| document.position.segment == segment)?;
                let text = document.text.to_string();
                Some((Record::SetDocument { bucket, name, text }, Some(NO_BODY)))
            }),
            Live::Object { bucket, key } => state.bucket(&bucket).and_then(|found| {
                let object = found.objects.get(&key).filter(|object| object.position.segment == segment)?;
                let (extents, content) = match &object.stored {
                    Stored::Inline { .. } => (None, None),
                    Stored::Extents(extents) => (Some(to_stored(extents)), Some(Content::Extents(extents.clone()))),
                };
                let (etag, headers, upload) = (object.etag.clone(), object.headers.clone(), object.upload.clone());
                let put = Put { bucket, key, etag, modified_ms: object.modified_ms, headers, extents, upload };
                Some((Record::Put(put), content))
            }),
            Live::Upload { bucket, key, upload } => state.bucket(&bucket).and_then(|found| {
                let id = (key, upload);
                let begun = found.uploads.get(&id)?.begun.as_ref().filter(|begun| begun.position.segment == segment)?;
                let (begun_ms, headers, (key, upload)) = (begun.begun_ms, begun.headers.clone(), id);
                Some((Record::BeginUpload { bucket, key, upload, begun_ms, headers }, Some(NO_BODY)))
            }),
            Live::Part { bucket, key, upload, number } => state.bucket(&bucket).and_then(|found| {
                let id = (key, upload);
                let part = found.uploads.get(&id)?.parts.get(&number);
                let part = part.filter(|part| part.position.segment == segment)?;
                let (content, part, (key, upload)) = (Content::Extents(part.extents.clone()), part.to_stored(), id);
                Some((Record::PutPart { bucket, key, upload, number, part }, Some(content)))
            }),
        })
    }

    /// The inline body of the object a record is about; the caller holds the key's turn, so it is the same object.
    async fn inline_content(self: &Arc<Self>, record: &Record) -> Result<Content, Error> {
        let Record::Put(put) = record else { return Ok(NO_BODY) };
        let object = self.state().bucket(&put.bucket).and_then(|bucket| bucket.objects.get(&put.key).cloned());
        let Some(object) = object else { return Ok(NO_BODY) };
        let shared = Arc::clone(self);
        let body = spawn_blocking(move || shared.inline_body(&object)).await.map_err(|_| Error::ShuttingDown)??;
        Ok(Content::Inline(body))
    }
}

fn live_in(state: &State, segment: u64) -> Vec<Live> {
    let mut live = Vec::new();
    for (name, found) in &state.buckets {
        let bucket = || name.clone();
        if found.created.as_ref().is_some_and(|created| created.position.segment == segment) {
            live.push(Live::Bucket { bucket: bucket() });
        }
        for (name, document) in &found.documents {
            if document.position.segment == segment {
                live.push(Live::Document { bucket: bucket(), name: name.clone() });
            }
        }
        for (key, object) in &found.objects {
            if object.position.segment == segment {
                live.push(Live::Object { bucket: bucket(), key: key.clone() });
            }
        }
        for ((key, upload), found) in &found.uploads {
            let (key, upload) = (|| key.clone(), || upload.clone());
            if found.begun.as_ref().is_some_and(|begun| begun.position.segment == segment) {
                live.push(Live::Upload { bucket: bucket(), key: key(), upload: upload() });
            }
            for (number, part) in &found.parts {
                if part.position.segment == segment {
                    live.push(Live::Part { bucket: bucket(), key: key(), upload: upload(), number: *number });
                }
            }
        }
    }
    live
}
