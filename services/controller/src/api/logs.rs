//! `/v1/tasks/{id}/logs`: a task's output as it was written, piece by piece, in bounded memory.
//!
//! `stream` is `stdout` (the default) or `stderr`; `offset` the first byte (-1: the last `length` bytes); `length` the most
//! bytes to send; `follow` goes on with what is written later, until the task has ended.

use super::answer::Failure;
use super::call::Call;
use super::{Api, render};
use crate::desk::{Desk, LogPiece, LogStream};
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderName};
use lifecycle::Stop;
use model::TaskId;
use protocol::LOG_CHUNK_BYTES_MAX;
use std::time::Duration;

/// A followed log without news is looked at again after this long.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(300);
/// Where the first byte of the answer stands in the stream, so that a client can go on from there.
const OFFSET: HeaderName = HeaderName::from_static("x-log-offset");

pub async fn stream(api: &Api, task: &str, call: &Call) -> Result<Response, Failure> {
    let stream = match call.value("stream") {
        None | Some("" | "stdout") => LogStream::Stdout,
        Some("stderr") => LogStream::Stderr,
        Some(_) => return Err(Failure::message(StatusCode::BAD_REQUEST, "stream must be stdout or stderr")),
    };
    let offset: i64 = number(call, "offset", 0)?;
    let left: u64 = number(call, "length", u64::MAX)?;
    let mut reader = Reader {
        desk: api.desk.clone(),
        stop: api.context.stop.clone(),
        task: TaskId::new(task),
        stream,
        offset,
        left,
        follow: call.flag("follow", false),
        piece: None,
    };
    // Read before answering, so that a task that is not there is told by the status.
    let first = reader.read().await?;
    let start = first.offset;
    reader.take(first);
    let chunks = futures::stream::unfold(reader, |mut reader| async move {
        let chunk = reader.next().await.transpose()?;
        Some((chunk, reader))
    });
    let headers = [(CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()), (OFFSET, start.to_string())];
    Ok((headers, Body::from_stream(chunks)).into_response())
}

fn number<T: std::str::FromStr>(call: &Call, name: &str, default: T) -> Result<T, Failure> {
    match call.value(name) {
        None | Some("") => Ok(default),
        Some(text) => text
            .parse()
            .map_err(|_| Failure::message(StatusCode::BAD_REQUEST, format!("{name} must be a number, not '{text}'"))),
    }
}

struct Reader {
    desk: Desk,
    stop: Stop,
    task: TaskId,
    stream: LogStream,
    /// Of the next byte.
    offset: i64,
    left: u64,
    follow: bool,
    /// Read, not yet sent.
    piece: Option<Bytes>,
}

#[derive(Debug, thiserror::Error)]
#[error("the log broke off")]
struct BrokeOff(#[source] crate::desk::LogRefusal);

impl Reader {
    async fn read(&self) -> Result<LogPiece, crate::desk::LogRefusal> {
        let length_bytes = self.left.min(LOG_CHUNK_BYTES_MAX as u64);
        self.desk.logs(self.task.clone(), self.stream, self.offset, length_bytes).await
    }

    fn take(&mut self, piece: LogPiece) {
        let bytes = piece.data.len();
        self.offset = piece.offset.saturating_add(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.left = self.left.saturating_sub(bytes as u64);
        self.piece = Some(piece.data.into()).filter(|data: &Bytes| !data.is_empty());
    }

    /// The next bytes to send; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, BrokeOff> {
        let mut ended = false;
        loop {
            if let Some(piece) = self.piece.take() {
                return Ok(Some(piece));
            }
            if self.left == 0 || ended || self.stop.is_requested() {
                return Ok(None);
            }
            // What a task wrote before it ended is there once it has ended: so look first, then read.
            let has_ended = self.has_ended();
            match self.read().await {
                Ok(piece) => self.take(piece),
                // A task that ended while it was followed may be forgotten by now.
                Err(_) if self.follow && has_ended => return Ok(None),
                Err(refusal) => return Err(BrokeOff(refusal)),
            }
            if self.piece.is_none() {
                ended = !self.follow || has_ended;
                if !ended && self.stop.or(tokio::time::sleep(FOLLOW_INTERVAL)).await.is_none() {
                    return Ok(None);
                }
            }
        }
    }

    fn has_ended(&self) -> bool {
        self.desk.view().tasks.get(&self.task).is_none_or(|record| !render::is_shown(record))
    }
}
