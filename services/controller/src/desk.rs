//! Where the faces meet the controller: a view of the world to read, and a queue of requests that one task works off.

use arc_swap::ArcSwap;
use model::{App, AppId, DeploymentId, NodeId, Observation, Task, TaskId, Timestamp};
use scheduler::World;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, oneshot};

/// Requests that wait for the controller at once; a further caller waits for a place.
pub const REQUESTS_QUEUED_MAX: usize = 1024;
/// Events one slow listener of `/v2/events` may be behind before it is cut.
pub const EVENTS_QUEUED_MAX: usize = 4096;

/// Requests for a piece of a log that wait at once.
pub const LOG_REQUESTS_QUEUED_MAX: usize = 64;
/// An agent answers a request for a piece of a log within this time, or it counts as away.
pub const LOG_ANSWER_MAX: Duration = Duration::from_secs(5);

/// A clonable handle of the controller.
#[derive(Clone)]
pub struct Desk {
    pub(crate) view: Arc<ArcSwap<World>>,
    pub(crate) requests: mpsc::Sender<Request>,
    pub(crate) logs: mpsc::Sender<LogRequest>,
    pub(crate) events: broadcast::Sender<Arc<Event>>,
}

/// What a desk's askers are answered from: the controller holds it, or a test of a face.
pub struct Inbox {
    pub(crate) view: Arc<ArcSwap<World>>,
    pub(crate) requests: mpsc::Receiver<Request>,
    pub(crate) logs: mpsc::Receiver<LogRequest>,
    pub(crate) events: broadcast::Sender<Arc<Event>>,
}

