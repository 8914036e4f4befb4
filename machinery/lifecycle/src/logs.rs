//! Logs go to standard error: standard output belongs to `ready` lines and results.

use std::io::IsTerminal;
use std::sync::{Mutex, OnceLock, PoisonError};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Registry, reload};

/// The environment variable that sets what is logged, in `tracing`'s filter syntax (default `info`).
pub const FILTER_VARIABLE: &str = "ROADSTEAD_LOG";

/// How a log line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    #[default]
    Text,
    Json,
}

/// How grave a line has to be to be written, in the names vulcand's API has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Error,
    Warning,
    Info,
    Debug,
    Trace,
}

#[derive(Debug, thiserror::Error)]
pub enum SeverityError {
    #[error("this process writes no log of its own")]
    NoLog,
    #[error("the log's filter")]
    Reload(#[from] reload::Error),
}

/// The filter of the process's log.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();
/// What [`set_severity`] was asked for last.
static ASKED: Mutex<Option<Severity>> = Mutex::new(None);

impl Severity {
    pub const NAMES: [&str; 5] = ["error", "warning", "info", "debug", "trace"];

    /// vulcand has two more, for what ends it.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text.to_ascii_lowercase().as_str() {
            "panic" | "fatal" | "error" => Self::Error,
            "warn" | "warning" => Self::Warning,
            "info" => Self::Info,
            "debug" => Self::Debug,
            "trace" => Self::Trace,
            _ => return None,
        })
    }

    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

/// Of the least grave lines that are written: some may be held back by a finer filter.
pub fn severity() -> Severity {
    let asked = *ASKED.lock().unwrap_or_else(PoisonError::into_inner);
    asked.unwrap_or_else(|| match LevelFilter::current() {
        LevelFilter::OFF | LevelFilter::ERROR => Severity::Error,
        LevelFilter::WARN => Severity::Warning,
        LevelFilter::INFO => Severity::Info,
        LevelFilter::DEBUG => Severity::Debug,
        _ => Severity::Trace,
    })
}

/// From now on the process writes lines of this severity and of graver ones, whatever filter it had.
pub fn set_severity(severity: Severity) -> Result<(), SeverityError> {
    let level = match severity {
        Severity::Error => LevelFilter::ERROR,
        Severity::Warning => LevelFilter::WARN,
        Severity::Info => LevelFilter::INFO,
        Severity::Debug => LevelFilter::DEBUG,
        Severity::Trace => LevelFilter::TRACE,
    };
    let mut asked = ASKED.lock().unwrap_or_else(PoisonError::into_inner);
    FILTER.get().ok_or(SeverityError::NoLog)?.reload(EnvFilter::default().add_directive(level.into()))?;
    *asked = Some(severity);
    Ok(())
}

/// Installs the process's log writer; a second call changes nothing.
pub fn install(format: Format, default_filter: &str) {
    let filter = EnvFilter::try_from_env(FILTER_VARIABLE).unwrap_or_else(|_| EnvFilter::new(default_filter));
    let (filter, handle) = reload::Layer::new(filter);
    let writer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(filter);
    // The first writer stays: a test that starts several services in one process asks more than once.
    let installed: Result<(), TryInitError> = match format {
        Format::Text => registry.with(writer.with_ansi(std::io::stderr().is_terminal())).try_init(),
        Format::Json => registry.with(writer.json()).try_init(),
    };
    if installed.is_ok() {
        let _first = FILTER.set(handle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_severity_changes_what_is_written() {
        install(Format::Text, "info");
        assert_eq!(severity(), Severity::Info);
        assert!(!tracing::enabled!(tracing::Level::DEBUG));
        for name in ["debug", "trace", "error", "warning"] {
            let severity = Severity::parse(name).unwrap();
            set_severity(severity).unwrap();
            assert_eq!((super::severity().name(), severity.name()), (name, name));
            assert_eq!(tracing::enabled!(tracing::Level::DEBUG), matches!(name, "debug" | "trace"));
            assert_eq!(tracing::enabled!(tracing::Level::WARN), name != "error");
        }
        assert_eq!(Severity::parse("FATAL"), Some(Severity::Error));
        assert_eq!(Severity::parse("loud"), None);
    }
}
