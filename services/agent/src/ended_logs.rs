//! The last output of the tasks that ended last.
//!
//! A controller forgets a failed task soon, and with it goes all the runtime has of it; yet what a task said before it
//! failed is what people ask for next. So the ends of its logs are kept here, in memory: a few MiB at most, pushed out by
//! later tasks and gone with the agent.

use runtime::{LogSlice, Runtime, Stream};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Tasks whose logs are kept.
const TASKS_MAX: usize = 10;
/// Kept of each of a task's two streams: what one answer carries.
const STREAM_BYTES_MAX: usize = protocol::LOG_CHUNK_BYTES_MAX;
/// The removal of a task waits no longer for its logs to be read.
const READ_MAX: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
pub(crate) struct EndedLogs {
    /// The one that ended last is the last.
    tasks: Mutex<VecDeque<EndedTask>>,
}

#[derive(Debug)]
struct EndedTask {
    id: String,
    stdout: LogSlice,
    stderr: LogSlice,
}

impl EndedLogs {
    /// Takes over what the runtime still has; a task that has left nothing pushes no other out.
    pub(crate) async fn keep(&self, runtime: &dyn Runtime, task_id: &str) {
        let read = |stream| runtime.logs(task_id, stream, None, STREAM_BYTES_MAX);
        let both = async { Ok::<_, runtime::Error>((read(Stream::Stdout).await?, read(Stream::Stderr).await?)) };
        let Ok(Ok((stdout, stderr))) = tokio::time::timeout(READ_MAX, both).await else { return };
        if stdout.data.is_empty() && stderr.data.is_empty() {
            return;
        }
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.retain(|task| task.id != task_id);
        tasks.push_back(EndedTask { id: task_id.to_owned(), stdout, stderr });
        if tasks.len() > TASKS_MAX {
            tasks.pop_front();
        }
    }

    /// As [`Runtime::logs`] answers; `None` for a task that is not kept.
    pub(crate) fn read(&self, task_id: &str, stream: Stream, offset: Option<u64>, length: usize) -> Option<LogSlice> {
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let task = tasks.iter().find(|task| task.id == task_id)?;
        let kept = match stream {
            Stream::Stdout => &task.stdout,
            Stream::Stderr => &task.stderr,
        };
        let last = kept.data.len().saturating_sub(length);
        let from = offset.map_or(last, |offset| {
            usize::try_from(offset.saturating_sub(kept.offset)).unwrap_or(usize::MAX).min(kept.data.len())
        });
        let to = from.saturating_add(length).min(kept.data.len());
        Some(LogSlice { offset: kept.offset + from as u64, data: kept.data.slice(from..to) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_log_is_read_by_the_offsets_it_had() {
        let logs = EndedLogs::default();
        let slice = |offset, data: &'static str| LogSlice { offset, data: data.into() };
        let task = EndedTask { id: "t".to_owned(), stdout: slice(100, "0123456789"), stderr: slice(0, "") };
        logs.tasks.lock().unwrap().push_back(task);
        let read = |offset, length| logs.read("t", Stream::Stdout, offset, length).unwrap();
        assert_eq!(read(Some(103), 4), slice(103, "3456"));
        assert_eq!(read(Some(108), usize::MAX), slice(108, "89"));
        assert_eq!(read(Some(0), 2), slice(100, "01"));
        assert_eq!(read(Some(u64::MAX), 2), slice(110, ""));
        assert_eq!(read(None, 3), slice(107, "789"));
        assert_eq!(logs.read("t", Stream::Stderr, None, 3), Some(slice(0, "")));
        assert_eq!(logs.read("other", Stream::Stdout, None, 3), None);
    }
}
