//! The thread that writes the access log. It wakes when there is something to write, waits a moment for more, and writes all
//! of it at once.
//!
//! It appends, so that a file may be cut to nothing while it writes (logrotate's `copytruncate`); and looks before each time
//! whether the name still belongs to the file, so that one that was moved away is let go of.

use super::{Destination, LineFormat, line};
use crate::handover::Handover;
use crate::limits::{ACCESS_LOG_INTERVAL, EFFECT_WARNING_INTERVAL};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::mem;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Instant, SystemTime};
use tokio::sync::mpsc;

/// What the writer has not heard yet.
pub(super) const WORDS_MAX: usize = 8;

#[derive(Debug)]
pub(super) enum Word {
    /// There is something to write.
    News,
    /// Nothing will be said any more.
    End,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("open {}", path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("start its thread")]
    Thread(#[source] io::Error),
}

pub(super) struct Writer {
    output: Output,
    format: LineFormat,
    lines: Arc<Handover<u8>>,
    words: Receiver<Word>,
    /// Lines that could not be written.
    lost: Arc<AtomicU64>,
    /// The last line may be a part of one.
    is_torn: bool,
    /// Of those that are missing, how many the log says.
    told: u64,
    warned: Option<Instant>,
    /// Dropped at the end.
    _ends: mpsc::Sender<()>,
}

enum Output {
    Standard,
    File { path: PathBuf, file: File },
}

impl Writer {
    /// Opens what is to be written to, and starts the thread; what is returned is closed when that has ended.
    pub fn start(
        to: Destination,
        format: LineFormat,
        lines: Arc<Handover<u8>>,
        words: Receiver<Word>,
        lost: Arc<AtomicU64>,
    ) -> Result<mpsc::Receiver<()>, OpenError> {
        let output = match to {
            Destination::StandardOutput => Output::Standard,
            Destination::File(path) => match open(&path) {
                Ok(file) => Output::File { path, file },
                Err(source) => return Err(OpenError::Open { path, source }),
            },
        };
        let (ends, ended) = mpsc::channel(1);
        let writer = Self { output, format, lines, words, lost, is_torn: false, told: 0, warned: None, _ends: ends };
        let started = thread::Builder::new().name("edge-access-log".into()).spawn(move || writer.run());
        started.map(|_| ended).map_err(OpenError::Thread)
    }

    fn run(mut self) {
        let mut is_over = false;
        while !is_over {
            is_over = match self.words.recv() {
                // More comes while it waits.
                Ok(Word::News) => match self.words.recv_timeout(ACCESS_LOG_INTERVAL) {
                    Ok(Word::News) | Err(RecvTimeoutError::Timeout) => false,
                    Ok(Word::End) | Err(RecvTimeoutError::Disconnected) => true,
                },
                Ok(Word::End) | Err(_) => true,
            };
            self.write();
        }
    }

    fn write(&mut self) {
        self.output.follow();
        let mut batches = Vec::new();
        self.lines.take(|batch| batches.push(batch));
        for batch in batches {
            let written = if self.is_torn { self.output.write(b"\n") } else { Ok(()) };
            let written = written.and_then(|()| self.output.write(&batch));
            self.is_torn = written.is_err();
            if let Err(error) = written {
                let lines = batch.iter().filter(|byte| **byte == b'\n').count();
                self.lost.fetch_add(lines as u64, Relaxed);
                self.warn(&format_args!("the access log is not written: {error}"));
            }
        }
        let missing = self.lost.load(Relaxed) + self.lines.dropped();
        if missing > self.told {
            self.tell(missing - self.told);
        }
    }

    /// That lines are missing.
    fn tell(&mut self, lines: u64) {
        let mut said = Vec::new();
        // Apache's form has no place for it.
        if self.format == LineFormat::Json {
            line::json_of_dropped(&mut said, SystemTime::now(), lines);
        }
        if self.output.write(&said).is_ok() {
            self.told += lines;
            self.warn(&format_args!("{lines} lines of the access log were dropped: more came than could be written"));
        }
    }

    fn warn(&mut self, what: &dyn std::fmt::Display) {
        if self.warned.is_none_or(|warned| warned.elapsed() >= EFFECT_WARNING_INTERVAL) {
            tracing::warn!("{what}");
            self.warned = Some(Instant::now());
        }
    }
}

impl Output {
    /// Opens the file anew if its name belongs to another one by now, or to none.
    fn follow(&mut self) {
        let Self::File { path, file } = self else { return };
        let is_it = match (std::fs::metadata(&*path), file.metadata()) {
            (Ok(named), Ok(open)) => (named.dev(), named.ino()) == (open.dev(), open.ino()),
            _ => false,
        };
        if !is_it && let Ok(fresh) = open(path) {
            drop(mem::replace(file, fresh));
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Standard => {
                let mut output = io::stdout().lock();
                output.write_all(bytes)?;
                output.flush()
            }
            Self::File { file, .. } => file.write_all(bytes),
        }
    }
}

/// Who may read it may see who asked for what.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}
