//! A task's output on disk: bounded, and addressed by offsets that survive rotation.
//!
//! A stream is a few segment files, `stdout.0`, `stdout.4194304`, …, each named after the offset of its first byte. The
//! shim appends to the last; when that is full it begins another and deletes the oldest.

use crate::{LogSlice, Stream};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A segment is closed once it holds this many bytes.
pub(crate) const SEGMENT_BYTES_MAX: u64 = 4 << 20;
/// Segments kept of a stream: a task's two streams take at most 16 MiB.
pub(crate) const SEGMENTS_MAX: usize = 2;

/// The shim's side.
pub(crate) struct LogWriter {
    directory: PathBuf,
    stream: Stream,
    file: File,
    file_bytes: u64,
    /// Offset of the next byte.
    end: u64,
    segment_bytes_max: u64,
}

impl LogWriter {
    pub(crate) fn create(directory: &Path, stream: Stream) -> io::Result<Self> {
        Self::with_segments(directory, stream, SEGMENT_BYTES_MAX)
    }

    fn with_segments(directory: &Path, stream: Stream, segment_bytes_max: u64) -> io::Result<Self> {
        let file = create_segment(directory, stream, 0)?;
        Ok(Self { directory: directory.to_owned(), stream, file, file_bytes: 0, end: 0, segment_bytes_max })
    }

    pub(crate) fn append(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.file_bytes >= self.segment_bytes_max {
                self.rotate()?;
            }
            let room = usize::try_from(self.segment_bytes_max - self.file_bytes).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.file.write_all(now)?;
            self.file_bytes += now.len() as u64;
            self.end += now.len() as u64;
            bytes = later;
        }
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file = create_segment(&self.directory, self.stream, self.end)?;
        self.file_bytes = 0;
        let segments = segments(&self.directory, self.stream)?;
        for (_, path) in segments.iter().rev().skip(SEGMENTS_MAX) {
            fs::remove_file(path)?;
        }
        Ok(())
    }
}

/// Reads at most `length` bytes from `offset`; `None` reads the last ones.
pub(crate) fn read(directory: &Path, stream: Stream, offset: Option<u64>, length: usize) -> io::Result<LogSlice> {
    let segments = segments(directory, stream)?;
    let mut parts = Vec::new();
    for (begin, path) in &segments {
        match fs::metadata(path) {
            Ok(metadata) => parts.push((*begin, *begin + metadata.len(), path)),
            // Rotated away since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    let begin = parts.first().map_or(0, |part| part.0);
    let end = parts.last().map_or(0, |part| part.1);
    let wanted = offset.unwrap_or_else(|| end.saturating_sub(length as u64));
    let offset = wanted.clamp(begin, end.max(begin));
    let mut data = Vec::new();
    for (from, to, path) in parts {
        let position = offset + data.len() as u64;
        let room = length - data.len();
        if room == 0 || position < from || position >= to {
            continue;
        }
        let mut file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            opened => opened?,
        };
        file.seek(SeekFrom::Start(position - from))?;
        file.take(room as u64).read_to_end(&mut data)?;
    }
    Ok(LogSlice { offset, data: data.into() })
}

fn create_segment(directory: &Path, stream: Stream, begin: u64) -> io::Result<File> {
    let path = directory.join(format!("{}.{begin}", stream.name()));
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// The segments of a stream, oldest first.
fn segments(directory: &Path, stream: Stream) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let begin = name.to_str().and_then(|name| name.strip_prefix(stream.name())?.strip_prefix('.')?.parse().ok());
        if let Some(begin) = begin {
            segments.push((begin, entry.path()));
        }
    }
    segments.sort();
    Ok(segments)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn offsets_survive_rotation_and_old_bytes_are_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = LogWriter::with_segments(directory.path(), Stream::Stdout, 10).unwrap();
        log.append(b"0123456789abcdefghijABCDE").unwrap();
        let read = |offset, length| read(directory.path(), Stream::Stdout, offset, length).unwrap();
        assert_eq!(read(Some(12), 5), LogSlice { offset: 12, data: "cdefg".into() });
        assert_eq!(read(Some(18), 100), LogSlice { offset: 18, data: "ijABCDE".into() });
        assert_eq!(read(Some(0), 3), LogSlice { offset: 10, data: "abc".into() });
        assert_eq!(read(None, 4), LogSlice { offset: 21, data: "BCDE".into() });
        assert_eq!(read(Some(99), 4), LogSlice { offset: 25, data: "".into() });
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), SEGMENTS_MAX);
    }

    #[test]
    fn a_stream_without_output_is_empty() {
        let directory = tempfile::tempdir().unwrap();
        let slice = read(directory.path(), Stream::Stderr, None, 10).unwrap();
        assert_eq!(slice, LogSlice { offset: 0, data: "".into() });
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_written(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..30), 0..12),
            offset in 0..200_u64,
            length in 0..60_usize,
        ) {
            let directory = tempfile::tempdir().unwrap();
            let mut log = LogWriter::with_segments(directory.path(), Stream::Stdout, 16).unwrap();
            for piece in &pieces {
                log.append(piece).unwrap();
            }
            let all = pieces.concat();
            let slice = read(directory.path(), Stream::Stdout, Some(offset), length).unwrap();
            let begin = slice.offset as usize;
            prop_assert_eq!(&slice.data[..], &all[begin..begin + slice.data.len()]);
            let at_end = begin + slice.data.len() == all.len();
            prop_assert!(slice.data.len() == length || at_end);
        }
    }
}
