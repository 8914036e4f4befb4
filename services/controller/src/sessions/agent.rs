//! One agent's session.

use super::{AgentLink, Incoming, Message, SessionId, Surroundings, term_over};
use crate::desk::{LOG_ANSWER_MAX, LogPiece, LogRefusal, LogRequest, LogStream};
use protocol::{Controllers, Desired, FromAgent, Heartbeat, LOG_CHUNK_BYTES_MAX, LogChunk, ToAgent};
use protocol::{from_agent, to_agent};
use std::collections::BTreeMap;
use std::time::Instant;
use tokio::sync::{mpsc, oneshot, watch};
use tonic::Status;

/// Requests for pieces of logs that one agent works on at once.
const LOGS_PENDING_MAX: usize = 64;

pub(super) struct Session {
    pub id: SessionId,
    pub incoming: Incoming<FromAgent>,
    pub outgoing: mpsc::Sender<Result<ToAgent, Status>>,
    pub surroundings: Surroundings,
}

struct PendingLog {
    since: Instant,
    reply: oneshot::Sender<Result<LogPiece, LogRefusal>>,
}

/// Why a session ended, as its peer is told.
type End = Status;

impl Session {
    pub(super) async fn run(mut self) {
        let stop = self.surroundings.term.stop.clone();
        let end = stop.or(self.until_its_end()).await.unwrap_or_else(term_over);
        tracing::info!(reason = end.message(), "an agent's session ended");
        // A peer that is gone, or does not read, is not told.
        let _leaving = self.outgoing.try_send(Err(end));
    }

    async fn until_its_end(&mut self) -> End {
        match self.hello().await {
            Ok((node, desired, logs)) => {
                let end = self.work(&node, desired, logs).await;
                let closed = Message::AgentClosed { session: self.id, node };
                // A leader that is gone needs no news.
                let _leaving = self.surroundings.term.messages.send(closed).await;
                end
            }
            Err(end) => end,
        }
    }

    async fn hello(&mut self) -> Result<(String, watch::Receiver<Desired>, mpsc::Receiver<LogRequest>), End> {
        let Some(from_agent::Message::Hello(hello)) = self.next().await? else {
            return Err(Status::invalid_argument("a session begins with hello"));
        };
        let node = hello.node_id.clone();
        if node.is_empty() || node.contains('/') || node.len() > model::id::APP_ID_CHARS_MAX {
            return Err(Status::invalid_argument("a node's id is a name without slashes"));
        }
        self.surroundings.refuse_other_node(&node)?;
        if hello.hostname.is_empty() || hello.address.is_empty() {
            return Err(Status::invalid_argument("a node has a host name and an address"));
        }
        self.surroundings.refuse_other_address(&node, &hello.address)?;
        let (desired, desired_receiver) = watch::channel(Desired::default());
        let (logs, logs_receiver) = mpsc::channel(LOGS_PENDING_MAX);
        tracing::info!(node, hostname = hello.hostname, "an agent's session begins");
        self.tell(Message::AgentOpened { session: self.id, hello: Box::new(hello), link: AgentLink { desired, logs } })
            .await?;
        Ok((node, desired_receiver, logs_receiver))
    }

    async fn work(
        &mut self,
        node: &str,
        mut desired: watch::Receiver<Desired>,
        mut logs: mpsc::Receiver<LogRequest>,
    ) -> End {
        let mut pending: BTreeMap<u64, PendingLog> = BTreeMap::new();
        let mut request_id = 0;
        let mut told = None;
        loop {
            // As often as the agent speaks: several times a second.
            if let Err(end) = self.tell_controllers(&mut told) {
                return end;
            }
            let result = tokio::select! {
                changed = desired.changed() => match changed {
                    Ok(()) => {
                        let latest = desired.borrow_and_update().clone();
                        self.send(to_agent::Message::Desired(latest))
                    }
                    Err(_) => Err(Status::aborted("another session of this node took over")),
                },
                request = logs.recv() => match request {
                    Some(request) => {
                        request_id += 1;
                        self.ask_log(request_id, request, &mut pending)
                    }
                    None => Err(Status::aborted("another session of this node took over")),
                },
                message = self.next() => match message {
                    Ok(Some(message)) => self.handle(node, message, &mut pending).await,
                    Ok(None) => Err(Status::ok("the agent ended the session")),
                    Err(end) => Err(end),
                },
            };
            if let Err(end) = result {
                return end;
            }
        }
    }

