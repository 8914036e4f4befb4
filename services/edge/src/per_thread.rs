//! A value for each thread of the engine, so that no request writes to memory that another thread writes to: counts of
//! requests on a machine of many cores would otherwise cost more than the requests. Who wants the whole reads all of them.

use crate::limits::THREADS_MAX;
use std::cell::Cell;
use std::num::NonZero;
use std::sync::OnceLock;
use std::sync::atomic::{Ordering::SeqCst, fence};
use std::thread::available_parallelism;

/// Threads of an engine: one per core this process may use.
pub(crate) fn threads() -> usize {
    static THREADS: OnceLock<usize> = OnceLock::new();
    *THREADS.get_or_init(|| available_parallelism().map_or(1, NonZero::get).min(THREADS_MAX))
}

thread_local! {
    static INDEX: Cell<usize> = const { Cell::new(0) };
}

/// Says which of the engine's threads this one is; every other thread counts as the first.
pub(crate) fn enter(index: usize) {
    INDEX.set(index);
}

/// Which of the engine's threads this one is.
pub(crate) fn index() -> usize {
    INDEX.get()
}

/// One `T` per thread, made when its thread first asks for it: of thousands of routes few are busy on every core.
#[derive(Debug)]
pub(crate) struct PerThread<T>(Box<[OnceLock<Box<Lines<T>>>]>);

/// Cache lines of its own; 128 bytes, since processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Lines<T>(T);

impl<T: Default> PerThread<T> {
    /// This thread's.
    pub fn here(&self) -> &T {
        self.of(index())
    }

    pub fn of(&self, index: usize) -> &T {
        &self.0[index].get().map_or_else(|| self.make(index), Box::as_ref).0
    }

    #[cold]
    fn make(&self, index: usize) -> &Lines<T> {
        let made = self.0[index].get_or_init(Box::default);
        // Before whatever the caller does next, for those who read all of them: see there.
        fence(SeqCst);
        made
    }

    /// Those that were ever asked for, with their threads.
    pub fn each(&self) -> impl Iterator<Item = (usize, &T)> {
        self.0.iter().enumerate().filter_map(|(index, cell)| Some((index, &cell.get()?.0)))
    }

    /// Those that were ever asked for. Who does something sequentially consistent before, which a thread did not see after
    /// it had asked for its own, sees that thread's.
    pub fn all(&self) -> impl Iterator<Item = &T> {
        fence(SeqCst);
        self.0.iter().filter_map(|cell| Some(&cell.get()?.0))
    }
}

impl<T> Default for PerThread<T> {
    fn default() -> Self {
        Self((0..threads()).map(|_| OnceLock::new()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    #[test]
    fn each_thread_has_its_own_and_all_are_read_together() {
        let counts = PerThread::<AtomicU64>::default();
        std::thread::scope(|scope| {
            for index in 0..threads() {
                let counts = &counts;
                scope.spawn(move || {
                    enter(index);
                    counts.here().fetch_add(1, Relaxed);
                });
            }
        });
        assert_eq!(counts.all().count(), threads());
        assert!(counts.all().all(|count| count.load(Relaxed) == 1));
    }
}
