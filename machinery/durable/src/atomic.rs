//! Replacing a whole file: a reader, and a machine after a power cut, finds the old bytes or the new ones.

use crate::{Disk, DiskFile};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Appended to the name of a file while its replacement is written.
const UNFINISHED_SUFFIX: &str = ".unfinished";

/// New content of a file, written piece by piece beside the old one, which stays until [`Replacement::commit`].
pub struct Replacement {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    unfinished: PathBuf,
    file: Arc<dyn DiskFile>,
    len: u64,
}

impl Replacement {
    pub fn begin(disk: Arc<dyn Disk>, path: &Path) -> io::Result<Self> {
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(UNFINISHED_SUFFIX);
        let unfinished = PathBuf::from(unfinished);
        let file = disk.open(&unfinished, true)?;
        file.set_len(0)?;
        Ok(Self { disk, path: path.to_owned(), unfinished, file, len: 0 })
    }

    /// Appends the slices.
    pub fn write(&mut self, slices: &[&[u8]]) -> io::Result<()> {
        self.file.write_at(slices, self.len)?;
        self.len += slices.iter().map(|slice| slice.len() as u64).sum::<u64>();
        Ok(())
    }

    /// Durable, in content and name, when this returns.
    pub fn commit(self) -> io::Result<()> {
        let directory = self.path.parent().ok_or_else(|| io::Error::other("a file to replace needs a directory"))?;
        self.file.sync()?;
        self.disk.rename(&self.unfinished, &self.path)?;
        self.disk.sync_dir(directory)
    }
}

/// Writes `slices`, one after the other, as the new content of `path`; durable when this returns.
pub fn replace(disk: Arc<dyn Disk>, path: &Path, slices: &[&[u8]]) -> io::Result<()> {
    let mut replacement = Replacement::begin(disk, path)?;
    replacement.write(slices)?;
    replacement.commit()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FaultyDisk;

    #[test]
    fn a_crash_leaves_the_old_file_or_the_new_one() {
        for seed in 0..50 {
            let disk = FaultyDisk::new(seed);
            let path = Path::new("/data/file");
            disk.create_dir(Path::new("/data")).unwrap();
            replace(disk.clone(), path, &[&[b'o'; 3000]]).unwrap();
            disk.crash_after_operations(seed % 7);
            let replaced = replace(disk.clone(), path, &[&[b'n'; 3000]]).is_ok();
            disk.crash();
            let mut bytes = [0; 4000];
            let length = disk.open(path, false).unwrap().read_at(&mut bytes, 0).unwrap();
            assert_eq!(length, 3000, "seed {seed}");
            assert!(bytes[..3000].iter().all(|byte| *byte == bytes[0]), "seed {seed}: torn");
            assert!(!replaced || bytes[0] == b'n', "seed {seed}: an acknowledged replacement was lost");
        }
    }
}
