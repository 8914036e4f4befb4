//! What controllers said of themselves, on disk: `{"v":0,"controllers":["host:port", …]}`, the leader first, replaced
//! whole.

use super::Address;
use crate::CONTROLLERS_MAX;
use durable::RealDisk;
use lifecycle::{BoxError, ErrorChain};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Room for [`CONTROLLERS_MAX`] of the longest names.
const FILE_BYTES_MAX: u64 = 64 * 1024;

pub(super) struct Remembered(PathBuf);

#[derive(Serialize, Deserialize)]
struct Document {
    v: u32,
    controllers: Vec<String>,
}

impl Remembered {
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Nobody, when there is no file, or none that can be understood.
    pub fn read(&self) -> Vec<Address> {
        match read(&self.0) {
            Ok(addresses) => addresses,
            Err(error) => {
                let path = self.0.display();
                tracing::warn!(%path, error = %ErrorChain(&*error), "remembered controllers cannot be read");
                Vec::new()
            }
        }
    }

    /// A list that cannot be written is not remembered; the session goes on.
    pub async fn write(&self, addresses: Vec<Address>) {
        let path = self.0.clone();
        let written = tokio::task::spawn_blocking(move || write(&path, &addresses)).await;
        match written {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(path = %self.0.display(), %error, "controllers are not remembered"),
            Err(error) => tracing::warn!(path = %self.0.display(), %error, "controllers are not remembered"),
        }
    }
}

fn read(path: &Path) -> Result<Vec<Address>, BoxError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    let document: Document = serde_json::from_slice(&bytes)?;
    if document.v != 0 {
        return Err(format!("version {} is not known", document.v).into());
    }
    // Without a scheme an address fits either.
    let addresses = document.controllers.iter().take(CONTROLLERS_MAX);
    Ok(addresses.filter_map(|text| Address::parse(text, true).ok()).collect())
}

fn write(path: &Path, addresses: &[Address]) -> std::io::Result<()> {
    let controllers = addresses.iter().map(Address::to_string).collect();
    let text = serde_json::to_vec(&Document { v: 0, controllers })?;
    durable::replace(Arc::new(RealDisk), path, &[&text])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<Address> {
        texts.iter().map(|text| Address::parse(text, true).unwrap()).collect()
    }

    #[tokio::test]
    async fn what_was_written_is_read_and_what_is_not_understood_is_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("controllers.json");
        let remembered = Remembered::new(path.clone());
        assert_eq!(remembered.read(), []);
        remembered.write(addresses(&["b:1", "a:1"])).await;
        assert_eq!(remembered.read(), addresses(&["b:1", "a:1"]));
        for torn in ["", "{", r#"{"v":1,"controllers":["a:1"]}"#, r#"{"v":0}"#] {
            std::fs::write(&path, torn).unwrap();
            assert_eq!(remembered.read(), [], "{torn}");
        }
        std::fs::write(&path, r#"{"v":0,"controllers":["a:1","no address"]}"#).unwrap();
        assert_eq!(remembered.read(), addresses(&["a:1"]));
    }
}
