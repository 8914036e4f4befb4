//! The process runtime: containers without a daemon.
//!
//! This is the agent's side. Each task has a directory under `DATA/tasks` and a shim (see [`crate::shim`]) that runs it;
//! the two meet in files only, so either may be killed at any moment and the other goes on. See [`record`] for the files.

pub(crate) mod cgroup;
pub(crate) mod logs;
pub(crate) mod record;
mod spawn;
mod task;
pub(crate) mod tree;

use crate::image::ImageSource;
use crate::shim::FromMonitor;
use crate::spec::check_id;
use crate::{ContainerSpec, Error, Executed, Exit, Found, Kind, LogSlice, Runtime, Status, Stream};
use async_trait::async_trait;
use cgroup::Cgroups;
pub use record::ProcessId;
use record::{TaskDir, TaskFile, TaskImage};
use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use task::Task;

/// A start takes milliseconds; one that takes this long is given up and what there is of it killed.
const START_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
pub struct ProcessConfig {
    /// Owned by this runtime; one agent at a time may use it.
    pub data: PathBuf,
    /// Where forwarded host ports listen.
    pub listen: IpAddr,
    /// The binary that becomes the shim; its `main` calls [`crate::shim::run_if_shim`].
    pub shim: PathBuf,
}

impl ProcessConfig {
    /// With this very binary as shim.
    pub fn new(data: PathBuf, listen: IpAddr) -> Self {
        Self { data, listen, shim: PathBuf::from("/proc/self/exe") }
    }
}

pub struct ProcessRuntime {
    config: ProcessConfig,
    tasks: PathBuf,
    images: Arc<dyn ImageSource>,
    cgroups: Cgroups,
    /// Held as long as this runtime lives: two agents on one directory would kill each other's tasks.
    _lock: File,
}

impl ProcessRuntime {
    /// Opens (or makes) the data directory and tries whether the kernel lets us make namespaces.
    pub async fn open(config: ProcessConfig, images: Arc<dyn ImageSource>) -> Result<Self, Error> {
        let tasks = config.data.join("tasks");
        make_directory(&tasks).map_err(Error::io(format!("make {}", tasks.display())))?;
        let tasks = tasks.canonicalize().map_err(Error::io(format!("resolve {}", tasks.display())))?;
        let lock = config.data.join("runtime.lock");
        let lock = File::create(&lock).map_err(Error::io(format!("make {}", lock.display())))?;
        lock.try_lock().map_err(|error| {
            let source = io::Error::other(error.to_string());
            Error::Io { what: format!("another agent uses {}", config.data.display()), source }
        })?;
        match spawn::probe(&config.shim).await {
            Ok(FromMonitor::Running) => {}
            Ok(FromMonitor::Failed(why)) => return Err(Error::Unsupported { kind: Kind::Process, why }),
            Err(error) => {
                let why = format!("run {} as a shim: {error}", config.shim.display());
                return Err(Error::Unsupported { kind: Kind::Process, why });
            }
        }
        let cgroups = Cgroups::detect(&tasks).map_err(Error::io(format!("look at {}", tasks.display())))?;
        cgroups.sweep(|id| tasks.join(id).exists());
        Ok(Self { config, tasks, images, cgroups, _lock: lock })
    }

    fn task(&self, id: &str) -> Result<Task, Error> {
        // Ids come off the network: one that is not a plain name must not reach the file system.
        check_id(id)?;
        Ok(Task::new(id, TaskDir::new(self.tasks.join(id)), self.cgroups.clone()))
    }

    /// The root directories of images that tasks run from.
    fn images_in_use(&self) -> io::Result<BTreeSet<PathBuf>> {
        let mut roots = BTreeSet::new();
        for entry in fs::read_dir(&self.tasks)? {
            if let Some(TaskFile { image: Some(image), .. }) = TaskDir::new(entry?.path()).read_spec()? {
                roots.insert(image.rootfs);
            }
        }
        Ok(roots)
    }

    async fn image(&self, spec: &ContainerSpec, force_pull: bool) -> Result<Option<TaskImage>, Error> {
        let Some(reference) = &spec.image else { return Ok(None) };
        let prepared = self.images.prepare(reference, force_pull).await;
        let prepared = prepared.map_err(|source| Error::Image { reference: reference.clone(), source })?;
        let rootfs =
            prepared.rootfs.canonicalize().map_err(Error::io(format!("find {}", prepared.rootfs.display())))?;
        Ok(Some(TaskImage { rootfs, config: prepared.config }))
    }
}

