//! The access log: a line for each request, when it is over. A thread of the engine formats its lines and hands them over; one
//! thread writes them, many at once, into a file or to standard output. No request waits for any of it.
//!
//! Credentials are not in it: no `Authorization`, no cookies, and of the parameters of a query that are
//! [known](redact::SECRETS) to be some only their names.

mod line;
mod redact;
mod writer;

pub use writer::OpenError;

use crate::engine::CLIENT_LEFT;
use crate::handover::Handover;
use crate::limits::{ACCESS_LOG_FINISH, ACCESS_LOG_QUEUE_BYTES_MAX};
use crate::observation::Ended;
pub(crate) use redact::Redaction;
use std::cell::Cell;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, SystemTime};
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;
use writer::{Word, Writer};

#[derive(Clone, Debug)]
pub struct Config {
    pub to: Destination,
    pub format: LineFormat,
    /// One of so many requests is logged, besides those that failed (a status of 500 or more, or the client left) or were slow.
    pub sample: NonZeroU64,
    /// What takes longer is slow.
    pub slow: Option<Duration>,
    /// Parameters of queries whose values are left out, besides those that are known.
    pub redacted: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    StandardOutput,
    /// Appended to; opened anew when another file has its name.
    File(PathBuf),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LineFormat {
    /// One object per line; see docs/observability.md for its fields.
    #[default]
    Json,
    /// Apache's `combined`.
    Combined,
}

pub(crate) struct AccessLog {
    format: LineFormat,
    sample: NonZeroU64,
    slow: Duration,
    redaction: Redaction,
    lines: Arc<Handover<u8>>,
    /// Lines that could not be written.
    lost: Arc<AtomicU64>,
    words: SyncSender<Word>,
    /// Closed when everything is written.
    ended: Mutex<mpsc::Receiver<()>>,
}

impl AccessLog {
    pub fn start(config: Config) -> Result<Self, OpenError> {
        let (words, heard) = sync_channel(writer::WORDS_MAX);
        let news = words.clone();
        // If it does not fit, the writer has yet to hear of others.
        let wake = move || drop(news.try_send(Word::News));
        let lines = Arc::new(Handover::new(ACCESS_LOG_QUEUE_BYTES_MAX, wake));
        let lost = Arc::<AtomicU64>::default();
        let ended = Writer::start(config.to, config.format, lines.clone(), heard, lost.clone())?;
        Ok(Self {
            format: config.format,
            sample: config.sample,
            slow: config.slow.unwrap_or(Duration::MAX),
            redaction: Redaction::new(config.redacted),
            lines,
            lost,
            words,
            ended: Mutex::new(ended),
        })
    }

    /// A request is over that began at this time.
    pub fn ended(&self, ended: &Ended<'_>, begun: SystemTime) {
        let is_always = ended.status >= 500 || ended.status == CLIENT_LEFT || ended.took.whole > self.slow;
        if !is_always && !self.is_sampled() {
            return;
        }
        self.lines.say(|lines| match self.format {
            LineFormat::Json => line::json(lines, ended, begun, &self.redaction),
            LineFormat::Combined => line::combined(lines, ended, begun, &self.redaction),
        });
    }

    /// Of each thread the first, and every so many further ones.
    fn is_sampled(&self) -> bool {
        thread_local! {
            static COUNT: Cell<u64> = const { Cell::new(0) };
        }
        let count = COUNT.get();
        COUNT.set(count.wrapping_add(1));
        count.is_multiple_of(self.sample.get())
    }

    /// Lines that were not written so far: there were too many, or it failed.
    pub fn dropped(&self) -> impl Fn() -> u64 + Send + Sync + use<> {
        let (lines, lost) = (self.lines.clone(), self.lost.clone());
        move || lines.dropped() + lost.load(Relaxed)
    }

    /// Waits until everything is written, within bounds.
    pub async fn finish(&self) {
        if self.words.try_send(Word::End).is_err() {
            return;
        }
        let mut ended = self.ended.lock().await;
        if timeout(ACCESS_LOG_FINISH, ended.recv()).await.is_err() {
            tracing::warn!("the access log's last lines are lost: they take too long to write");
        }
    }
}
