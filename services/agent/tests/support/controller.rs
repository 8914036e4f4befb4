//! A controller that does what the test says and remembers what it was told.

use protocol::sessions_server::{Sessions, SessionsServer};
use protocol::{
    AgentHello, Controllers, Desired, FromAgent, FromEdge, LogChunk, LogRequest, TaskReport, ToAgent, ToEdge,
};
use protocol::{from_agent, to_agent};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

/// Of the store behind every controller, unless a test says otherwise.
pub const CLUSTER: u64 = 7;
pub const DEADLINE: Duration = Duration::from_secs(20);

/// What was heard, newest last.
#[derive(Default)]
pub struct Heard {
    pub hellos: Vec<AgentHello>,
    pub reports: Vec<Vec<TaskReport>>,
    pub logs: Vec<LogChunk>,
    pub heartbeats: usize,
    pub authorization: Vec<Option<String>>,
    session: Option<mpsc::Sender<Result<ToAgent, Status>>>,
    /// Sessions are refused, and who leads is named.
    leader: Option<String>,
}

#[derive(Clone)]
pub struct Controller {
    pub address: SocketAddr,
    heard: Arc<Mutex<Heard>>,
    changed: watch::Sender<u64>,
    /// How often it stopped leading.
    ousted: watch::Sender<u64>,
    serving: Arc<tokio::task::AbortHandle>,
    stop: lifecycle::Stop,
}

impl Controller {
    pub async fn start() -> Self {
        Self::start_on(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    pub async fn start_on(address: SocketAddr) -> Self {
        // The one before us may still be letting go of its port.
        let listener = async {
            loop {
                match TcpListener::bind(address).await {
                    Ok(listener) => return listener,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        };
        let listener = tokio::time::timeout(DEADLINE, listener).await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::<Mutex<Heard>>::default();
        let changed = watch::Sender::new(0);
        let ousted = watch::Sender::new(0);
        let stop = lifecycle::Stop::new();
        let service =
            Service { heard: heard.clone(), changed: changed.clone(), ousted: ousted.clone(), stop: stop.clone() };
        let server = tonic::transport::Server::builder()
            .add_service(SessionsServer::new(service))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let serving = Arc::new(tokio::spawn(server).abort_handle());
        Self { address, heard, changed, ousted, serving, stop }
    }

    pub fn uri(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Goes away; its sessions break.
    pub fn stop(&self) {
        self.serving.abort();
        self.stop.request();
        self.heard.lock().unwrap().session = None;
    }

    pub fn with<T>(&self, look: impl FnOnce(&Heard) -> T) -> T {
        look(&self.heard.lock().unwrap())
    }

    /// Waits until something it heard is as expected.
    pub async fn until<T>(&self, what: &str, mut look: impl FnMut(&Heard) -> Option<T>) -> T {
        let mut changed = self.changed.subscribe();
        let waiting = async {
            loop {
                changed.borrow_and_update();
                if let Some(found) = self.with(&mut look) {
                    return found;
                }
                changed.changed().await.unwrap();
            }
        };
        match tokio::time::timeout(DEADLINE, waiting).await {
            Ok(found) => found,
            Err(_) => {
                panic!("waited too long for {what}; last report {:?}", self.with(|heard| heard.reports.last().cloned()))
            }
        }
    }

    /// Waits for a report on this task that is as expected.
    pub async fn until_task(&self, task_id: &str, what: &str, accept: impl Fn(&TaskReport) -> bool) -> TaskReport {
        self.until(what, |heard| {
            let report = heard.reports.last()?.iter().find(|report| report.task_id == task_id)?;
            accept(report).then(|| report.clone())
        })
        .await
    }

    async fn send(&self, message: to_agent::Message) {
        let session = self.until("a session", |heard| heard.session.clone()).await;
        session.send(Ok(ToAgent { message: Some(message) })).await.unwrap();
    }

    pub async fn desire(&self, generation: u64, tasks: Vec<protocol::TaskSpec>) {
        self.desire_of(CLUSTER, generation, tasks).await;
    }

    pub async fn desire_of(&self, cluster_id: u64, generation: u64, tasks: Vec<protocol::TaskSpec>) {
        self.send(to_agent::Message::Desired(Desired { generation, tasks, cluster_id })).await;
    }

    /// Names all controllers to the agent.
    pub async fn name(&self, addresses: Vec<String>) {
        self.send(to_agent::Message::Controllers(Controllers { addresses })).await;
    }

    /// From now on another one leads: its session ends, and new ones are refused.
    pub fn yield_to(&self, leader: &Self) {
        let mut heard = self.heard.lock().unwrap();
        heard.leader = Some(leader.address.to_string());
        heard.session = None;
        self.ousted.send_modify(|times| *times += 1);
    }

    pub async fn log(&self, request: LogRequest) -> LogChunk {
        let id = request.request_id;
        self.send(to_agent::Message::Log(request)).await;
        self.until("a log", |heard| heard.logs.iter().find(|chunk| chunk.request_id == id).cloned()).await
    }
}

struct Service {
    heard: Arc<Mutex<Heard>>,
    changed: watch::Sender<u64>,
    ousted: watch::Sender<u64>,
    stop: lifecycle::Stop,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Sessions for Service {
    type AgentStream = Answers<ToAgent>;
    type EdgeStream = Answers<ToEdge>;

    async fn agent(&self, request: Request<Streaming<FromAgent>>) -> Result<Response<Self::AgentStream>, Status> {
        let authorization =
            request.metadata().get("authorization").and_then(|value| value.to_str().ok()).map(str::to_owned);
        if let Some(leader) = &self.heard.lock().unwrap().leader {
            let mut status = Status::failed_precondition("another controller leads");
            status.metadata_mut().insert(protocol::LEADER_METADATA, leader.parse().unwrap());
            return Err(status);
        }
        let mut ousted = self.ousted.subscribe();
        let (sender, answers) = mpsc::channel(16);
        let mut said = request.into_inner();
        let (heard, changed, stop) = (self.heard.clone(), self.changed.clone(), self.stop.clone());
        heard.lock().unwrap().authorization.push(authorization);
        tokio::spawn(async move {
            loop {
                let next = tokio::select! {
                    next = stop.or(said.next()) => next,
                    _ = ousted.changed() => None,
                };
                let Some(Some(Ok(FromAgent { message: Some(message) }))) = next else { break };
                let mut heard = heard.lock().unwrap();
                match message {
                    from_agent::Message::Hello(hello) => {
                        heard.hellos.push(hello);
                        heard.session = Some(sender.clone());
                    }
                    from_agent::Message::Reports(reports) => heard.reports.push(reports.tasks),
                    from_agent::Message::Log(chunk) => heard.logs.push(chunk),
                    from_agent::Message::Heartbeat(_) => heard.heartbeats += 1,
                }
                drop(heard);
                changed.send_modify(|count| *count += 1);
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    async fn edge(&self, _: Request<Streaming<FromEdge>>) -> Result<Response<Self::EdgeStream>, Status> {
        Err(Status::unimplemented("no edges in these tests"))
    }
}
