//! What a log does when it is opened: replay, cut off a torn tail, refuse corruption.

use super::committer::Tail;
use super::format::{RECORD_HEADER_BYTES, RECORD_MAGIC, RecordHeader, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::{LogError, Position, Replay, segment_number, segment_path};
use crate::{Disk, DiskFile};
use crc32c::crc32c;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes read at once while replaying.
const WINDOW_BYTES: usize = 1 << 20;

pub struct Recovered {
    /// Segment number to salt.
    pub salts: BTreeMap<u64, u64>,
    pub tail: Option<Tail>,
    pub sequence_next: u64,
}

pub fn recover(
    disk: &dyn Disk,
    dir: &Path,
    record_bytes_max: usize,
    replay: &mut Replay<'_>,
) -> Result<Recovered, LogError> {
    let names = disk.list(dir).map_err(|source| LogError::Io { action: "list", path: dir.to_owned(), source })?;
    let segments: Vec<u64> = names.iter().filter_map(|name| segment_number(name)).collect();
    let mut recovered = Recovered { salts: BTreeMap::new(), tail: None, sequence_next: 0 };
    for segment in &segments {
        let is_last = segments.last() == Some(segment);
        let mut reader = SegmentReader::open(disk, segment_path(dir, *segment), record_bytes_max)?;
        let Some(header) = reader.header(*segment, is_last)? else {
            // The machine stopped while this segment was being made: nothing was ever answered from it.
            reader.remove(disk, dir)?;
            break;
        };
        let follows = recovered.salts.contains_key(&segment.wrapping_sub(1));
        if header.sequence_first < recovered.sequence_next
            || (follows && header.sequence_first != recovered.sequence_next)
        {
            return Err(reader.corrupt(0, "its records do not follow those of the segment before"));
        }
        recovered.sequence_next = header.sequence_first;
        let end = reader.replay(&header, is_last, &mut recovered.sequence_next, replay)?;
        recovered.salts.insert(*segment, header.salt);
        recovered.tail = Some(Tail { file: reader.window.file, segment: *segment, salt: header.salt, end });
    }
    Ok(recovered)
}

struct SegmentReader {
    path: PathBuf,
    len: u64,
    record_bytes_max: usize,
    window: Window,
}

/// The next record, or why there is none.
enum Found {
    Record(RecordHeader),
    End,
    Broken(&'static str),
}

impl SegmentReader {
    fn open(disk: &dyn Disk, path: PathBuf, record_bytes_max: usize) -> Result<Self, LogError> {
        let opened = disk.open(&path, false).and_then(|file| Ok((file.len()?, file)));
        match opened {
            Ok((len, file)) => {
                let window = Window { file, file_len: len, start: 0, bytes: Vec::new() };
                Ok(Self { path, len, record_bytes_max, window })
            }
            Err(source) => Err(LogError::Io { action: "open", path, source }),
        }
    }

    /// `None`: the segment was never finished.
    fn header(&mut self, segment: u64, is_last: bool) -> Result<Option<SegmentHeader>, LogError> {
        let bytes = self.bytes(0, SEGMENT_HEADER_BYTES as usize)?;
        match bytes.and_then(SegmentHeader::decode) {
            Some(header) if header.segment == segment => Ok(Some(header)),
            Some(_) => Err(self.corrupt(0, "it is another segment's file")),
            None if is_last && self.len <= SEGMENT_HEADER_BYTES => Ok(None),
            None => Err(self.corrupt(0, "the segment's header is broken")),
        }
    }

    /// Hands on every record and returns where the next one goes.
    fn replay(
        &mut self,
        segment: &SegmentHeader,
        is_last: bool,
        sequence_next: &mut u64,
        replay: &mut Replay<'_>,
    ) -> Result<u64, LogError> {
        let mut offset = SEGMENT_HEADER_BYTES;
        loop {
            match self.next(segment, *sequence_next, offset)? {
                Found::Record(header) => {
                    let position = Position { segment: segment.segment, offset, len: header.len };
                    let payload = self.bytes(offset + RECORD_HEADER_BYTES as u64, header.len as usize)?;
                    let replayed = replay(position, payload.unwrap_or_default());
                    replayed.map_err(|source| LogError::Replay { path: self.path.clone(), offset, source })?;
                    offset += RECORD_HEADER_BYTES as u64 + u64::from(header.len);
                    *sequence_next += 1;
                }
                Found::End => break,
                Found::Broken(what) if !is_last => return Err(self.corrupt(offset, what)),
                Found::Broken(what) => {
                    if self.later_group_follows(segment.salt, *sequence_next, offset)? {
                        return Err(self.corrupt(offset, what));
                    }
                    tracing::info!(path = %self.path.display(), offset, cut_bytes = self.len - offset, "a torn tail is cut off");
                    let cut = self.window.file.set_len(offset);
                    cut.map_err(|source| self.io("cut the torn tail of", source))?;
                    break;
                }
            }
        }
        // What was replayed may only be in the page cache of a process that was killed: it is built upon from now on.
        self.window.file.sync().map_err(|source| self.io("sync", source))?;
        Ok(offset)
    }

    fn next(&mut self, segment: &SegmentHeader, sequence: u64, offset: u64) -> Result<Found, LogError> {
        if offset == self.len {
            return Ok(Found::End);
        }
        let record_bytes_max = self.record_bytes_max;
        let Some(bytes) = self.bytes(offset, RECORD_HEADER_BYTES)? else {
            return Ok(Found::Broken("the file ends inside a record's header"));
        };
        let Some(header) = RecordHeader::decode(segment.salt, bytes) else {
            return Ok(Found::Broken("a record's header is broken"));
        };
        if header.sequence != sequence {
            return Ok(Found::Broken("a record is out of sequence"));
        }
        if record_bytes_max < header.len as usize {
            return Err(self.corrupt(offset, "a record is longer than the limit this log is opened with"));
        }
        match self.bytes(offset + RECORD_HEADER_BYTES as u64, header.len as usize)? {
            None => Ok(Found::Broken("the file ends inside a record")),
            Some(payload) if crc32c(payload) != header.payload_crc => Ok(Found::Broken("a record's checksum is wrong")),
            Some(_) => Ok(Found::Record(header)),
        }
    }

    /// Whether a record that was written after `sequence` had become durable lies behind `offset`.
    fn later_group_follows(&mut self, salt: u64, sequence: u64, offset: u64) -> Result<bool, LogError> {
        let mut offset = offset + 1;
        while offset + RECORD_HEADER_BYTES as u64 <= self.len {
            let length = WINDOW_BYTES.min((self.len - offset) as usize);
            let Some(bytes) = self.bytes(offset, length)? else { break };
            for candidate in bytes.windows(RECORD_HEADER_BYTES).filter(|bytes| bytes.starts_with(&RECORD_MAGIC)) {
                if RecordHeader::decode(salt, candidate).is_some_and(|header| sequence < header.group) {
                    return Ok(true);
                }
            }
            // The next window begins where no whole header has been looked at yet.
            offset += (length - RECORD_HEADER_BYTES + 1) as u64;
        }
        Ok(false)
    }

    fn remove(&self, disk: &dyn Disk, dir: &Path) -> Result<(), LogError> {
        let removed = disk.remove(&self.path).and_then(|()| disk.sync_dir(dir));
        removed.map_err(|source| self.io("remove the unfinished", source))
    }

    /// `None` where the file ends before.
    fn bytes(&mut self, offset: u64, len: usize) -> Result<Option<&[u8]>, LogError> {
        match self.window.get(offset, len) {
            Ok(bytes) => Ok(bytes),
            Err(source) => Err(LogError::Io { action: "read", path: self.path.clone(), source }),
        }
    }

    fn io(&self, action: &'static str, source: io::Error) -> LogError {
        LogError::Io { action, path: self.path.clone(), source }
    }

    fn corrupt(&self, offset: u64, what: &'static str) -> LogError {
        LogError::Corrupt { path: self.path.clone(), offset, what }
    }
}

/// A part of a file in memory, which moves forward with what is asked of it.
struct Window {
    file: Arc<dyn DiskFile>,
    file_len: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    fn get(&mut self, offset: u64, len: usize) -> io::Result<Option<&[u8]>> {
        let inside = self.start <= offset && offset + len as u64 <= self.start + self.bytes.len() as u64;
        if !inside {
            let rest = self.file_len.saturating_sub(offset);
            self.bytes.resize(rest.min(len.max(WINDOW_BYTES) as u64) as usize, 0);
            let filled = self.file.read_at(&mut self.bytes, offset)?;
            self.bytes.truncate(filled);
            self.start = offset;
        }
        let from = (offset - self.start) as usize;
        Ok(self.bytes.get(from..from + len))
    }
}
