//! The session with the controller that leads: says what is, hears what is desired. It may break at any time; then it is
//! opened again with whoever leads now ([`protocol::dial`]), and everything is said anew. A broken session stops nothing.

use crate::node::NodeHandle;
use crate::{Config, Error};
use lifecycle::Stop;
use protocol::dial::{self, Dialer, OPEN_TIMEOUT, SessionEnd};
use protocol::sessions_client::SessionsClient;
use protocol::{AGENT_HEARTBEAT_INTERVAL, FromAgent, Heartbeat, SESSION_QUEUE_MAX, TaskReports};
use protocol::{LogRequest, ToAgent, from_agent, to_agent};
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

/// A desired set of 10 000 tasks of 4 KiB, and as much again.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// Log requests answered at once; further ones wait.
const LOG_READS_MAX: usize = 8;
/// In the data directory.
const CONTROLLERS_FILE: &str = "controllers.json";

pub(crate) struct Session {
    dialer: Dialer,
    node: NodeHandle,
    log_reads: Arc<Semaphore>,
}

impl Session {
    pub(crate) fn new(config: &Config, node: NodeHandle) -> Result<Self, Error> {
        let dialer = Dialer::new(dial::Config {
            controllers: config.controllers.clone(),
            remembered: Some(config.data.join(CONTROLLERS_FILE)),
            tls: config.tls.clone(),
            credentials: config.credentials.clone(),
        })?;
        if !dialer.knows_a_controller() {
            return Err(Error::NoController);
        }
        Ok(Self { dialer, node, log_reads: Arc::new(Semaphore::new(LOG_READS_MAX)) })
    }

    /// Opens sessions until the stop.
    pub(crate) async fn run(mut self, stop: Stop) {
        let sessions = async {
            loop {
                let channel = self.dialer.dial().await;
                let end = self.hold(channel).await;
                self.node.session_ended().await;
                self.dialer.ended(&end);
            }
        };
        stop.or(sessions).await.unwrap_or(());
    }

    /// One session, until it breaks.
    async fn hold(&mut self, channel: Channel) -> SessionEnd {
        let mut client = SessionsClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let (sender, queue) = mpsc::channel(SESSION_QUEUE_MAX);
        let (node, telling) = (self.node.clone(), sender.clone());
        let telling = tell(node, telling);
        tokio::pin!(telling);
        // The controller may answer only after it has heard us: both go on at the same time.
        let request = self.dialer.request(ReceiverStream::new(queue));
        let opening = tokio::time::timeout(OPEN_TIMEOUT, client.agent(request));
        let answers = tokio::select! {
            opened = opening => match opened {
                Ok(Ok(answers)) => answers.into_inner(),
                Ok(Err(status)) => return status.into(),
                Err(_) => return SessionEnd::Unanswered,
            },
            end = &mut telling => return end,
        };
        self.dialer.opened();
        tokio::select! {
            end = telling => end,
            end = self.listen(answers, &sender) => end,
        }
    }

    async fn listen(&mut self, mut answers: Streaming<ToAgent>, sender: &mpsc::Sender<FromAgent>) -> SessionEnd {
        loop {
            match answers.message().await {
                Ok(Some(answer)) => match answer.message {
                    Some(to_agent::Message::Desired(desired)) => self.node.desire(desired).await,
                    Some(to_agent::Message::Log(request)) => self.answer_log(request, sender).await,
                    Some(to_agent::Message::Controllers(controllers)) => self.dialer.told(&controllers).await,
                    // Or a message of a newer controller.
                    Some(to_agent::Message::Heartbeat(_)) | None => {}
                },
                Ok(None) => return SessionEnd::Closed,
                Err(status) => return status.into(),
            }
        }
    }

    async fn answer_log(&self, request: LogRequest, sender: &mpsc::Sender<FromAgent>) {
        // Never closed.
        let Ok(slot) = self.log_reads.clone().acquire_owned().await else { return };
        let (node, sender) = (self.node.clone(), sender.clone());
        tokio::spawn(async move {
            let chunk = node.log(request).await;
            let _session_broke = sender.send(message(from_agent::Message::Log(chunk))).await;
            drop(slot);
        });
    }
}

/// Hello, every change, and a heartbeat when there is none; ends when the session takes no more.
async fn tell(node: NodeHandle, sender: mpsc::Sender<FromAgent>) -> SessionEnd {
    let mut snapshots = node.reports();
    let mut open = say(&sender, from_agent::Message::Hello(node.hello())).await;
    while open {
        let snapshot = snapshots.borrow_and_update().clone();
        if snapshot.settled {
            let tasks = snapshot.tasks.to_vec();
            open = say(&sender, from_agent::Message::Reports(TaskReports { tasks })).await;
        }
        while open {
            match tokio::time::timeout(AGENT_HEARTBEAT_INTERVAL, snapshots.changed()).await {
                Ok(Ok(())) => break,
                // The node has ended.
                Ok(Err(_)) => return SessionEnd::Closed,
                Err(_silence) => open = say(&sender, from_agent::Message::Heartbeat(Heartbeat {})).await,
            }
        }
    }
    SessionEnd::Closed
}

/// Whether the session still takes messages.
async fn say(sender: &mpsc::Sender<FromAgent>, what: from_agent::Message) -> bool {
    sender.send(message(what)).await.is_ok()
}

fn message(message: from_agent::Message) -> FromAgent {
    FromAgent { message: Some(message) }
}
