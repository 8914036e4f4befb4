//! The new process.

use super::message::{Described, Message, Told, read, write};
use super::sockets::{Listener, Sockets};
use super::{Predecessors, SETTLE_TIMEOUT, SOCKET_FILE, SOCKETS_MAX, STEP_TIMEOUT, VERSION, descriptors};
use crate::current::{Current, Report, Snapshot};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixStream;
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
    #[error("too many processes drain")]
    TooMany,
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
    pub async fn settle(&mut self, current: &Current) -> Result<Told, TakeError> {
        self.settle_within(current, SETTLE_TIMEOUT).await
    }

    async fn settle_within(&mut self, current: &Current, patience: Duration) -> Result<Told, TakeError> {
        write(&mut self.stream, &Message::Ready).await?;
        let told = report(&mut self.stream).await?;
        let report = &told.report;
        let mut tables = current.changes();
        // A table from disk may lack what changed last, and its revision is that of route documents alone: it says nothing of
        // the other sources. So the store is read first.
        let is_read = |_: &u64| {
            let snapshot = current.load();
            snapshot.loaded && !snapshot.stale && is_as_new(&snapshot, report)
        };
        if timeout(patience, tables.wait_for(is_read)).await.is_ok() {
            return Ok(told);
        }
        // The store is away, for the other one, too. Better than no upgrade is what was known a moment ago.
        let snapshot = current.load();
        let is_kept = report.cluster_id == 0 || snapshot.loaded && snapshot.stale && is_as_new(&snapshot, report);
        if !is_kept {
            return Err(TakeError::NoTable);
        }
        tracing::warn!(revision = snapshot.revision(), "the store is away: takes over with the kept table");
        Ok(told)
    }

    /// Tells the other one that this process serves, and returns when that has confirmed it: it does not any more. What it
    /// `told` and tells from now on is true of both, until it has ended.
    pub async fn serving(self, told: Told, predecessors: &Predecessors) -> Result<(), TakeError> {
        let Self { mut stream, .. } = self;
        let speaker = predecessors.speaker(told).ok_or(TakeError::TooMany)?;
        write(&mut stream, &Message::Serving).await?;
        speaker.hear(report(&mut stream).await?);
        tokio::spawn(speaker.listen(stream));
        Ok(())
    }
}

async fn report(stream: &mut UnixStream) -> Result<Told, TakeError> {
    match timeout(STEP_TIMEOUT, read(stream)).await.map_err(|_| TakeError::Slow)?? {
        Message::Report(told) => Ok(told),
        _ => Err(TakeError::Unexpected),
    }
}

/// Whether a table has all that the other process has said it serves. Revisions of another cluster, to which the store may
/// have been restored, have nothing in common with its own: what the store says then is newer.
fn is_as_new(snapshot: &Snapshot, report: &Report) -> bool {
    let is_other = snapshot.cluster_id != report.cluster_id;
    if is_other { !snapshot.stale } else { snapshot.revision() >= report.revision }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::current::Draft;
    use crate::metrics::Metrics;
    use std::collections::BTreeMap;
    use std::time::Instant;

    const PATIENCE: Duration = Duration::from_millis(200);

    fn publish(current: &Current, stale: bool, revision: i64) {
        let metrics = Metrics::new(Arc::default());
        let draft = Draft { loaded: true, stale, cluster_id: 7, revision, ..Draft::default() };
        current.publish(draft, |route| metrics.of_route(route));
    }

    /// A process that has this table, and one that has said revision 9 of cluster 7.
    async fn taken() -> (Taken, UnixStream) {
        let (stream, mut old) = UnixStream::pair().unwrap();
        let report = Report { cluster_id: 7, revision: 9, busy: Vec::new() };
        let told = Told { report, name: "old".to_owned(), before: BTreeMap::new() };
        write(&mut old, &Message::Report(told)).await.unwrap();
        (Taken { stream, sockets: Sockets::inheriting(Vec::new()), probe: String::new(), is_draining: false }, old)
    }

    #[tokio::test]
    async fn a_table_from_disk_is_not_enough_while_the_store_may_still_be_read() {
        let current = Current::new();
        publish(&current, true, 9);
        let (mut taken, _old) = taken().await;
        let settled = taken.settle_within(&current, Duration::from_secs(30));
        tokio::pin!(settled);
        assert!(timeout(PATIENCE, &mut settled).await.is_err(), "nothing was read yet");
        publish(&current, false, 8);
        assert!(timeout(PATIENCE, &mut settled).await.is_err(), "what was read is older than the last word");
        publish(&current, false, 9);
        assert_eq!(settled.await.unwrap().report.revision, 9);
    }

    #[tokio::test]
    async fn without_the_store_a_kept_table_serves_in_the_end_if_it_is_as_new() {
        for (revision, is_enough) in [(9, true), (8, false)] {
            let current = Current::new();
            publish(&current, true, revision);
            let (mut taken, _old) = taken().await;
            let begun = Instant::now();
            let settled = taken.settle_within(&current, PATIENCE).await;
            assert!(begun.elapsed() >= PATIENCE);
            assert_eq!(settled.is_ok(), is_enough, "{settled:?}");
        }
    }
}
