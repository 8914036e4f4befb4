//! The old process after another one serves: it goes on to tell what is true of it, until it ends.

use super::message::{Message, write};
use super::{DRAINS_FILE, REDIAL_PAUSE, Reports, SOCKET_FILE, VERSION};
use lifecycle::Stop;
use protocol::EDGE_REPORT_INTERVAL;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::time::{interval, sleep};

pub(super) struct Teller {
    pub data: PathBuf,
    pub reports: Reports,
    /// This process ends; one word more is said.
    pub over: Stop,
}

impl Teller {
    /// To the process that took over, and where that goes before this one to whoever serves then.
    pub async fn tell(mut self, successor: UnixStream) {
        let _draining = self.show_that_it_drains();
        let mut heard = self.tell_one(successor).await;
        while let Err(error) = heard {
            tracing::warn!(%error, "the process that took over is gone; this one looks for whoever serves now");
            let Some(successor) = self.over.or(self.find()).await else { return };
            heard = self.tell_one(successor).await;
        }
    }

    /// Until this process ends; an error: until the other one does.
    async fn tell_one(&mut self, stream: UnixStream) -> io::Result<()> {
        let (mut from, mut to) = stream.into_split();
        let mut interval = interval(EDGE_REPORT_INTERVAL);
        loop {
            let is_last = self.over.is_requested();
            write(&mut to, &Message::Report(self.reports.told())).await?;
            if is_last {
                return Ok(());
            }
            tokio::select! {
                () = self.reports.changed() => {}
                _ = interval.tick() => {}
                () = self.over.requested() => {}
                // It says nothing: this is its end.
                end = from.read_u8() => return Err(end.err().unwrap_or(io::ErrorKind::InvalidData.into())),
            }
        }
    }

    async fn find(&self) -> UnixStream {
        loop {
            sleep(REDIAL_PAUSE).await;
            if let Ok(mut stream) = UnixStream::connect(self.data.join(SOCKET_FILE)).await
                && write(&mut stream, &Message::Remains { v: VERSION }).await.is_ok()
            {
                return stream;
            }
        }
    }

    /// To one that starts when nobody serves, see [`somebody_drains`].
    fn show_that_it_drains(&self) -> Option<File> {
        let shown = File::create(self.data.join(DRAINS_FILE)).and_then(|file| file.lock_shared().map(|()| file));
        shown.inspect_err(|error| tracing::warn!(%error, "a process that starts anew will not wait for this one")).ok()
    }
}

/// Whether a process that runs with this data directory is left of those before; it will find whoever serves now, and speak.
pub(crate) fn somebody_drains(data: &Path) -> bool {
    // As of one that cannot be asked.
    let Ok(file) = File::open(data.join(DRAINS_FILE)) else { return false };
    matches!(file.try_lock(), Err(TryLockError::WouldBlock))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::current::Current;
    use crate::succession::Predecessors;
    use std::sync::Arc;

    #[test]
    fn whoever_drains_is_seen_until_it_ends() {
        let directory = tempfile::tempdir().unwrap();
        let reports = Reports::new(Arc::new(Current::new()), &Predecessors::default(), "first".to_owned());
        let teller = Teller { data: directory.path().to_owned(), reports, over: Stop::new() };
        assert!(!somebody_drains(directory.path()));
        let draining = teller.show_that_it_drains();
        assert!(somebody_drains(directory.path()));
        drop(draining);
        assert!(!somebody_drains(directory.path()));
    }
}
