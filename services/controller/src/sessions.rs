//! The sessions of agents and edges, over gRPC. A session authenticates, begins with a hello, passes on what its peer says
//! to the leader, and ends when the peer was silent for too long, reads too slowly, or this controller leads no longer. A
//! controller that does not lead refuses sessions and says who does.
//!
//! Who shows a certificate may speak for its own node only, and only as long as that is a machine of the cluster. Peers are
//! told where the controllers are, so that they find the next leader.

mod agent;
mod edge;

use crate::cluster::registrar::Shared;
use crate::desk::LogRequest;
use crate::election::Seen;
use crate::term::{Lead, Standing, Term};
use futures::Stream;
use identity::{Peer, Role, Verifier, authorization_token};
use protocol::sessions_server::{Sessions, SessionsServer};
use protocol::{AgentHello, Controllers, Desired, EdgeState, FromAgent, FromEdge, TaskReport, ToAgent, ToEdge};
use protocol::{LEADER_METADATA, SESSION_SILENCE_MAX};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};
use tonic::{Request, Response, Status, Streaming};

/// Messages of all sessions that wait for the leader; a session that finds no place waits.
pub(crate) const MESSAGES_QUEUED_MAX: usize = 1024;
/// Bytes of one message of a peer: the reports of some ten thousand tasks.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// A session, told apart from an earlier one of the same peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SessionId(u64);

#[cfg(test)]
impl SessionId {
    pub(crate) fn numbered(number: u64) -> Self {
        Self(number)
    }
}

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
    lead: Lead,
    /// `None`: one machine.
    cluster: Option<Arc<Shared>>,
    sessions: AtomicU64,
}

/// What a session has of its surroundings.
struct Surroundings {
    term: Arc<Term>,
    cluster: Option<Arc<Shared>>,
    /// Whom the certificate of the connection names.
    peer: Option<Peer>,
}

impl Service {
    pub(crate) fn server(verifier: Verifier, lead: Lead, cluster: Option<Arc<Shared>>) -> SessionsServer<Self> {
        let service = Self { verifier, lead, cluster, sessions: AtomicU64::new(0) };
        SessionsServer::new(service).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    fn admit<T>(&self, request: &Request<T>, allowed: &[Role]) -> Result<Surroundings, Status> {
        let certificate = request.extensions().get::<web::PeerCertificate>();
        let peer = certificate.map(|certificate| Peer::of(&certificate.0)).transpose();
        let peer = peer.map_err(|error| Status::unauthenticated(error.to_string()))?;
        let role = match (&peer, authorization_token(request.metadata().as_ref())) {
            (Some(peer), _) => Some(peer.role),
            (None, Some(token)) => self.verifier.role_of(&token),
            (None, None) => self.verifier.anonymous(),
        };
        match role {
            // Every machine has the same tokens, also one that was removed: they do not say for which node a peer may speak.
            Some(role) if self.cluster.is_some() && peer.is_none() && role != Role::Admin => {
                return Err(Status::unauthenticated("among machines a session is opened with a certificate"));
            }
            Some(role) if allowed.contains(&role) => {}
            Some(role) => return Err(Status::permission_denied(format!("role {role} may not open this session"))),
            None => return Err(Status::unauthenticated("a valid token is needed, as authorization: Bearer TOKEN")),
        }
        match self.lead.standing() {
            Standing::Leads(term) => Ok(Surroundings { term, cluster: self.cluster.clone(), peer }),
            Standing::Follows(following) => Err(not_leading(following.leader.as_ref())),
        }
    }

    fn next_session(&self) -> SessionId {
        SessionId(self.sessions.fetch_add(1, Ordering::Relaxed))
    }
}

impl Surroundings {
    /// Whether the peer may speak for a node.
    fn refuse_other_node(&self, node: &str) -> Result<(), Status> {
        match &self.peer {
            Some(peer) if peer.node != node => {
                let message = format!("the certificate is of node '{}', the hello of '{node}'", peer.node);
                Err(Status::permission_denied(message))
            }
            Some(_) => self.refuse_stranger(),
            None => Ok(()),
        }
    }

