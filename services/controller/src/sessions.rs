//! The sessions of agents and edges, over gRPC. A session authenticates, begins with a hello, passes on what its peer says
//! to the leader, and ends when the peer was silent for too long, reads too slowly, or the controller stops.

mod agent;
mod edge;

use crate::desk::LogRequest;
use futures::Stream;
use identity::{Role, Verifier, authorization_token};
use lifecycle::Stop;
use protocol::sessions_server::{Sessions, SessionsServer};
use protocol::{AgentHello, Desired, EdgeState, FromAgent, FromEdge, TaskReport, ToAgent, ToEdge};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{mpsc, watch};
use tonic::{Request, Response, Status, Streaming};

/// Messages of all sessions that wait for the leader; a session that finds no place waits.
pub(crate) const MESSAGES_QUEUED_MAX: usize = 1024;
/// Bytes of one message of a peer: the reports of some ten thousand tasks.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// A session, told apart from an earlier one of the same peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SessionId(u64);

/// What sessions tell the leader.
pub(crate) enum Message {
    AgentOpened {
        session: SessionId,
        hello: Box<AgentHello>,
        link: AgentLink,
    },
    AgentReports {
        session: SessionId,
        node: String,
        reports: Vec<TaskReport>,
    },
    AgentSeen {
        session: SessionId,
        node: String,
    },
    AgentClosed {
        session: SessionId,
        node: String,
    },
    /// `node`: where the edge runs; empty: not known. `address`: where it serves requests.
    EdgeState {
        edge: String,
        node: String,
        address: String,
        state: EdgeState,
    },
}

/// The leader's end of an agent's session; dropping it ends the session.
#[derive(Debug)]
pub(crate) struct AgentLink {
    /// Only the latest desired set counts, so that a slow agent is sent no outdated ones.
    pub desired: watch::Sender<Desired>,
    pub logs: mpsc::Sender<LogRequest>,
}

pub(crate) struct Service {
    verifier: Verifier,
    leader: mpsc::Sender<Message>,
    stop: Stop,
    sessions: AtomicU64,
}

impl Service {
    pub(crate) fn server(verifier: Verifier, leader: mpsc::Sender<Message>, stop: Stop) -> SessionsServer<Self> {
        let service = Self { verifier, leader, stop, sessions: AtomicU64::new(0) };
        SessionsServer::new(service).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    fn authenticate<T>(&self, request: &Request<T>, allowed: &[Role]) -> Result<(), Status> {
        let role = match authorization_token(request.metadata().as_ref()) {
            Some(token) => self.verifier.role_of(&token),
            None => self.verifier.anonymous(),
        };
        match role {
            Some(role) if allowed.contains(&role) => Ok(()),
            Some(role) => Err(Status::permission_denied(format!("role {role} may not open this session"))),
            None => Err(Status::unauthenticated("a valid token is needed, as authorization: Bearer TOKEN")),
        }
    }

    fn next_session(&self) -> SessionId {
        SessionId(self.sessions.fetch_add(1, Ordering::Relaxed))
    }
}

type Outgoing<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Sessions for Service {
    type AgentStream = Outgoing<ToAgent>;
    type EdgeStream = Outgoing<ToEdge>;

    async fn agent(&self, request: Request<Streaming<FromAgent>>) -> Result<Response<Self::AgentStream>, Status> {
        self.authenticate(&request, &[Role::Agent, Role::Admin])?;
        let (outgoing, stream) = mpsc::channel(protocol::SESSION_QUEUE_MAX);
        let session = agent::Session {
            id: self.next_session(),
            incoming: request.into_inner(),
            outgoing,
            leader: self.leader.clone(),
        };
        let stop = self.stop.clone();
        tokio::spawn(async move { stop.or(session.run()).await });
        Ok(Response::new(Box::pin(tokio_stream::wrappers::ReceiverStream::new(stream))))
    }

    async fn edge(&self, request: Request<Streaming<FromEdge>>) -> Result<Response<Self::EdgeStream>, Status> {
        self.authenticate(&request, &[Role::Edge, Role::Admin])?;
        let (outgoing, stream) = mpsc::channel(protocol::SESSION_QUEUE_MAX);
        let session = edge::Session { incoming: request.into_inner(), outgoing, leader: self.leader.clone() };
        let stop = self.stop.clone();
        tokio::spawn(async move { stop.or(session.run()).await });
        Ok(Response::new(Box::pin(tokio_stream::wrappers::ReceiverStream::new(stream))))
    }
}
