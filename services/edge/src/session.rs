//! The edge's word to the controller that leads: which revision serves, and which servers that left the table still have
//! requests in flight. The controller stops a task only on this word (see [`crate::current`] for why it can be trusted).
//!
//! The edge opens the session ([`protocol::dial`]) and says its state after every change of the table, whenever a server
//! that left it has no request left, and at least every `EDGE_REPORT_INTERVAL`. `applied_revision` is that of Roadstead's
//! route documents, which are what the controller writes; it moves on with the store even when they do not change, and
//! counts in one `cluster_id` only.
//!
//! What the controller says of the edge's node is kept in [`Standing`] until it says otherwise, across sessions.

use crate::challenges::Challenges;
use crate::current::Report;
use crate::succession::Reports;
use protocol::dial::{Dialer, OPEN_TIMEOUT, SessionEnd};
use protocol::sessions_client::SessionsClient;
use protocol::{
    BusyServer, EDGE_REPORT_INTERVAL, EdgeHello, EdgeState, FromEdge, SESSION_QUEUE_MAX, ToEdge, from_edge, to_edge,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use tokio::sync::{Mutex, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

/// In the edge's data directory.
pub(crate) const CONTROLLERS_FILE: &str = "controllers.json";

/// What the cluster thinks of this edge's node.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    draining: AtomicBool,
}

impl Standing {
    /// As a process before this one was told.
    pub fn new(is_draining: bool) -> Self {
        Self { draining: AtomicBool::new(is_draining) }
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }
}

pub(crate) struct Session {
    pub dialer: Dialer,
    pub edge_id: String,
    /// The node it runs on; empty: not known.
    pub node_id: String,
    /// Where clients reach this edge.
    pub address: String,
    pub reports: Reports,
    pub challenges: Arc<Challenges>,
    pub standing: Arc<Standing>,
    /// Told where the controller is whose session is open: the one that leads.
    pub leader: watch::Sender<Option<String>>,
    pub voice: Arc<Voice>,
}

/// Whether this process speaks for its edge, or another one does.
#[derive(Debug)]
pub(crate) struct Voice {
    allowed: watch::Sender<bool>,
    /// Held while it speaks.
    speaking: Mutex<()>,
}

impl Voice {
    pub fn allow(&self) {
        self.allowed.send_replace(true);
    }

    /// Returns when not a word follows.
    pub async fn silence(&self) {
        self.allowed.send_replace(false);
        drop(self.speaking.lock().await);
    }
}

impl Default for Voice {
    fn default() -> Self {
        Self { allowed: watch::Sender::new(true), speaking: Mutex::default() }
    }
}

impl Session {
    /// Keeps a session open for ever.
    pub async fn run(mut self) {
        let voice = self.voice.clone();
        let mut allowed = voice.allowed.subscribe();
        loop {
            if allowed.wait_for(|allowed| *allowed).await.is_err() {
                return;
            }
            let _speaking = voice.speaking.lock().await;
            tokio::select! {
                biased;
                _ = allowed.wait_for(|allowed| !*allowed) => {}
                () = self.speak() => {}
            }
        }
    }

    async fn speak(&mut self) {
        let channel = self.dialer.dial().await;
        let end = self.hold(channel).await;
        self.leader.send_replace(None);
        self.dialer.ended(&end);
    }

    /// One session, until it breaks.
    async fn hold(&mut self, channel: Channel) -> SessionEnd {
        let (messages, queue) = mpsc::channel(SESSION_QUEUE_MAX);
        let say = |message| messages.try_send(FromEdge { message: Some(message) }).is_ok();
        if !(say(self.hello()) && say(self.state())) {
            return SessionEnd::Stalled;
        }
        let mut client = SessionsClient::new(channel);
        let opening = client.edge(self.dialer.request(ReceiverStream::new(queue)));
        let mut inbound = match tokio::time::timeout(OPEN_TIMEOUT, opening).await {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) => return status.into(),
            Err(_) => return SessionEnd::Unanswered,
        };
        self.dialer.opened();
        self.leader.send_replace(self.dialer.controller());

        let mut interval = tokio::time::interval(EDGE_REPORT_INTERVAL);
        loop {
            tokio::select! {
                () = self.reports.changed() => {}
                _ = interval.tick() => {}
                message = inbound.message() => match message {
                    Ok(Some(message)) => {
                        self.hear(message).await;
                        continue;
                    }
                    Ok(None) => return SessionEnd::Closed,
                    Err(status) => return status.into(),
                },
            }
            if !say(self.state()) {
                return SessionEnd::Stalled;
            }
        }
    }

    async fn hear(&mut self, message: ToEdge) {
        match message.message {
            Some(to_edge::Message::Controllers(controllers)) => self.dialer.told(&controllers).await,
            Some(to_edge::Message::Node(node)) => {
                if self.standing.draining.swap(node.draining, Relaxed) != node.draining {
                    tracing::info!(draining = node.draining, "the standing of this node changed");
                }
            }
            // Or a message of a newer controller.
            Some(to_edge::Message::Heartbeat(_)) | None => {}
        }
    }

    fn hello(&self) -> from_edge::Message {
        from_edge::Message::Hello(EdgeHello {
            // Two edges of one host must not speak for each other: a task is stopped when every edge is done with it.
            edge_id: format!("{}@{}", self.edge_id, self.address),
            address: self.address.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node_id: self.node_id.clone(),
        })
    }

    fn state(&self) -> from_edge::Message {
        let Report { cluster_id, revision, busy } = self.reports.now();
        let busy = busy.into_iter().map(|(url, in_flight)| BusyServer { url, in_flight }).collect();
        let challenges_revision = self.challenges.revision();
        from_edge::Message::State(EdgeState { cluster_id, applied_revision: revision, busy, challenges_revision })
    }
}
