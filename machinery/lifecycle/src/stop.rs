//! One request to stop, seen by everything that was started under it.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A request to stop that spreads to its children. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Stop(CancellationToken);

impl Stop {
    pub fn new() -> Self {
        Self::default()
    }

    /// A stop of its own that is also requested whenever this one is.
    pub fn child(&self) -> Self {
        Self(self.0.child_token())
    }

    pub fn request(&self) {
        self.0.cancel();
    }

    pub fn is_requested(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Resolves once the stop is requested. Cancel safe.
    pub async fn requested(&self) {
        self.0.cancelled().await;
    }

    /// Runs `future` until it ends or the stop is requested; `None` in the latter case.
    pub async fn or<F: Future>(&self, future: F) -> Option<F::Output> {
        self.0.run_until_cancelled(future).await
    }

    /// Requests this stop on the first SIGTERM or SIGINT; a second one ends the process at once with status 130. A
    /// terminal that closes requests it, too, and never ends the process at once, since shell and kernel may both say so.
    pub fn on_signals(&self) -> std::io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        if !is_hangup_ignored() {
            let mut hangup = signal(SignalKind::hangup())?;
            let stop = self.clone();
            tokio::spawn(async move {
                while hangup.recv().await.is_some() {
                    stop.request();
                }
            });
        }
        let stop = self.clone();
        tokio::spawn(async move {
            for seen in 0.. {
                tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
                if seen > 0 {
                    std::process::exit(130);
                }
                stop.request();
            }
        });
        Ok(())
    }
}

/// Whether we were started by `nohup`, which a handler of ours would undo: bit 0 (SIGHUP) of `SigIgn`, proc(5).
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}