    /// Where the controllers are, when that has changed.
    fn tell_controllers(&self, told: &mut Option<Controllers>) -> Result<(), End> {
        self.surroundings.refuse_stranger()?;
        let controllers = self.surroundings.controllers();
        if *told == controllers {
            return Ok(());
        }
        told.clone_from(&controllers);
        controllers.map_or(Ok(()), |controllers| self.send(to_agent::Message::Controllers(controllers)))
    }

    async fn handle(
        &mut self,
        node: &str,
        message: from_agent::Message,
        pending: &mut BTreeMap<u64, PendingLog>,
    ) -> Result<(), End> {
        let (session, node) = (self.id, node.to_owned());
        match message {
            from_agent::Message::Hello(_) => Err(Status::invalid_argument("a session has one hello")),
            from_agent::Message::Reports(reports) => {
                self.tell(Message::AgentReports { session, node, reports: reports.tasks }).await
            }
            from_agent::Message::Heartbeat(_) => {
                self.tell(Message::AgentSeen { session, node }).await?;
                self.send(to_agent::Message::Heartbeat(Heartbeat {}))
            }
            from_agent::Message::Log(chunk) => {
                if let Some(waiting) = pending.remove(&chunk.request_id) {
                    // The asker may have gone.
                    let _asker = waiting.reply.send(piece(chunk));
                }
                Ok(())
            }
        }
    }

    fn ask_log(
        &mut self,
        request_id: u64,
        request: LogRequest,
        pending: &mut BTreeMap<u64, PendingLog>,
    ) -> Result<(), End> {
        pending.retain(|_, waiting| !waiting.reply.is_closed() && waiting.since.elapsed() < LOG_ANSWER_MAX);
        if pending.len() >= LOGS_PENDING_MAX {
            let busy = Err(LogRefusal::Agent("the agent works on too many such requests".to_owned()));
            let _asker = request.reply.send(busy);
            return Ok(());
        }
        let stream = match request.stream {
            LogStream::Stdout => "stdout",
            LogStream::Stderr => "stderr",
        };
        let ask = protocol::LogRequest {
            request_id,
            task_id: request.task.to_string(),
            stream: stream.to_owned(),
            offset: request.offset,
            length: request.length_bytes.min(LOG_CHUNK_BYTES_MAX as u64),
        };
        pending.insert(request_id, PendingLog { since: Instant::now(), reply: request.reply });
        self.send(to_agent::Message::Log(ask))
    }

    /// The next message; `None` at the end of the stream. An empty message (of a later version) counts as a sign of life.
    async fn next(&mut self) -> Result<Option<from_agent::Message>, End> {
        let received = self.incoming.next().await?;
        let heartbeat = from_agent::Message::Heartbeat(protocol::Heartbeat {});
        Ok(received.map(|FromAgent { message }| message.unwrap_or(heartbeat)))
    }

    fn send(&self, message: to_agent::Message) -> Result<(), End> {
        let sent = self.outgoing.try_send(Ok(ToAgent { message: Some(message) }));
        sent.map_err(|_| Status::resource_exhausted("the agent reads too slowly"))
    }

    async fn tell(&self, message: Message) -> Result<(), End> {
        self.surroundings.term.messages.send(message).await.map_err(|_| term_over())
    }
}

fn piece(chunk: LogChunk) -> Result<LogPiece, LogRefusal> {
    if !chunk.error.is_empty() {
        return Err(LogRefusal::Agent(chunk.error));
    }
    Ok(LogPiece { offset: chunk.offset, data: chunk.data })
}
