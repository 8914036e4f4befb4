//! The desired set on disk: what a node boots with when no controller is in reach.
//!
//! One file, replaced by rename after a flush: four bytes `RSD0`, then the protobuf message `Desired`.

use crate::Error;
use prost::Message;
use protocol::Desired;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 4] = b"RSD0";

pub(crate) struct DesiredFile(PathBuf);

impl DesiredFile {
    pub(crate) fn new(data: &Path) -> Self {
        Self(data.join("desired"))
    }

    /// An empty set of generation 0 when there is none yet.
    pub(crate) fn read(&self) -> Result<Desired, Error> {
        let bytes = match fs::read(&self.0) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Desired::default()),
            Err(source) => return Err(Error::File { what: "read", path: self.0.clone(), source }),
        };
        let message = bytes.strip_prefix(MAGIC).ok_or_else(|| {
            let source = io::Error::new(io::ErrorKind::InvalidData, "not a desired set of this version");
            Error::File { what: "read", path: self.0.clone(), source }
        })?;
        Desired::decode(message).map_err(|source| Error::Desired { path: self.0.clone(), source })
    }

    /// Returns once the set would survive a power cut.
    pub(crate) fn write(&self, desired: &Desired) -> Result<(), Error> {
        self.replace(desired).map_err(|source| Error::File { what: "write", path: self.0.clone(), source })
    }

    fn replace(&self, desired: &Desired) -> io::Result<()> {
        let temporary = self.0.with_extension("new");
        let mut file = File::create(&temporary)?;
        file.write_all(MAGIC)?;
        file.write_all(&desired.encode_to_vec())?;
        file.sync_all()?;
        fs::rename(&temporary, &self.0)?;
        match self.0.parent() {
            Some(directory) => File::open(directory)?.sync_all(),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::TaskSpec;

    #[test]
    fn what_was_written_is_read_and_a_torn_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = DesiredFile::new(directory.path());
        assert_eq!(file.read().unwrap(), Desired::default());
        let task = TaskSpec { task_id: "t".to_owned(), cmd: Some("true".to_owned()), ..TaskSpec::default() };
        let desired = Desired { generation: 7, tasks: vec![task], cluster_id: 0 };
        file.write(&desired).unwrap();
        assert_eq!(file.read().unwrap(), desired);
        let path = directory.path().join("desired");
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert!(file.read().is_err());
        fs::write(&path, b"else").unwrap();
        assert!(file.read().is_err());
    }
}
