//! Logs go to standard error: standard output belongs to `ready` lines and results.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// The environment variable that sets what is logged, in `tracing`'s filter syntax (default `info`).
pub const FILTER_VARIABLE: &str = "ROADSTEAD_LOG";

/// How a log line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    #[default]
    Text,
    Json,
}

/// Installs the process's log writer; a second call changes nothing.
pub fn install(format: Format, default_filter: &str) {
    let filter = EnvFilter::try_from_env(FILTER_VARIABLE).unwrap_or_else(|_| EnvFilter::new(default_filter));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // The first writer stays: a test that starts several services in one process asks more than once.
    let _already_installed = match format {
        Format::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
        Format::Json => builder.json().try_init(),
    };
}