    /// A machine's servers are at its own address: routes lead to no other.
    fn refuse_other_address(&self, node: &str, address: &str) -> Result<(), Status> {
        let (Some(_), Some(cluster)) = (&self.peer, &self.cluster) else { return Ok(()) };
        match cluster.roster.machines().get(node) {
            Some(member) if address.parse() != Ok(member.address) => {
                let message =
                    format!("the machine '{node}' is at {}, its agent's hello says {address}", member.address);
                Err(Status::permission_denied(message))
            }
            _ => Ok(()),
        }
    }

    /// A machine that was removed may not go on.
    fn refuse_stranger(&self) -> Result<(), Status> {
        let (Some(peer), Some(cluster)) = (&self.peer, &self.cluster) else { return Ok(()) };
        if cluster.roster.is_stranger(&peer.node) {
            let message = format!("the machine '{}' is none of this cluster (any more)", peer.node);
            return Err(Status::permission_denied(message));
        }
        Ok(())
    }

    /// `None` without a cluster: the peer knows the only controller there is.
    fn controllers(&self) -> Option<Controllers> {
        let cluster = self.cluster.as_ref()?;
        Some(Controllers { addresses: cluster.roster.controllers(&cluster.advertise) })
    }
}

/// With a hint where to go.
fn not_leading(leader: Option<&Seen>) -> Status {
    let mut status = Status::failed_precondition("this controller does not lead");
    if let Some(leader) = leader
        && let Ok(peers) = leader.record.peers.parse()
    {
        status.metadata_mut().insert(LEADER_METADATA, peers);
    }
    status
}

/// To a peer whose session ends with the term.
fn term_over() -> Status {
    Status::unavailable("this controller leads no longer")
}

type Outgoing<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Sessions for Service {
    type AgentStream = Outgoing<ToAgent>;
    type EdgeStream = Outgoing<ToEdge>;

    async fn agent(&self, request: Request<Streaming<FromAgent>>) -> Result<Response<Self::AgentStream>, Status> {
        let surroundings = self.admit(&request, &[Role::Agent, Role::Admin])?;
        let (outgoing, stream) = mpsc::channel(protocol::SESSION_QUEUE_MAX);
        let (id, incoming) = (self.next_session(), request.into_inner());
        tokio::spawn(agent::Session { id, incoming: Incoming::new(incoming), outgoing, surroundings }.run());
        Ok(Response::new(Box::pin(tokio_stream::wrappers::ReceiverStream::new(stream))))
    }

    async fn edge(&self, request: Request<Streaming<FromEdge>>) -> Result<Response<Self::EdgeStream>, Status> {
        let surroundings = self.admit(&request, &[Role::Edge, Role::Admin])?;
        let (outgoing, stream) = mpsc::channel(protocol::SESSION_QUEUE_MAX);
        let incoming = Incoming::new(request.into_inner());
        tokio::spawn(edge::Session { incoming, outgoing, surroundings }.run());
        Ok(Response::new(Box::pin(tokio_stream::wrappers::ReceiverStream::new(stream))))
    }
}

/// A peer's messages, and how long it has been silent.
struct Incoming<T> {
    messages: Streaming<T>,
    heard_at: Instant,
}

impl<T> Incoming<T> {
    fn new(messages: Streaming<T>) -> Self {
        Self { messages, heard_at: Instant::now() }
    }

    /// The next message; `None` at the end of the stream. Asked again after it was dropped, it goes on counting the silence.
    async fn next(&mut self) -> Result<Option<T>, Status> {
        let silent_at = self.heard_at + SESSION_SILENCE_MAX;
        let message = match timeout_at(silent_at, self.messages.message()).await {
            Err(_) => return Err(Status::deadline_exceeded("the peer was silent for too long")),
            Ok(message) => message?,
        };
        self.heard_at = Instant::now();
        Ok(message)
    }
}
