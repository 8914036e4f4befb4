//! Containers behind one trait.
//!
//! [`Runtime`] is shaped for three implementations: `docker` ([`DockerRuntime`], Docker Engine's API), `process`
//! ([`ProcessRuntime`], no daemon: namespaces made by a shim per task) and `builtin` (an OCI runtime inside the binary; not
//! written yet). One contract suite (`tests/contract.rs`) runs against each.
//!
//! A runtime keeps no state of its own in memory that matters: whatever it started is found again by [`Runtime::list`]
//! after this process was killed, and a start is idempotent by container id.
//!
//! The process runtime re-executes this binary as each task's shim. Whoever links this crate must call
//! [`shim::run_if_shim`] first thing in `main`, before any thread exists.

mod api;
mod detect;
mod docker;
mod image;
mod process;
pub mod shim;
mod spec;

pub use api::{Error, Executed, Exit, Found, How, Kind, LogSlice, Runtime, Status, Stream};
pub use detect::{Choice, ChoiceError, Detect, detect};
pub use docker::{DockerConfig, DockerRuntime};
pub use image::{ImageConfig, ImageSource, PreparedImage, RegistryImages};
pub use process::{ProcessConfig, ProcessId, ProcessRuntime};
pub use spec::{Command, ContainerSpec, PortForward, Volume};
