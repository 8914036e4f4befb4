//! The desired set on disk: what a node boots with when no controller is in reach.
//!
//! One file, replaced by rename after a flush:
//!
//! ```text
//! "RSD1" · CRC-32C of the message, 4 bytes, big-endian · the protobuf message `Desired`
//! ```
//!
//! `RSD0`, of earlier versions, has no checksum; it is read, and written no more. A file that cannot be trusted is no
//! reason not to start: the node keeps what runs and waits for a controller ([`Read::Unreadable`]).

use crate::Error;
use lifecycle::ErrorChain;
use prost::Message;
use protocol::Desired;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 4] = b"RSD1";
const MAGIC_WITHOUT_CHECKSUM: &[u8; 4] = b"RSD0";
const CHECKSUM_BYTES: usize = 4;

pub(crate) struct DesiredFile(PathBuf);

/// What the disk knows of the desired set.
#[derive(Debug, PartialEq)]
pub(crate) enum Read {
    /// Empty, of generation 0, when there is no file yet.
    Held(Desired),
    /// There is one, but nobody knows what it said.
    Unreadable { why: String },
}

impl DesiredFile {
    pub(crate) fn new(data: &Path) -> Self {
        Self(data.join("desired"))
    }

    pub(crate) fn read(&self) -> Read {
        let bytes = match fs::read(&self.0) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Read::Held(Desired::default()),
            Err(error) => return Read::Unreadable { why: error.to_string() },
        };
        match decode(&bytes) {
            Ok(desired) => Read::Held(desired),
            Err(why) => Read::Unreadable { why },
        }
    }

    /// Returns once the set would survive a power cut.
    pub(crate) fn write(&self, desired: &Desired) -> Result<(), Error> {
        self.replace(desired).map_err(|source| Error::File { what: "write", path: self.0.clone(), source })
    }

    fn replace(&self, desired: &Desired) -> io::Result<()> {
        let temporary = self.0.with_extension("new");
        let message = desired.encode_to_vec();
        let mut file = File::create(&temporary)?;
        file.write_all(MAGIC)?;
        file.write_all(&crc32c::crc32c(&message).to_be_bytes())?;
        file.write_all(&message)?;
        file.sync_all()?;
        fs::rename(&temporary, &self.0)?;
        match self.0.parent() {
            Some(directory) => File::open(directory)?.sync_all(),
            None => Ok(()),
        }
    }
}

fn decode(bytes: &[u8]) -> Result<Desired, String> {
    let message = if let Some(rest) = bytes.strip_prefix(MAGIC) {
        let (checksum, message) = rest.split_first_chunk::<CHECKSUM_BYTES>().ok_or("it ends within its checksum")?;
        if u32::from_be_bytes(*checksum) != crc32c::crc32c(message) {
            return Err("its checksum does not match".to_owned());
        }
        message
    } else {
        bytes.strip_prefix(MAGIC_WITHOUT_CHECKSUM).ok_or("it is not a desired set of a known version")?
    };
    Desired::decode(message).map_err(|error| ErrorChain(&error).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use protocol::TaskSpec;

    fn desired() -> Desired {
        let task = |number: u32| TaskSpec {
            task_id: format!("t{number}"),
            cmd: Some("true".to_owned()),
            ..TaskSpec::default()
        };
        Desired { generation: 7, tasks: (0..3).map(task).collect(), cluster_id: 3 }
    }

    #[test]
    fn what_was_written_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let file = DesiredFile::new(directory.path());
        assert_eq!(file.read(), Read::Held(Desired::default()));
        file.write(&desired()).unwrap();
        assert_eq!(file.read(), Read::Held(desired()));
    }

    #[test]
    fn the_format_of_earlier_versions_is_read() {
        let bytes = [&b"RSD0"[..], &desired().encode_to_vec()].concat();
        assert_eq!(decode(&bytes), Ok(desired()));
    }

    proptest! {
        /// A set that lost its end may still be a message, of fewer tasks: those would be stopped.
        #[test]
        fn a_torn_or_flipped_file_is_not_trusted(cut in any::<prop::sample::Index>(), flip in any::<prop::sample::Index>()) {
            let directory = tempfile::tempdir().unwrap();
            let file = DesiredFile::new(directory.path());
            file.write(&desired()).unwrap();
            let path = directory.path().join("desired");
            let bytes = fs::read(&path).unwrap();
            fs::write(&path, &bytes[..cut.index(bytes.len())]).unwrap();
            prop_assert!(matches!(file.read(), Read::Unreadable { .. }), "cut");
            let mut flipped = bytes.clone();
            flipped[flip.index(bytes.len())] ^= 0x10;
            fs::write(&path, &flipped).unwrap();
            prop_assert!(matches!(file.read(), Read::Unreadable { .. }), "flipped");
        }
    }
}
