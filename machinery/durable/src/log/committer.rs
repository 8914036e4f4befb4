//! The thread that writes: it takes all that has gathered, writes it with one call, and flushes it once.

use super::format::{RECORD_HEADER_BYTES, RecordHeader, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::{LogError, Position, QUEUE_BYTES_MAX, Shared, segment_path};
use crate::DiskFile;
use bytes::Bytes;
use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// Requests that may wait for the committer.
const QUEUE_REQUESTS_MAX: usize = 64 * 1024;

type Answer<T> = oneshot::Sender<Result<T, LogError>>;

pub enum Request {
    Append { payload: Bytes, payload_crc: u32, answer: Answer<Position> },
    Roll { answer: Answer<u64> },
}

/// What waits for the committer.
#[derive(Default)]
pub struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    requests: VecDeque<Request>,
    bytes: usize,
    closed: bool,
    failed: Option<Arc<io::Error>>,
}

impl Queue {
    pub fn push(&self, request: Request) -> Result<(), LogError> {
        let mut state = self.lock();
        if let Some(source) = &state.failed {
            return Err(LogError::ReadOnly { source: Arc::clone(source) });
        }
        if state.closed {
            return Err(LogError::Closed);
        }
        let bytes = request.bytes();
        if state.bytes + bytes > QUEUE_BYTES_MAX || state.requests.len() >= QUEUE_REQUESTS_MAX {
            return Err(LogError::Overloaded { max: QUEUE_BYTES_MAX });
        }
        state.bytes += bytes;
        state.requests.push_back(request);
        self.changed.notify_one();
        Ok(())
    }

