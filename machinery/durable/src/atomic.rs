//! Replacing a whole file: a reader, and a machine after a power cut, finds the old bytes or the new ones.

use crate::Disk;
use std::io;
use std::path::Path;

/// Appended to the name of a file while its replacement is written.
const UNFINISHED_SUFFIX: &str = ".unfinished";

/// Writes `slices`, one after the other, as the new content of `path`; durable when this returns.
pub fn replace(disk: &dyn Disk, path: &Path, slices: &[&[u8]]) -> io::Result<()> {
    let directory = path.parent().ok_or_else(|| io::Error::other("a file to replace needs a directory"))?;
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(UNFINISHED_SUFFIX);
    let unfinished = Path::new(&unfinished);
    let file = disk.open(unfinished, true)?;
    file.set_len(0)?;
    file.write_at(slices, 0)?;
    file.sync()?;
    disk.rename(unfinished, path)?;
    disk.sync_dir(directory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FaultyDisk;
    use std::sync::Arc;

    #[test]
    fn a_crash_leaves_the_old_file_or_the_new_one() {
        for seed in 0..50 {
            let disk: Arc<FaultyDisk> = FaultyDisk::new(seed);
            let path = Path::new("/data/file");
            disk.create_dir(Path::new("/data")).unwrap();
            replace(&*disk, path, &[&[b'o'; 3000]]).unwrap();
            disk.crash_after_operations(seed % 6);
            let replaced = replace(&*disk, path, &[&[b'n'; 3000]]).is_ok();
            disk.crash();
            let mut bytes = [0; 4000];
            let length = disk.open(path, false).unwrap().read_at(&mut bytes, 0).unwrap();
            assert_eq!(length, 3000, "seed {seed}");
            assert!(bytes[..3000].iter().all(|byte| *byte == bytes[0]), "seed {seed}: torn");
            assert!(!replaced || bytes[0] == b'n', "seed {seed}: an acknowledged replacement was lost");
        }
    }
}
