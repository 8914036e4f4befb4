//! One edge's session. The leader forgets an edge by its silence, not by the end of its session: an edge whose session
//! broke may still have requests in flight.

use super::{Incoming, Message, Surroundings, term_over};
use model::NodeId;
use protocol::{Controllers, EdgeHello, FromEdge, Heartbeat, NodeStanding, ToEdge, from_edge, to_edge};
use tokio::sync::mpsc;
use tonic::Status;

pub(super) struct Session {
    pub incoming: Incoming<FromEdge>,
    pub outgoing: mpsc::Sender<Result<ToEdge, Status>>,
    pub surroundings: Surroundings,
}

/// What the edge was told last.
#[derive(Default)]
struct Told {
    controllers: Option<Controllers>,
    standing: Option<NodeStanding>,
}

impl Session {
    pub(super) async fn run(mut self) {
        let stop = self.surroundings.term.stop.clone();
        let end = stop.or(self.until_its_end()).await.unwrap_or_else(term_over);
        tracing::info!(reason = end.message(), "an edge's session ended");
        // A peer that is gone, or does not read, is not told.
        let _leaving = self.outgoing.try_send(Err(end));
    }

    async fn until_its_end(&mut self) -> Status {
        let hello = match self.next().await {
            Ok(Some(from_edge::Message::Hello(hello))) if !hello.edge_id.is_empty() => hello,
            Ok(_) => return Status::invalid_argument("a session begins with hello, which names the edge"),
            Err(end) => return end,
        };
        if let Err(end) = self.surroundings.refuse_other_node(&hello.node_id) {
            return end;
        }
        tracing::info!(edge = hello.edge_id, "an edge's session begins");
        let mut told = Told::default();
        loop {
            // As often as the edge speaks: several times a second.
            if let Err(end) = self.tell(&hello, &mut told) {
                return end;
            }
            let result = match self.next().await {
                Ok(Some(message)) => self.handle(&hello, message).await,
                Ok(None) => Err(Status::ok("the edge ended the session")),
                Err(end) => Err(end),
            };
            if let Err(end) = result {
                return end;
            }
        }
    }

    async fn handle(&mut self, hello: &EdgeHello, message: from_edge::Message) -> Result<(), Status> {
        let from_edge::Message::State(state) = message else {
            return Err(Status::invalid_argument("a session has one hello"));
        };
        let EdgeHello { edge_id: edge, node_id: node, address, .. } = hello.clone();
        // No edge can speak for one of another machine, whose tasks would stop too early.
        let edge = match &self.surroundings.peer {
            Some(peer) if peer.node != edge => format!("{}/{edge}", peer.node),
            _ => edge,
        };
        let message = Message::EdgeState { edge, node, address, state };
        self.surroundings.term.messages.send(message).await.map_err(|_| term_over())
    }

    /// What has changed, or that this controller still leads.
    fn tell(&self, hello: &EdgeHello, told: &mut Told) -> Result<(), Status> {
        self.surroundings.refuse_stranger()?;
        let controllers = self.surroundings.controllers();
        if told.controllers != controllers {
            told.controllers.clone_from(&controllers);
            return controllers.map_or(Ok(()), |controllers| self.send(to_edge::Message::Controllers(controllers)));
        }
        let view = self.surroundings.term.desk.view();
        let node = view.nodes.get(&NodeId::new(hello.node_id.clone()));
        let standing = NodeStanding { draining: node.is_some_and(|record| record.node.draining) };
        if told.standing != Some(standing) {
            told.standing = Some(standing);
            return self.send(to_edge::Message::Node(standing));
        }
        self.send(to_edge::Message::Heartbeat(Heartbeat {}))
    }

    fn send(&self, message: to_edge::Message) -> Result<(), Status> {
        let sent = self.outgoing.try_send(Ok(ToEdge { message: Some(message) }));
        sent.map_err(|_| Status::resource_exhausted("the edge reads too slowly"))
    }

    /// The next message that says something; `None` at the end of the stream.
    async fn next(&mut self) -> Result<Option<from_edge::Message>, Status> {
        loop {
            match self.incoming.next().await? {
                None => return Ok(None),
                Some(FromEdge { message: Some(message) }) => return Ok(Some(message)),
                // An empty message (of a later version) is a sign of life.
                Some(FromEdge { message: None }) => {}
            }
        }
    }
}