/// What is asked of the controller.
#[derive(Debug)]
pub enum Ask {
    /// A definition (as for `Put`) of an app that must not exist yet.
    Create {
        app: Box<App>,
        force: bool,
    },
    /// New definitions (validated; `version` is set by the controller, the same for all), as one deployment.
    Put {
        apps: Vec<App>,
        force: bool,
    },
    Remove {
        app: AppId,
        force: bool,
    },
    /// A rolling restart under a new version.
    Restart {
        app: AppId,
        force: bool,
    },
    /// Replaces the tasks; with `scale`, lowers `instances` by their number instead.
    KillTasks {
        tasks: Vec<TaskId>,
        scale: bool,
        force: bool,
    },
    /// Without `force`: a new, inverse deployment. With it: merely forgotten.
    CancelDeployment {
        id: DeploymentId,
        force: bool,
    },
    /// Forgets an app's back-off.
    ResetDelay {
        app: AppId,
    },
    /// Empties a node (its tasks move elsewhere, none is launched there), or with `on` false lets it take tasks again.
    DrainNode {
        node: NodeId,
        on: bool,
    },
    /// Forgets a node, and ends its agent's session; what ran there counts as lost.
    RemoveNode {
        node: NodeId,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub version: Timestamp,
    /// `None` when nothing had to be deployed.
    pub deployment: Option<DeploymentId>,
}

#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("App '{0}' does not exist")]
    NoApp(AppId),
    #[error("An app with id [{0}] already exists.")]
    Exists(AppId),
    #[error("Task '{0}' does not exist")]
    NoTask(TaskId),
    #[error("DeploymentPlan {0} does not exist")]
    NoDeployment(DeploymentId),
    #[error("Node '{0}' does not exist")]
    NoNode(NodeId),
    #[error("App is locked by one or more deployments")]
    Locked(Vec<DeploymentId>),
    #[error("{0}")]
    Invalid(String),
    #[error("the state cannot be written")]
    Store(#[source] store::StoreError),
    /// Nothing was done.
    #[error("the controller is stopping")]
    Stopping,
    #[error("the controller stopped before it answered; the change may have been made")]
    Unanswered,
}

#[derive(Debug)]
pub struct Request {
    pub(crate) ask: Ask,
    pub(crate) reply: oneshot::Sender<Result<Answer, Refusal>>,
}

/// What is asked about a task's output.
#[derive(Debug)]
pub struct LogRequest {
    pub(crate) task: TaskId,
    pub(crate) stream: LogStream,
    pub(crate) offset: i64,
    pub(crate) length_bytes: u64,
    pub(crate) reply: oneshot::Sender<Result<LogPiece, LogRefusal>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStream {
    Stdout,
    Stderr,
}

/// A piece of a task's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPiece {
    /// Of the first byte of `data` in the stream.
    pub offset: i64,
    pub data: Vec<u8>,
}

#[derive(Debug, thiserror::Error)]
pub enum LogRefusal {
    #[error("Task '{0}' does not exist")]
    NoTask(TaskId),
    #[error("the agent of node '{0}' is away")]
    Away(NodeId),
    #[error("{0}")]
    Agent(String),
    #[error("the controller is stopping")]
    Stopping,
}

/// What happened; the API gives each its Marathon form.
#[derive(Clone, Debug)]
pub struct Event {
    pub at: Timestamp,
    pub kind: EventKind,
}

#[derive(Clone, Debug)]
pub enum EventKind {
    /// A task's state was seen to change; the record itself, since a task that ended is soon forgotten.
    TaskStatus {
        task: Arc<Task>,
        seen: Observation,
    },
    TaskHealth {
        task: Arc<Task>,
        alive: bool,
    },
    /// A task is killed because a check gave up.
    UnhealthyKill {
        task: Arc<Task>,
        reason: String,
    },
    DeploymentStarted {
        deployment: Arc<model::Deployment>,
    },
    DeploymentStep {
        deployment: Arc<model::Deployment>,
        step: usize,
        done: bool,
    },
    DeploymentSucceeded {
        deployment: Arc<model::Deployment>,
    },
    DeploymentFailed {
        deployment: Arc<model::Deployment>,
        reason: String,
    },
    AppTerminated {
        app: AppId,
    },
}

impl Drop for Inbox {
    /// Whoever still waits is told that nothing was done.
    fn drop(&mut self) {
        self.requests.close();
        while let Ok(request) = self.requests.try_recv() {
            let _caller = request.reply.send(Err(Refusal::Stopping));
        }
    }
}

impl Desk {
    /// A desk in front of a world, and what its askers are answered from.
    pub(crate) fn open(world: World) -> (Self, Inbox) {
        let view = Arc::new(ArcSwap::from_pointee(world));
        let (requests, requests_receiver) = mpsc::channel(REQUESTS_QUEUED_MAX);
        let (logs, logs_receiver) = mpsc::channel(LOG_REQUESTS_QUEUED_MAX);
        let (events, _) = broadcast::channel(EVENTS_QUEUED_MAX);
        let desk = Self { view: view.clone(), requests, logs, events: events.clone() };
        (desk, Inbox { view, requests: requests_receiver, logs: logs_receiver, events })
    }

    /// The world as it is now; immutable.
    pub fn view(&self) -> Arc<World> {
        self.view.load_full()
    }

    pub async fn ask(&self, ask: Ask) -> Result<Answer, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request { ask, reply }).await.map_err(|_| Refusal::Stopping)?;
        answer.await.map_err(|_| Refusal::Unanswered)?
    }

    /// A piece of a task's output: at most `length_bytes` from `offset` on (-1: the last ones).
    pub async fn logs(
        &self,
        task: TaskId,
        stream: LogStream,
        offset: i64,
        length_bytes: u64,
    ) -> Result<LogPiece, LogRefusal> {
        let (reply, answer) = oneshot::channel();
        let request = LogRequest { task, stream, offset, length_bytes, reply };
        self.logs.send(request).await.map_err(|_| LogRefusal::Stopping)?;
        match tokio::time::timeout(LOG_ANSWER_MAX, answer).await {
            Ok(answer) => answer.map_err(|_| LogRefusal::Stopping)?,
            Err(_) => Err(LogRefusal::Agent(format!("the agent did not answer within {LOG_ANSWER_MAX:?}"))),
        }
    }

    pub fn events(&self) -> broadcast::Receiver<Arc<Event>> {
        self.events.subscribe()
    }
}
