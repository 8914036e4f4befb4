//! The edge's word to the controller: which revision serves, and which servers that left the table still have requests in
//! flight. The controller stops a task only on this word (see [`crate::current`] for why it can be trusted).
//!
//! The edge opens the session and says its state after every change of the table, whenever a server that left it has no
//! request left, and at least every `EDGE_REPORT_INTERVAL`. `applied_revision` is that of Roadstead's route documents,
//! which are what the controller writes; it moves on with the store even when they do not change.

use crate::current::Current;
use crate::limits::{CONTROLLER_TIMEOUT, RETRY_PAUSE_MAX, RETRY_PAUSE_MIN};
use lifecycle::ErrorChain;
use protocol::sessions_client::SessionsClient;
use protocol::{BusyServer, EDGE_REPORT_INTERVAL, EdgeHello, EdgeState, FromEdge, SESSION_QUEUE_MAX, from_edge};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};

pub(crate) struct Session {
    /// `http://host:port`
    pub controller: String,
    pub token: Option<identity::Token>,
    pub edge_id: String,
    /// Where clients reach this edge.
    pub address: String,
    pub cluster_id: u64,
    pub current: Arc<Current>,
}

#[derive(Debug, thiserror::Error)]
enum SessionError {
    #[error("{url:?} is no address of a controller")]
    Address { url: String, source: tonic::transport::Error },
    #[error("connect")]
    Connect(#[source] tonic::transport::Error),
    #[error("the token cannot be sent")]
    Token,
    #[error("the controller ended the session")]
    Refused(#[source] Box<tonic::Status>),
    #[error("the controller closed the session")]
    Closed,
    #[error("the controller takes no messages")]
    Stalled,
}

impl Session {
    /// Keeps a session open for ever.
    pub async fn run(self) {
        let mut pause = RETRY_PAUSE_MIN;
        loop {
            let error = match self.hold(&mut pause).await {
                Ok(never) => match never {},
                Err(error) => error,
            };
            tracing::warn!(controller = self.controller, error = %ErrorChain(&error), "session with the controller");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_PAUSE_MAX);
        }
    }

    async fn hold(&self, pause: &mut Duration) -> Result<std::convert::Infallible, SessionError> {
        let channel = self.connect().await?;
        let (messages, queue) = mpsc::channel(SESSION_QUEUE_MAX);
        let hello = EdgeHello {
            // Two edges of one host must not speak for each other: a task is stopped when every edge is done with it.
            edge_id: format!("{}@{}", self.edge_id, self.address),
            address: self.address.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node_id: String::new(),
        };
        let say = |message| {
            let message = FromEdge { message: Some(message) };
            messages.try_send(message).map_err(|_| SessionError::Stalled)
        };
        let mut changes = self.current.changes();
        say(from_edge::Message::Hello(hello))?;
        say(self.state())?;

        let mut request = tonic::Request::new(ReceiverStream::new(queue));
        if let Some(token) = &self.token {
            let value = format!("Bearer {}", token.reveal());
            let mut value: MetadataValue<_> = value.parse().map_err(|_| SessionError::Token)?;
            value.set_sensitive(true);
            request.metadata_mut().insert("authorization", value);
        }
        let refused = |status| SessionError::Refused(Box::new(status));
        let mut client = SessionsClient::new(channel);
        let opened = tokio::time::timeout(CONTROLLER_TIMEOUT, client.edge(request)).await;
        let mut inbound = opened.map_err(|_| SessionError::Stalled)?.map_err(refused)?.into_inner();
        tracing::info!(controller = self.controller, "session with the controller is open");
        *pause = RETRY_PAUSE_MIN;

        let mut interval = tokio::time::interval(EDGE_REPORT_INTERVAL);
        loop {
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return Err(SessionError::Closed) },
                () = self.current.servers.drained.notified() => {}
                _ = interval.tick() => {}
                message = inbound.message() => {
                    match message {
                        Ok(Some(_heartbeat)) => continue,
                        Ok(None) => return Err(SessionError::Closed),
                        Err(status) => return Err(refused(status)),
                    }
                }
            }
            say(self.state())?;
        }
    }

    async fn connect(&self) -> Result<Channel, SessionError> {
        let endpoint = Endpoint::from_shared(self.controller.clone());
        let endpoint = endpoint.map_err(|source| SessionError::Address { url: self.controller.clone(), source })?;
        endpoint
            .connect_timeout(CONTROLLER_TIMEOUT)
            .http2_keep_alive_interval(CONTROLLER_TIMEOUT)
            .keep_alive_timeout(CONTROLLER_TIMEOUT)
            .keep_alive_while_idle(true)
            .tcp_nodelay(true)
            .connect()
            .await
            .map_err(SessionError::Connect)
    }

    fn state(&self) -> from_edge::Message {
        let (applied_revision, busy) = self.current.report();
        let busy = busy.into_iter().map(|(url, in_flight)| BusyServer { url, in_flight }).collect();
        from_edge::Message::State(EdgeState { cluster_id: self.cluster_id, applied_revision, busy })
    }
}