    /// Nothing more is taken in; what waits is still written.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    /// Waits for requests and takes all of them; `None` once closed and empty.
    fn take(&self) -> Option<VecDeque<Request>> {
        let mut state = self.lock();
        while state.requests.is_empty() {
            if state.closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.bytes = 0;
        Some(std::mem::take(&mut state.requests))
    }

    /// From now on every push is refused; returns what was waiting.
    fn fail(&self, error: &Arc<io::Error>) -> VecDeque<Request> {
        let mut state = self.lock();
        state.failed = Some(Arc::clone(error));
        std::mem::take(&mut state.requests)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Request {
    fn bytes(&self) -> usize {
        match self {
            Self::Append { payload, .. } => payload.len(),
            Self::Roll { .. } => 0,
        }
    }

    fn refuse(self, cause: &Arc<io::Error>) {
        let error = LogError::ReadOnly { source: Arc::clone(cause) };
        // A caller that no longer waits needs no answer.
        match self {
            Self::Append { answer, .. } => drop(answer.send(Err(error))),
            Self::Roll { answer } => drop(answer.send(Err(error))),
        }
    }
}

/// The segment that is written to.
pub struct Tail {
    pub file: Arc<dyn DiskFile>,
    pub segment: u64,
    pub salt: u64,
    pub end: u64,
}

pub struct Committer {
    shared: Arc<Shared>,
    tail: Tail,
    sequence_next: u64,
}

/// Records that are written and flushed together.
#[derive(Default)]
struct Group {
    headers: Vec<[u8; RECORD_HEADER_BYTES]>,
    payloads: Vec<Bytes>,
    bytes: u64,
    answers: Vec<(Position, Answer<Position>)>,
}

impl Committer {
    /// Continues the recovered tail, or begins the first segment.
    pub fn new(shared: Arc<Shared>, tail: Option<Tail>, sequence_next: u64) -> Result<Self, LogError> {
        let tail = match tail {
            Some(tail) => tail,
            None => create_segment(&shared, 1, sequence_next).map_err(|source| LogError::Io {
                action: "begin a log in",
                path: shared.dir.clone(),
                source,
            })?,
        };
        Ok(Self { shared, tail, sequence_next })
    }

    pub fn run(mut self) {
        while let Some(mut requests) = self.shared.queue.take() {
            if let Err(error) = self.commit(&mut requests) {
                tracing::error!(%error, dir = %self.shared.dir.display(), "the log failed to write and is now read-only");
                let error = Arc::new(error);
                requests.extend(self.shared.queue.fail(&error));
                requests.into_iter().for_each(|request| request.refuse(&error));
                // From here on `push` refuses; there is nothing left to take.
                return;
            }
        }
    }

    /// Serves the requests in order. On failure those that were not answered are left in `requests`.
    fn commit(&mut self, requests: &mut VecDeque<Request>) -> io::Result<()> {
        let mut group = Group::default();
        while let Some(request) = requests.pop_front() {
            match request {
                Request::Append { payload, payload_crc, answer } => {
                    let bytes = (RECORD_HEADER_BYTES + payload.len()) as u64;
                    let end = self.tail.end + group.bytes;
                    if SEGMENT_HEADER_BYTES < end && self.shared.options.segment_bytes < end + bytes {
                        self.flush_or_return(&mut group, requests)?;
                        if let Err(error) = self.begin_segment() {
                            requests.push_front(Request::Append { payload, payload_crc, answer });
                            return Err(error);
                        }
                    }
                    group.push(&self.tail, self.sequence_next, payload, payload_crc, answer);
                }
                Request::Roll { answer } => {
                    self.flush_or_return(&mut group, requests)?;
                    if let Err(error) = self.begin_segment() {
                        requests.push_front(Request::Roll { answer });
                        return Err(error);
                    }
                    let _not_waiting = answer.send(Ok(self.tail.segment));
                }
            }
        }
        self.flush_or_return(&mut group, requests)
    }

    /// Flushes the group; on failure its records go back to be refused with the others.
    fn flush_or_return(&mut self, group: &mut Group, requests: &mut VecDeque<Request>) -> io::Result<()> {
        let group = std::mem::take(group);
        if group.answers.is_empty() {
            return Ok(());
        }
        let slices: Vec<&[u8]> =
            group.headers.iter().zip(&group.payloads).flat_map(|(header, payload)| [&header[..], payload]).collect();
        let written = self.tail.file.write_at(&slices, self.tail.end).and_then(|()| self.sync(&*self.tail.file));
        if let Err(error) = written {
            for ((_, answer), payload) in group.answers.into_iter().zip(group.payloads).rev() {
                requests.push_front(Request::Append { payload, payload_crc: 0, answer });
            }
            return Err(error);
        }
        self.tail.end += group.bytes;
        self.sequence_next += group.answers.len() as u64;
        for (position, answer) in group.answers {
            let _not_waiting = answer.send(Ok(position));
        }
        Ok(())
    }

    /// Architecture invariant: everything in older segments is durable before a newer one exists, so only the last
    /// segment can have a torn tail.
    fn begin_segment(&mut self) -> io::Result<()> {
        self.tail = create_segment(&self.shared, self.tail.segment + 1, self.sequence_next)?;
        Ok(())
    }

    fn sync(&self, file: &dyn DiskFile) -> io::Result<()> {
        if self.shared.options.fsync { file.sync() } else { Ok(()) }
    }
}

impl Group {
    fn push(&mut self, tail: &Tail, sequence_first: u64, payload: Bytes, payload_crc: u32, answer: Answer<Position>) {
        let len = u32::try_from(payload.len()).expect("the queue refuses a record that exceeds record_bytes_max");
        let sequence = sequence_first + self.answers.len() as u64;
        let header = RecordHeader { len, sequence, group: sequence_first, payload_crc };
        let position = Position { segment: tail.segment, offset: tail.end + self.bytes, len };
        self.bytes += (RECORD_HEADER_BYTES + payload.len()) as u64;
        self.headers.push(header.encode(tail.salt));
        self.payloads.push(payload);
        self.answers.push((position, answer));
    }
}

/// Makes a segment file with its header, durable in content and name.
fn create_segment(shared: &Shared, segment: u64, sequence_first: u64) -> io::Result<Tail> {
    // RandomState is seeded by the operating system.
    let salt = RandomState::new().build_hasher().finish();
    let file = shared.disk.open(&segment_path(&shared.dir, segment), true)?;
    file.set_len(0)?;
    file.write_at(&[&SegmentHeader { segment, salt, sequence_first }.encode()], 0)?;
    if shared.options.fsync {
        file.sync()?;
        shared.disk.sync_dir(&shared.dir)?;
    }
    shared.lock_segments().salts.insert(segment, salt);
    Ok(Tail { file, segment, salt, end: SEGMENT_HEADER_BYTES })
}
