//! What the supervisor says of itself, for `roadstead upgrade`: a file in the data directory.

use identity::private_file;
use runtime::ProcessId;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    pub process: ProcessId,
    pub version: String,
    /// When this binary had started everything.
    pub since_ms: u64,
    /// How often it was asked to, and the binary would not start.
    pub refusals: u64,
    /// Why it would not, the last time.
    pub refusal: Option<String>,
}

impl Notice {
    pub fn of_this_process() -> io::Result<Self> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Self {
            process: ProcessId::of(process::id() as i32)?,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            since_ms: since.as_millis() as u64,
            refusals: 0,
            refusal: None,
        })
    }

    /// Not another process that has its number by now.
    pub fn is_of_one_that_runs(&self) -> bool {
        self.process.exists().unwrap_or(false)
    }

    pub fn refused(&mut self, why: String) {
        self.refusals += 1;
        self.refusal = Some(why);
    }

    fn path(data: &Path) -> PathBuf {
        data.join("up.json")
    }

    /// Without it all goes on, but for whoever asks.
    pub fn write(&self, data: &Path) {
        let written = serde_json::to_vec_pretty(self).map(|text| private_file::write(&Self::path(data), text));
        if !matches!(written, Ok(Ok(()))) {
            tracing::warn!(data = %data.display(), ?written, "`roadstead upgrade` will not find this process");
        }
    }

    pub fn read(data: &Path) -> Option<Self> {
        let text = private_file::read_if_there(&Self::path(data)).ok()??;
        serde_json::from_str(&text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine that was switched off leaves its notice behind, and somebody else has the number when it is on again.
    #[test]
    fn a_notice_is_not_of_a_later_process_with_the_same_number() {
        let directory = tempfile::tempdir().unwrap();
        let notice = Notice::of_this_process().unwrap();
        notice.write(directory.path());
        let read = Notice::read(directory.path()).unwrap();
        assert_eq!(read, notice);
        assert!(read.is_of_one_that_runs());
        let mut text = serde_json::to_value(&notice).unwrap();
        text["process"]["start_ticks"] = 1.into();
        let stale: Notice = serde_json::from_value(text).unwrap();
        assert_eq!(stale.process.pid, notice.process.pid);
        assert!(!stale.is_of_one_that_runs());
    }
}
