//! The vocabulary: ids, resources, apps, tasks, nodes, deployments. Pure values; what is stored in the state is the serde
//! form of these types (format version 0: may change without a migration before the first release).

pub mod app;
pub mod deployment;
pub mod id;
pub mod node;
pub mod resources;
pub mod task;
pub mod time;

pub use app::{App, Constraint, ConstraintOperator, HealthCheck, HealthProtocol, Image, KillSelection, Network};
pub use app::{PortMapping, UpgradeStrategy, Volume};
pub use deployment::{Action, ActionKind, Deployment, Step};
pub use id::{AppId, DeploymentId, IdError, NodeId, TaskId};
pub use node::Node;
pub use resources::{PortRange, Resources};
pub use task::{CheckResult, Intent, Observation, Task, TaskState};
pub use time::Timestamp;
