//! Marathon's JSON, read and written, as pure functions over the vocabulary of `model`.
//!
//! **Reading** accepts every form from 0.7.6 to 1.5 and later: `container.docker.portMappings` with `network` as well as
//! `container.portMappings` with `networks`, `ports` as well as `portDefinitions`, docker `parameters` as a map or a list.
//! Where defaults changed, those of 0.8 hold. Unknown fields are ignored; fields of Marathon that mean nothing here are
//! kept in [`model::App::extra`] and shown again; fields that would change what runs and cannot be honoured (secrets in
//! the environment, persistent volumes, GPUs, HTTPS checks) are refused, since ignoring them would break the app silently.
//!
//! **Writing** speaks one dialect, that of 1.4: the last one whose answers still carry the fields of 0.7 and 0.8 (`ports`,
//! `uris`, `container.docker.portMappings`) and the first one with `steps` as `[{actions: […]}]`. So clients of both ages
//! read it. One fact is written in one place only, or a client that changes one copy and sends both back would lose its
//! change.
//!
//! Architecture invariant: what is written can be read back, and is then the same app.

mod read;
mod rejection;
mod write;

pub use read::{Change, SECONDS_MAX, app, change, changes, document};
pub use rejection::{Detail, FAULTS_MAX, Rejection};
pub use write::{
    AppStatus, TaskCounts, app as write_app, app_terminated, app_with as write_app_with, deployment, deployment_failed,
    deployment_info, deployment_result, deployment_step, deployment_success, group_change_success,
    health_status_changed, info, info::Info, last_task_failure, post_event, status_update, task, tasks_as_text,
    unhealthy_task_kill,
};
