//! A runtime in memory. What runs in it outlives the agent, as with the real ones.

use async_trait::async_trait;
use runtime::{ContainerSpec, Error, Executed, Exit, Found, How, Kind, LogSlice, Runtime, Status, Stream};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

#[derive(Default)]
pub struct FakeRuntime {
    containers: Mutex<BTreeMap<String, Container>>,
    /// Every start that reached us, in order.
    pub started: Mutex<Vec<String>>,
    pub stopped: Mutex<Vec<(String, Duration)>>,
    pub removed: Mutex<Vec<String>>,
    /// Pulls of [`ENDLESS_IMAGE`] begun.
    pub pulling: Mutex<usize>,
}

struct Container {
    status: watch::Sender<Status>,
}

pub const STARTED_AT_MS: i64 = 1_420_000_000_000;
/// The image that no registry has.
pub const MISSING_IMAGE: &str = "nowhere/missing:1";
/// The image whose pull never ends.
pub const ENDLESS_IMAGE: &str = "nowhere/endless:1";

impl FakeRuntime {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A container ends by itself.
    pub fn end(&self, id: &str, how: How) {
        let exit = Exit { how, message: String::new(), started_at_ms: STARTED_AT_MS };
        self.containers.lock().unwrap()[id].status.send_replace(Status::Ended(exit));
    }

    pub fn ids(&self) -> Vec<String> {
        self.containers.lock().unwrap().keys().cloned().collect()
    }

    fn status(&self, id: &str) -> Option<watch::Receiver<Status>> {
        self.containers.lock().unwrap().get(id).map(|container| container.status.subscribe())
    }
}

#[async_trait]
impl Runtime for FakeRuntime {
    fn kind(&self) -> Kind {
        Kind::Process
    }

    fn limits(&self) -> Vec<String> {
        vec!["runs nothing".to_owned()]
    }

    async fn prepare(&self, spec: &ContainerSpec) -> Result<(), Error> {
        match &spec.image {
            Some(image) if image == MISSING_IMAGE => {
                Err(Error::Image { reference: image.clone(), source: "not found in the registry".into() })
            }
            Some(image) if image == ENDLESS_IMAGE => {
                *self.pulling.lock().unwrap() += 1;
                std::future::pending().await
            }
            _ => Ok(()),
        }
    }

    async fn start(&self, spec: &ContainerSpec) -> Result<(), Error> {
        self.started.lock().unwrap().push(spec.id.clone());
        let status = Status::Running { started_at_ms: STARTED_AT_MS };
        let new = || Container { status: watch::Sender::new(status) };
        self.containers.lock().unwrap().entry(spec.id.clone()).or_insert_with(new);
        Ok(())
    }

    async fn list(&self) -> Result<Vec<Found>, Error> {
        let containers = self.containers.lock().unwrap();
        let found = |(id, container): (&String, &Container)| Found {
            id: id.clone(),
            status: container.status.borrow().clone(),
        };
        Ok(containers.iter().map(found).collect())
    }

    async fn find(&self, id: &str) -> Result<Option<Status>, Error> {
        Ok(self.status(id).map(|status| status.borrow().clone()))
    }

    async fn wait(&self, id: &str) -> Result<Exit, Error> {
        let unknown = || Error::Unknown { id: id.to_owned() };
        let mut status = self.status(id).ok_or_else(unknown)?;
        let ended = status.wait_for(|status| matches!(status, Status::Ended(_))).await.map_err(|_| unknown())?;
        match &*ended {
            Status::Ended(exit) => Ok(exit.clone()),
            Status::Running { .. } => Err(unknown()),
        }
    }

    async fn stop(&self, id: &str, grace: Duration) -> Result<(), Error> {
        self.stopped.lock().unwrap().push((id.to_owned(), grace));
        if let Some(container) = self.containers.lock().unwrap().get(id) {
            let exit = Exit { how: How::Signal(15), message: String::new(), started_at_ms: STARTED_AT_MS };
            container.status.send_replace(Status::Ended(exit));
        }
        Ok(())
    }

    async fn exec(&self, _: &str, command: &str, _: Duration) -> Result<Executed, Error> {
        Ok(Executed::Status(i32::from(command != "true")))
    }

    async fn logs(&self, id: &str, _: Stream, offset: Option<u64>, length: usize) -> Result<LogSlice, Error> {
        let _known = self.status(id).ok_or_else(|| Error::Unknown { id: id.to_owned() })?;
        let log = format!("log of {id}\n").into_bytes();
        let offset = offset.unwrap_or((log.len() - length.min(log.len())) as u64);
        let data = log.into_iter().skip(offset as usize).take(length).collect::<Vec<_>>().into();
        Ok(LogSlice { offset, data })
    }

    async fn remove(&self, id: &str) -> Result<(), Error> {
        self.removed.lock().unwrap().push(id.to_owned());
        self.containers.lock().unwrap().remove(id);
        Ok(())
    }
}
