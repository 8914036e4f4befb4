//! Where the faces meet the controller: a view of the world to read, and a queue of requests that one task works off.

use arc_swap::ArcSwap;
use model::{App, AppId, DeploymentId, Observation, Task, TaskId, Timestamp};
use scheduler::World;
use std::sync::Arc;
use tokio::sync::{broadcast, mpsc, oneshot};

/// Requests that wait for the controller at once; a further caller waits for a place.
pub const REQUESTS_QUEUED_MAX: usize = 1024;
/// Events one slow listener of `/v2/events` may be behind before it is cut.
pub const EVENTS_QUEUED_MAX: usize = 4096;

/// A clonable handle of the controller.
#[derive(Clone)]
pub struct Desk {
    pub(crate) view: Arc<ArcSwap<World>>,
    pub(crate) requests: mpsc::Sender<Request>,
    pub(crate) events: broadcast::Sender<Arc<Event>>,
}

/// What is asked of the controller.
#[derive(Debug)]
pub enum Ask {
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
    #[error("Task '{0}' does not exist")]
    NoTask(TaskId),
    #[error("DeploymentPlan {0} does not exist")]
    NoDeployment(DeploymentId),
    #[error("App is locked by one or more deployments")]
    Locked(Vec<DeploymentId>),
    #[error("{0}")]
    Invalid(String),
    #[error("the state cannot be written")]
    Store(#[source] store::StoreError),
    #[error("the controller is stopping")]
    Stopping,
}

#[derive(Debug)]
pub struct Request {
    pub(crate) ask: Ask,
    pub(crate) reply: oneshot::Sender<Result<Answer, Refusal>>,
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

impl Desk {
    /// The world as it is now; immutable.
    pub fn view(&self) -> Arc<World> {
        self.view.load_full()
    }

    pub async fn ask(&self, ask: Ask) -> Result<Answer, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request { ask, reply }).await.map_err(|_| Refusal::Stopping)?;
        answer.await.map_err(|_| Refusal::Stopping)?
    }

    pub fn events(&self) -> broadcast::Receiver<Arc<Event>> {
        self.events.subscribe()
    }
}
