//! Opening a store: snapshot, then log, then the tasks.

use super::snapshots::SnapshotFileError;
use super::{Embedded, Options, PENDING_BYTES_MAX, PENDING_MAX, Shared, State, expiry, publisher, snapshots};
use crate::engine::{Engine, Watchers};
use durable::{Disk, Log, LogError, RealDisk};
use lifecycle::Stop;
use prost::Message;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::Instant;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_util::task::TaskTracker;

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("read the store's snapshot")]
    Snapshot { source: SnapshotFileError },
    #[error("open the store's log")]
    Log { source: LogError },
    #[error("draw random bits")]
    Random { source: getrandom::Error },
}

impl Embedded {
    /// Opens or makes the store in `dir`.
    pub async fn open(dir: PathBuf) -> Result<Self, OpenError> {
        Self::open_with(Arc::new(RealDisk), dir, Options::default()).await
    }

    pub async fn open_with(disk: Arc<dyn Disk>, dir: PathBuf, options: Options) -> Result<Self, OpenError> {
        let now = Instant::now();
        let loaded = snapshots::load(&*disk, &dir, options.limits, now);
        let loaded = loaded.map_err(|source| OpenError::Snapshot { source })?;
        let (mut engine, segment_first, snapshot_bytes) = loaded.unwrap_or_else(|| (Engine::new(options.limits), 0, 0));
        let mut log_bytes = 0;
        let log = Log::open(Arc::clone(&disk), dir.clone(), options.log, &mut |position, payload| {
            // Segments before the snapshot's are there when the machine stopped before they were removed.
            if segment_first <= position.segment {
                log_bytes += payload.len() as u64;
                engine.replay(payload, now)?;
            }
            Ok(())
        });
        let log = log.map_err(|source| OpenError::Log { source })?;
        if engine.born().is_none() {
            let record = engine.be_born(random()?, random()?);
            let appended = log.append(record.encode_to_vec().into()).await;
            appended.map_err(|source| OpenError::Log { source })?;
        }
        Ok(Self::run(engine, log, log_bytes, snapshot_bytes, disk, dir, options))
    }

    fn run(
        engine: Engine,
        log: Log,
        log_bytes_since_snapshot: u64,
        snapshot_bytes: u64,
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        options: Options,
    ) -> Self {
        let (pending, receiver) = mpsc::channel(PENDING_MAX);
        let born = engine.born().copied().unwrap_or_default();
        let state = State {
            durable: engine.revision(),
            engine,
            watchers: Watchers::default(),
            failure: None,
            log_bytes_since_snapshot,
            snapshot_bytes,
        };
        let shared = Arc::new(Shared {
            state: RwLock::new(state),
            log,
            pending,
            room: Arc::new(Semaphore::new(PENDING_BYTES_MAX)),
            leases_changed: Notify::new(),
            snapshot_wanted: Notify::new(),
            failed: Stop::new(),
            born,
            disk,
            dir,
            options,
        });
        let (stop, tasks) = (Stop::new(), TaskTracker::new());
        tasks.spawn(publisher::run(Arc::clone(&shared), receiver, stop.clone()));
        tasks.spawn(expiry::run(Arc::clone(&shared), stop.clone()));
        tasks.spawn(snapshots::run(Arc::clone(&shared), stop.clone()));
        Self { shared, stop, tasks }
    }
}

fn random() -> Result<u64, OpenError> {
    let mut bits = [0; 8];
    getrandom::fill(&mut bits).map_err(|source| OpenError::Random { source })?;
    Ok(u64::from_le_bytes(bits))
}
