//! The old process.

use super::message::{Described, Message, read, write};
use super::sockets::Sockets;
use super::tell::Teller;
use super::{Predecessors, Reports, SOCKET_FILE, STEP_TIMEOUT, VERSION, descriptors};
use crate::limits::ACCEPT_PAUSE;
use crate::session::{Standing, Voice};
use lifecycle::{ErrorChain, Stop};
use nix::unistd::geteuid;
use std::fs::{Permissions, rename, set_permissions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedMutexGuard, watch};
use tokio::time::timeout;

/// Hands over what this process listens on, to whoever of its user asks, and hears those that drain.
pub(crate) struct Giver {
    pub listener: UnixListener,
    pub data: PathBuf,
    pub sockets: Arc<Sockets>,
    pub probe: String,
    pub standing: Arc<Standing>,
    pub voice: Arc<Voice>,
    pub reports: Reports,
    pub predecessors: Predecessors,
    /// Set once another process serves, and dropped when that was told everything.
    pub retired: watch::Sender<bool>,
    /// Requested when this process has drained, and so have those before it.
    pub over: Stop,
}

/// What somebody who asked has come to.
enum Outcome {
    /// It serves; while the guard lives nothing that is listened on changes.
    Serves(UnixStream, OwnedMutexGuard<()>),
    /// It drains, and is heard.
    Drains,
}

/// Why nothing was handed over.
#[derive(Debug, thiserror::Error)]
enum GiveError {
    #[error("talk to the process that asks")]
    Talk(#[from] io::Error),
    #[error("the user {0} asks")]
    Stranger(u32),
    #[error("the process that asks speaks version {0} of the succession, not {VERSION}")]
    Version(u32),
    #[error("the process that asks says something unexpected")]
    Unexpected,
    #[error("the process that asks was not ready within {STEP_TIMEOUT:?}")]
    Slow,
    #[error("too many processes drain")]
    TooMany,
}

impl Giver {
    /// Listens in the data directory; a process before this one that still drains does so no more.
    pub fn listen(data: &Path) -> io::Result<UnixListener> {
        let path = data.join(SOCKET_FILE);
        // Bound beside it: there is no moment in which others could open it.
        let beside = data.join(format!("{SOCKET_FILE}.{}", process::id()));
        match std::fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&beside)?;
        set_permissions(&beside, Permissions::from_mode(0o600))?;
        rename(&beside, &path)?;
        Ok(listener)
    }

    /// Until another process has taken over and this one has ended.
    pub async fn run(mut self) {
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "accept whoever wants to take over");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            match self.answer(stream).await {
                Ok(Outcome::Drains) => tracing::info!("a process before this one that lost its successor speaks again"),
                Ok(Outcome::Serves(successor, unchanged)) => {
                    tracing::info!("another process serves now; this one drains");
                    let Self { listener, data, reports, retired, over, .. } = self;
                    drop(listener);
                    retired.send_replace(true);
                    drop(unchanged);
                    return Teller { data, reports, over }.tell(successor).await;
                }
                Err(error) => {
                    tracing::warn!(error = %ErrorChain(&error), "nothing is handed over; this process goes on");
                    self.voice.allow();
                }
            }
        }
    }

    async fn answer(&mut self, mut stream: UnixStream) -> Result<Outcome, GiveError> {
        let asker = stream.peer_cred()?.uid();
        if asker != geteuid().as_raw() {
            return Err(GiveError::Stranger(asker));
        }
        match within(read(&mut stream)).await? {
            Message::Hello { v: VERSION, program } => {
                tracing::info!(program, "another process asks to take over");
                self.give(stream).await
            }
            Message::Remains { v: VERSION } => self.hear(stream).await,
            Message::Hello { v, .. } | Message::Remains { v } => {
                let reason = format!("it speaks version {VERSION} of the succession, not {v}");
                within(write(&mut stream, &Message::Refused { reason })).await?;
                Err(GiveError::Version(v))
            }
            _ => Err(GiveError::Unexpected),
        }
    }

    /// One before this one whose successor is gone.
    async fn hear(&self, mut stream: UnixStream) -> Result<Outcome, GiveError> {
        let Message::Report(told) = within(read(&mut stream)).await? else { return Err(GiveError::Unexpected) };
        let speaker = self.predecessors.speaker(told).ok_or(GiveError::TooMany)?;
        tokio::spawn(speaker.listen(stream));
        Ok(Outcome::Drains)
    }

    /// Everything up to the word that the other one serves, and its confirmation. What is listened on stays as it was told until the outcome: what
    /// the store asks for meanwhile is opened by whoever serves then.
    async fn give(&mut self, mut stream: UnixStream) -> Result<Outcome, GiveError> {
        let unchanged = self.sockets.change().await;
        let listeners = self.sockets.to_hand_over()?;
        let described = |listener: &super::sockets::Listener| Described {
            of: listener.of,
            asked: listener.asked,
            count: listener.sockets.len(),
        };
        let announced = Message::Sockets {
            v: VERSION,
            sockets: listeners.iter().map(described).collect(),
            probe: self.probe.clone(),
            is_draining: self.standing.is_draining(),
        };
        within(write(&mut stream, &announced)).await?;
        for listener in &listeners {
            let borrowed: Vec<BorrowedFd<'_>> = listener.sockets.iter().map(AsFd::as_fd).collect();
            within(descriptors::send(&stream, &borrowed)).await?;
        }
        drop(listeners);
        // It reads the table, and opens what that asks for.
        let Message::Ready = within(read(&mut stream)).await? else { return Err(GiveError::Unexpected) };
        self.voice.silence().await;
        within(write(&mut stream, &Message::Report(self.reports.told()))).await?;
        // Reports of this process wait until the other one serves, which has the newest then.
        let Message::Serving = within(read(&mut stream)).await? else { return Err(GiveError::Unexpected) };
        // Which it waits for; one that has died since is found out by this.
        within(write(&mut stream, &Message::Report(self.reports.told()))).await?;
        Ok(Outcome::Serves(stream, unchanged))
    }
}

async fn within<T>(step: impl Future<Output = io::Result<T>>) -> Result<T, GiveError> {
    Ok(timeout(STEP_TIMEOUT, step).await.map_err(|_| GiveError::Slow)??)
}