/// Others may pass through, since a task may run as another user, but not look around.
fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o711).create(path)
}

#[async_trait]
impl Runtime for ProcessRuntime {
    fn kind(&self) -> Kind {
        Kind::Process
    }

    fn limits(&self) -> Vec<String> {
        let mut limits = vec![
            "no network to the outside: a task has its loopback and its forwarded ports".to_owned(),
            "only TCP ports are forwarded".to_owned(),
            "docker parameters of an app have no effect".to_owned(),
            "system calls are not filtered (no seccomp)".to_owned(),
        ];
        if nix::unistd::geteuid().is_root() {
            limits.push("tasks share the host's user ids (capabilities are cut to a container's usual set)".to_owned());
        } else {
            limits.push("every task runs as root of a user namespace whose only user is the agent's own".to_owned());
        }
        limits.extend(self.cgroups.limits());
        limits
    }

    async fn prepare(&self, spec: &ContainerSpec) -> Result<(), Error> {
        spec.check()?;
        self.image(spec, spec.force_pull).await.map(drop)
    }

    async fn start(&self, spec: &ContainerSpec) -> Result<(), Error> {
        spec.check()?;
        let task = self.task(&spec.id)?;
        if task.status()?.is_some() {
            return Ok(());
        }
        let image = self.image(spec, false).await?;
        let file = TaskFile { container: spec.clone(), image, listen: self.config.listen };
        let Some(lock) = task.make(&file)? else { return Ok(()) };
        let started =
            tokio::time::timeout(START_TIMEOUT, spawn::monitor(&self.config.shim, task.directory(), lock)).await;
        let why = match started {
            Ok(Ok(FromMonitor::Running)) => return Ok(()),
            Ok(Ok(FromMonitor::Failed(why))) => why,
            Ok(Err(error)) => format!("its shim: {error}"),
            Err(_) => {
                task.kill().await?;
                format!("nothing was heard of it within {START_TIMEOUT:?}")
            }
        };
        Err(Error::Start { id: spec.id.clone(), why })
    }

    async fn list(&self) -> Result<Vec<Found>, Error> {
        let context = || format!("list {}", self.tasks.display());
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.tasks).map_err(Error::io(context()))? {
            let entry = entry.map_err(Error::io(context()))?;
            let Some(id) = entry.file_name().to_str().map(str::to_owned) else { continue };
            let Ok(task) = self.task(&id) else { continue };
            match task.status() {
                Ok(status) => found.push(Found { id, status: status.unwrap_or_else(Task::never_started) }),
                // One directory that is none of ours must not keep the other tasks from being taken back.
                Err(error) => tracing::error!(task = id, error = %lifecycle::ErrorChain(&error), "task not listed"),
            }
        }
        Ok(found)
    }

    async fn find(&self, id: &str) -> Result<Option<Status>, Error> {
        self.task(id)?.status()
    }

    async fn wait(&self, id: &str) -> Result<Exit, Error> {
        self.task(id)?.wait().await
    }

    async fn stop(&self, id: &str, grace: Duration) -> Result<(), Error> {
        self.task(id)?.stop(grace).await
    }

    async fn exec(&self, id: &str, command: &str, timeout: Duration) -> Result<Executed, Error> {
        let task = self.task(id)?;
        if !matches!(task.status()?, Some(Status::Running { .. })) {
            return Err(Error::NotRunning { id: id.to_owned() });
        }
        let executed = spawn::exec(&self.config.shim, task.directory(), command, timeout).await;
        executed.map_err(Error::io(format!("run a command in {id}")))
    }

    async fn logs(&self, id: &str, stream: Stream, offset: Option<u64>, length: usize) -> Result<LogSlice, Error> {
        let task = self.task(id)?;
        match logs::read(task.directory().path(), stream, offset, length) {
            Ok(slice) => Ok(slice),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::Unknown { id: id.to_owned() }),
            Err(source) => Err(Error::Io { what: format!("read the log of {id}"), source }),
        }
    }

    async fn remove(&self, id: &str) -> Result<(), Error> {
        self.task(id)?.remove().await?;
        let collected = match self.images_in_use() {
            Ok(in_use) => self.images.collect(&in_use).await,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = collected {
            // The next removal tries again.
            tracing::warn!(error = %lifecycle::ErrorChain(&*error), "old images stay");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
