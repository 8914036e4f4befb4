//! The new process.

use super::message::{Described, Message, read, write};
use super::sockets::{Listener, Sockets};
use super::{SETTLE_TIMEOUT, SOCKET_FILE, SOCKETS_MAX, STEP_TIMEOUT, VERSION, descriptors};
use crate::current::{Current, Report};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::timeout;

/// What the process before this one has given, so far.
pub(crate) struct Taken {
    stream: UnixStream,
    pub sockets: Arc<Sockets>,
    pub probe: String,
    pub is_draining: bool,
}

/// Why it did not hand over; it goes on as before.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    #[error("connect to the edge that runs here")]
    Connect(#[source] io::Error),
    #[error("talk to the edge that runs here")]
    Talk(#[from] io::Error),
    #[error("the edge that runs here refuses: {reason}")]
    Refused { reason: String },
    #[error("the edge that runs here says something unexpected")]
    Unexpected,
    #[error("the edge that runs here speaks version {0} of the succession, not {VERSION}")]
    Version(u32),
    #[error("the edge that runs here took longer than {STEP_TIMEOUT:?}")]
    Slow,
    #[error("no table as new as that of the edge that runs here came within {SETTLE_TIMEOUT:?}")]
    NoTable,
}

/// Asks the process that runs with this data directory for its sockets; `None`: there is none.
pub(crate) async fn take(data: &Path) -> Result<Option<Taken>, TakeError> {
    let stream = match UnixStream::connect(data.join(SOCKET_FILE)).await {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => return Ok(None),
        Err(error) => return Err(TakeError::Connect(error)),
    };
    timeout(STEP_TIMEOUT, ask(stream)).await.map_err(|_| TakeError::Slow)?.map(Some)
}

async fn ask(mut stream: UnixStream) -> Result<Taken, TakeError> {
    let program = env!("CARGO_PKG_VERSION").to_owned();
    write(&mut stream, &Message::Hello { v: VERSION, program }).await?;
    let (sockets, probe, is_draining) = match read(&mut stream).await? {
        Message::Sockets { v: VERSION, sockets, probe, is_draining } => (sockets, probe, is_draining),
        Message::Sockets { v, .. } => return Err(TakeError::Version(v)),
        Message::Refused { reason } => return Err(TakeError::Refused { reason }),
        _ => return Err(TakeError::Unexpected),
    };
    let mut listeners = Vec::new();
    let mut total = 0usize;
    for Described { of, asked, count } in sockets {
        total = total.saturating_add(count);
        if count == 0 || total > SOCKETS_MAX {
            return Err(TakeError::Unexpected);
        }
        listeners.push(Listener::received(of, asked, descriptors::receive(&stream, count).await?)?);
    }
    Ok(Taken { stream, sockets: Sockets::inheriting(listeners), probe, is_draining })
}

impl Taken {
    /// Returns when this process may accept: the other one has fallen silent, and the table is as new as its last word,
    /// which is returned.
    pub async fn settle(&mut self, current: &Current) -> Result<Report, TakeError> {
        write(&mut self.stream, &Message::Ready).await?;
        let first = timeout(STEP_TIMEOUT, read(&mut self.stream)).await.map_err(|_| TakeError::Slow)??;
        let Message::Report(report) = first else { return Err(TakeError::Unexpected) };
        let mut tables = current.changes();
        let is_as_new = |_: &u64| {
            let snapshot = current.load();
            let is_other = snapshot.cluster_id != report.cluster_id && !snapshot.stale;
            report.cluster_id == 0 || snapshot.loaded && (is_other || snapshot.revision() >= report.revision)
        };
        match timeout(SETTLE_TIMEOUT, tables.wait_for(is_as_new)).await {
            Ok(_seen) => Ok(report),
            Err(_) => Err(TakeError::NoTable),
        }
    }

    /// Tells the other one that this process accepts; what it reports from now on goes to `before`, until it has ended.
    pub async fn serving(self, before: watch::Sender<Option<Report>>) -> Result<(), TakeError> {
        let Self { mut stream, .. } = self;
        write(&mut stream, &Message::Serving).await?;
        tokio::spawn(async move {
            while let Ok(Message::Report(report)) = read(&mut stream).await {
                before.send_replace(Some(report));
            }
            tracing::info!("the edge before this one has ended");
            before.send_replace(None);
        });
        Ok(())
    }
}
