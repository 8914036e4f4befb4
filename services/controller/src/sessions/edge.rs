//! One edge's session. The leader forgets an edge by its silence, not by the end of its session: an edge whose session
//! broke may still have requests in flight.

use super::Message;
use protocol::{FromEdge, SESSION_SILENCE_MAX, ToEdge, from_edge};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

pub(super) struct Session {
    pub incoming: Streaming<FromEdge>,
    /// Held so that the peer's stream lives as long as the session.
    pub outgoing: mpsc::Sender<Result<ToEdge, Status>>,
    pub leader: mpsc::Sender<Message>,
}

impl Session {
    pub(super) async fn run(mut self) {
        let end = self.work().await;
        tracing::info!(reason = end.message(), "an edge's session ended");
        // A peer that is gone, or does not read, is not told.
        let _leaving = self.outgoing.try_send(Err(end));
    }

    async fn work(&mut self) -> Status {
        let hello = match self.next().await {
            Ok(Some(from_edge::Message::Hello(hello))) if !hello.edge_id.is_empty() => hello,
            Ok(_) => return Status::invalid_argument("a session begins with hello, which names the edge"),
            Err(end) => return end,
        };
        let edge = hello.edge_id;
        tracing::info!(edge, "an edge's session begins");
        loop {
            let state = match self.next().await {
                Ok(Some(from_edge::Message::State(state))) => state,
                Ok(Some(from_edge::Message::Hello(_))) => return Status::invalid_argument("a session has one hello"),
                Ok(None) => return Status::ok("the edge ended the session"),
                Err(end) => return end,
            };
            let (node, address) = (hello.node_id.clone(), hello.address.clone());
            let message = Message::EdgeState { edge: edge.clone(), node, address, state };
            if self.leader.send(message).await.is_err() {
                return Status::unavailable("the controller is stopping");
            }
        }
    }

    /// The next message that says something; `None` at the end of the stream.
    async fn next(&mut self) -> Result<Option<from_edge::Message>, Status> {
        loop {
            let received = tokio::time::timeout(SESSION_SILENCE_MAX, self.incoming.message()).await;
            match received {
                Err(_) => return Err(Status::deadline_exceeded("the edge was silent for too long")),
                Ok(Err(status)) => return Err(status),
                Ok(Ok(None)) => return Ok(None),
                Ok(Ok(Some(FromEdge { message: Some(message) }))) => return Ok(Some(message)),
                // An empty message (of a later version) is a sign of life.
                Ok(Ok(Some(FromEdge { message: None }))) => {}
            }
        }
    }
}
