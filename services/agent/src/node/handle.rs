//! The node as others see it.

use super::Event;
use crate::core::Held;
use crate::ended_logs::EndedLogs;
use lifecycle::ErrorChain;
use protocol::{AgentHello, Desired, LogChunk, LogRequest, TaskReport};
use runtime::{Runtime, Stream};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};

/// The node as the session and the face see it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct NodeHandle {
    pub(super) events: mpsc::Sender<Event>,
    pub(super) reports: watch::Receiver<Snapshot>,
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) ended_logs: Arc<EndedLogs>,
    pub(super) hello: Arc<AgentHello>,
}

/// What a node has to tell, as of now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) held: Held,
    pub(crate) tasks: Arc<Vec<TaskReport>>,
    /// False until the tasks taken back have been checked once.
    pub(crate) settled: bool,
}

impl NodeHandle {
    pub(crate) fn hello(&self) -> AgentHello {
        let Held { cluster_id, generation, .. } = self.reports.borrow().held;
        AgentHello { generation, cluster_id, ..(*self.hello).clone() }
    }

    pub(crate) fn reports(&self) -> watch::Receiver<Snapshot> {
        self.reports.clone()
    }

    pub(crate) async fn desire(&self, desired: Desired) {
        // The loop ends last; a set that comes after it is nobody's.
        let _ended = self.events.send(Event::Desired(desired)).await;
    }

    pub(crate) async fn session_ended(&self) {
        let _ended = self.events.send(Event::SessionEnded).await;
    }

    /// Stops and removes everything; resolves when it is done.
    pub(crate) async fn end_tasks(&self) {
        let (done, ended) = oneshot::channel();
        if self.events.send(Event::EndTasks(done)).await.is_ok() {
            let _loop_ended = ended.await;
        }
    }

    pub(crate) async fn log(&self, request: LogRequest) -> LogChunk {
        let mut chunk = LogChunk { request_id: request.request_id, ..LogChunk::default() };
        let Some(stream) = Stream::parse(&request.stream) else {
            chunk.error = format!("no stream {:?}: stdout and stderr are known", request.stream);
            return chunk;
        };
        let length = usize::try_from(request.length).unwrap_or(usize::MAX).min(protocol::LOG_CHUNK_BYTES_MAX);
        let offset = u64::try_from(request.offset).ok();
        let mut read = self.runtime.logs(&request.task_id, stream, offset, length).await;
        if matches!(read, Err(runtime::Error::Unknown { .. }))
            && let Some(kept) = self.ended_logs.read(&request.task_id, stream, offset, length)
        {
            read = Ok(kept);
        }
        match read {
            Ok(slice) => {
                chunk.offset = i64::try_from(slice.offset).unwrap_or(i64::MAX);
                chunk.data = slice.data.to_vec();
            }
            Err(error) => chunk.error = ErrorChain(&error).to_string(),
        }
        chunk
    }
}
