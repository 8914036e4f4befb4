//! The session with the controller: says what is, hears what is desired. It may break at any time; then it is opened again,
//! at first at once, later every few seconds, and everything is said anew.

use crate::node::NodeHandle;
use crate::{Config, Error};
use http::HeaderValue;
use lifecycle::{BoxError, Stop};
use protocol::sessions_client::SessionsClient;
use protocol::{AGENT_HEARTBEAT_INTERVAL, FromAgent, Heartbeat, SESSION_QUEUE_MAX, SESSION_SILENCE_MAX, TaskReports};
use protocol::{LogRequest, ToAgent, from_agent, to_agent};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{AsciiMetadataValue, MetadataValue};
use tonic::transport::Endpoint;
use tonic::{Request, Streaming};

const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A controller that does not answer this long after a ping is gone.
const PING_INTERVAL: Duration = Duration::from_secs(1);
/// A desired set of 10 000 tasks of 4 KiB, and as much again.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// Log requests answered at once; further ones wait.
const LOG_READS_MAX: usize = 8;

pub(crate) struct Session {
    endpoint: Endpoint,
    credentials: Option<AsciiMetadataValue>,
    node: NodeHandle,
    log_reads: Arc<Semaphore>,
}

impl Session {
    pub(crate) fn new(config: &Config, node: NodeHandle) -> Result<Self, Error> {
        let endpoint = Endpoint::from_shared(config.controller.clone())
            .map_err(|source| Error::Controller { controller: config.controller.clone(), source })?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(SESSION_SILENCE_MAX)
            .keep_alive_while_idle(true);
        let credentials = config.credentials.header().and_then(|value: HeaderValue| {
            let mut value: AsciiMetadataValue = MetadataValue::try_from(value.as_bytes()).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        Ok(Self { endpoint, credentials, node, log_reads: Arc::new(Semaphore::new(LOG_READS_MAX)) })
    }

    /// Opens sessions until the stop.
    pub(crate) async fn run(self, stop: Stop) {
        let mut pause = RETRY_FIRST;
        while !stop.is_requested() {
            let mut opened = false;
            match stop.or(self.hold(&mut opened)).await {
                None => return,
                Some(Ok(())) => tracing::info!("the controller closed the session"),
                Some(Err(error)) => tracing::info!(error = %lifecycle::ErrorChain(&*error), "no session"),
            }
            if opened {
                pause = RETRY_FIRST;
            }
            if stop.or(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
            pause = (pause * 2).min(RETRY_MAX);
        }
    }

    /// One session, until it breaks.
    async fn hold(&self, opened: &mut bool) -> Result<(), BoxError> {
        let channel = self.endpoint.connect().await?;
        let mut client = SessionsClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let (sender, queue) = mpsc::channel(SESSION_QUEUE_MAX);
        sender.send(message(from_agent::Message::Hello(self.node.hello()))).await?;
        let mut request = Request::new(ReceiverStream::new(queue));
        if let Some(credentials) = &self.credentials {
            request.metadata_mut().insert("authorization", credentials.clone());
        }
        let telling = self.tell(&sender);
        tokio::pin!(telling);
        // The controller may answer only after it has heard us: both go on at the same time.
        let opening = client.agent(request);
        let answers = tokio::select! {
            opened = opening => opened?.into_inner(),
            told = &mut telling => return told,
        };
        *opened = true;
        tracing::info!("session with the controller");
        tokio::select! {
            told = telling => told,
            listened = self.listen(answers, &sender) => listened,
        }
    }

    /// Every change, and a heartbeat when there is none.
    async fn tell(&self, sender: &mpsc::Sender<FromAgent>) -> Result<(), BoxError> {
        let mut snapshots = self.node.reports();
        snapshots.wait_for(|snapshot| snapshot.settled).await?;
        loop {
            let tasks = snapshots.borrow_and_update().tasks.to_vec();
            sender.send(message(from_agent::Message::Reports(TaskReports { tasks }))).await?;
            while let Err(_silence) = tokio::time::timeout(AGENT_HEARTBEAT_INTERVAL, snapshots.changed()).await {
                sender.send(message(from_agent::Message::Heartbeat(Heartbeat {}))).await?;
            }
        }
    }

    async fn listen(&self, mut answers: Streaming<ToAgent>, sender: &mpsc::Sender<FromAgent>) -> Result<(), BoxError> {
        while let Some(answer) = answers.next().await {
            match answer?.message {
                Some(to_agent::Message::Desired(desired)) => self.node.desire(desired).await,
                Some(to_agent::Message::Log(request)) => self.answer_log(request, sender).await?,
                // Or a message of a newer controller.
                Some(to_agent::Message::Controllers(_)) | None => {}
            }
        }
        Ok(())
    }

    async fn answer_log(&self, request: LogRequest, sender: &mpsc::Sender<FromAgent>) -> Result<(), BoxError> {
        let slot = self.log_reads.clone().acquire_owned().await?;
        let (node, sender) = (self.node.clone(), sender.clone());
        tokio::spawn(async move {
            let chunk = node.log(request).await;
            let _session_broke = sender.send(message(from_agent::Message::Log(chunk))).await;
            drop(slot);
        });
        Ok(())
    }
}

fn message(message: from_agent::Message) -> FromAgent {
    FromAgent { message: Some(message) }
}
