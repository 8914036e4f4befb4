//! What the supervisor says of itself, for `roadstead upgrade`: a file in the data directory.

use identity::private_file;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::process;
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    pub pid: u32,
    pub version: String,
    /// When this binary had started everything.
    pub since_ms: u64,
    /// How often it was asked to, and the binary would not start.
    pub refusals: u64,
    /// Why it would not, the last time.
    pub refusal: Option<String>,
}

impl Notice {
    pub fn of_this_process() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            pid: process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            since_ms: since.as_millis() as u64,
            refusals: 0,
            refusal: None,
        }
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
