//! Runs one member of a real etcd cluster, and guards it.
//!
//! The member is a child process that never outlives its guard: the kernel kills it when the guard's process ends, however
//! that ends. The guard waits until the member answers, passes its log on, and stops it in order: etcd hands its
//! leadership over and closes its log. A member that ends by itself ends the service, with etcd's last words as the
//! reason; whether it is started again is the supervisor's affair.
//!
//! etcd reads its certificates, and the list of those that are revoked, from their files at every handshake, so a renewal
//! needs no restart. It looks neither at a list's date nor at its signature; connections that are open it leaves alone, and the
//! guard ends them when the list names more.

mod arguments;
mod cut;
mod death;
mod defragment;
mod guard;
mod log;
mod ready;

pub use arguments::{ELECTION_TIMEOUT, HEARTBEAT_INTERVAL, PEER_COMMON_NAME};
pub use defragment::{Worth, defragment_if_worthwhile};

use guard::Guard;
use lifecycle::{BoxError, Started, Stop};
use log::LastWords;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// A member that was asked to stop is killed after this time. Handing the leadership over takes one election at most.
const STOP_MAX: Duration = Duration::from_secs(8);

/// What a member says that learns that it is none any more (etcd's `membership.ErrIDRemoved` and `rafthttp.errMemberRemoved`).
const REMOVED: &str = "the member has been permanently removed from the cluster";

/// One member. Its addresses are fixed: etcd takes no bound sockets, and the others know them.
#[derive(Clone, Debug)]
pub struct Config {
    /// A path, or a name that is looked for in `PATH`.
    pub binary: PathBuf,
    /// Unique in the cluster.
    pub name: String,
    /// The member's directory, made when missing.
    pub data: PathBuf,
    /// Where clients are served.
    pub client_listen: Vec<SocketAddr>,
    /// Where the cluster says that clients are served.
    pub client_advertise: SocketAddr,
    pub peer_listen: SocketAddr,
    pub peer_advertise: SocketAddr,
    /// Name and peer URL (`https://HOST:PORT`) of every member, this one too; read when the directory is new.
    pub initial_cluster: Vec<(String, String)>,
    /// Joins a cluster that lists this member already, instead of founding one.
    pub existing: bool,
    /// PEM files: who signs everyone's certificates, and this member's own.
    pub authority: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// The authority's list of revoked certificates, DER. Without the file etcd refuses everybody.
    pub revoked: PathBuf,
    /// Tells clusters apart while they are founded; the same for all members.
    pub token: String,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("make etcd's directory {}", path.display())]
    Directory { path: PathBuf, source: std::io::Error },
    #[error("run {}", binary.display())]
    Spawn { binary: PathBuf, source: std::io::Error },
    #[error("read etcd's certificates")]
    Certificates { source: ready::CertificatesError },
    #[error("etcd ended ({status}): {words}")]
    Ended { status: ExitStatus, words: String },
    /// It would end again.
    #[error("etcd ended: this member was permanently removed from the cluster")]
    Removed,
    #[error("the guard of etcd lost it")]
    Lost { source: std::io::Error },
    #[error("etcd was stopped before it was ready")]
    Stopped,
}

/// Returns once the member answers. Until a majority of the members runs, none does.
pub async fn start(config: Config, stop: Stop) -> Result<Started, Error> {
    let directory = |source| Error::Directory { path: config.data.clone(), source };
    tokio::fs::create_dir_all(&config.data).await.map_err(directory)?;
    let probe = ready::Probe::new(&config).map_err(|source| Error::Certificates { source })?;
    let met = cut::Met::read(&config.revoked);
    let (guard, stderr) = guard::start(command(&config))
        .await
        .map_err(|source| Error::Spawn { binary: config.binary.clone(), source })?;
    tracing::info!(pid = guard.pid(), member = config.name, "etcd was started");
    let words = Arc::new(LastWords::default());
    let reading = tokio::spawn(log::forward(stderr, Arc::clone(&words)));
    let mut member = Member { guard, words, reading };
    tokio::select! {
        () = probe.answered() => {}
        ended = member.ended() => return Err(ended),
        () = stop.requested() => {
            member.stop().await?;
            return Err(Error::Stopped);
        }
    }
    let (client, peer) = (config.client_advertise, config.peer_advertise);
    let client_ports = config.client_listen.iter().map(SocketAddr::port).collect();
    let guarding = async move {
        tokio::select! {
            ended = member.ended() => return Err(BoxError::from(ended)),
            never = cut::watch(config.revoked, met, client_ports) => match never {},
            () = stop.requested() => {}
        }
        Ok(member.stop().await?)
    };
    Ok(Started::new(guarding).listening("", client).listening("peer", peer))
}

struct Member {
    guard: Guard,
    words: Arc<LastWords>,
    reading: tokio::task::JoinHandle<()>,
}

impl Member {
    /// Resolves when the member ended by itself, with the reason.
    async fn ended(&mut self) -> Error {
        match self.guard.ended().await {
            Ok(status) => {
                // Its pipe ends with it: what it said last is read.
                let _read = (&mut self.reading).await;
                let words = self.words.spoken();
                if words.contains(REMOVED) { Error::Removed } else { Error::Ended { status, words } }
            }
            Err(source) => Error::Lost { source },
        }
    }

    async fn stop(&mut self) -> Result<(), Error> {
        self.guard.terminate();
        match tokio::time::timeout(STOP_MAX, self.guard.ended()).await {
            Ok(Ok(status)) => tracing::info!(%status, "etcd has stopped"),
            Ok(Err(source)) => return Err(Error::Lost { source }),
            Err(_) => {
                tracing::warn!("etcd did not stop within {STOP_MAX:?} and was killed");
                self.guard.kill();
                self.guard.ended().await.map_err(|source| Error::Lost { source })?;
            }
        }
        Ok(())
    }
}

fn command(config: &Config) -> Command {
    let mut command = Command::new(&config.binary);
    // etcd reads settings from ETCD_* and refuses one that a flag gives as well.
    command.env_clear().env("ETCD_UNSUPPORTED_ARCH", arguments::go_architecture());
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command.args(arguments::of(config)).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}
