//! What this process's edges write into their log, from warnings on.

use std::io::{self, Write};
use std::sync::{Mutex, Once, PoisonError};
use tracing::level_filters::LevelFilter;

/// Of all tests that run beside.
static WRITTEN: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Written;

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        WRITTEN.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Keeps what is written from now on.
pub fn keep() {
    static BEGUN: Once = Once::new();
    BEGUN.call_once(|| {
        let writer = tracing_subscriber::fmt().with_max_level(LevelFilter::WARN).with_ansi(false);
        writer.with_writer(|| Written).init();
    });
}

/// The lines that name this.
pub fn lines_with(text: &str) -> Vec<String> {
    let written = WRITTEN.lock().unwrap_or_else(PoisonError::into_inner);
    let lines = String::from_utf8_lossy(&written);
    lines.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
}
