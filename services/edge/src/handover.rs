//! What the engine's threads have to say, handed over to the one that writes it down. Saying it never waits, not even for a
//! lock: what a thread says goes into one of two halves, of which the reader holds one at most, and only to take what is in it.
//! What does not fit is dropped and counted.

use crate::count::Counter;
use crate::per_thread::PerThread;
use crate::servers::lock;
use std::fmt;
use std::mem;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// The reader may move on to the very half that is tried next; it takes each of them once in a tenth of a second.
const TRIES: usize = 16;

pub(crate) struct Handover<T> {
    lanes: PerThread<Lane<T>>,
    /// Somebody said something since the reader was woken.
    has_news: AtomicBool,
    /// Wakes the reader.
    wake: Box<dyn Fn() + Send + Sync>,
    /// Elements of a half; one more thing is taken while there are fewer.
    half_max: usize,
}

/// A thread's.
#[derive(Debug)]
struct Lane<T> {
    halves: [Mutex<Vec<T>>; 2],
    dropped: Counter,
}

impl<T> Default for Lane<T> {
    fn default() -> Self {
        Self { halves: Default::default(), dropped: Counter::default() }
    }
}

impl<T> fmt::Debug for Handover<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handover").field("half_max", &self.half_max).finish_non_exhaustive()
    }
}

impl<T> Handover<T> {
    pub fn new(half_max: usize, wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self { lanes: PerThread::default(), has_news: AtomicBool::new(false), wake: Box::new(wake), half_max }
    }

    /// Says something: `put` adds it to what was said before.
    pub fn say(&self, put: impl FnOnce(&mut Vec<T>)) {
        let lane = self.lanes.here();
        let half = lane.halves.iter().cycle().take(TRIES).find_map(|half| half.try_lock().ok());
        match half.filter(|half| half.len() < self.half_max) {
            Some(mut half) => put(&mut half),
            None => return lane.dropped.add(1),
        }
        if !self.has_news.load(SeqCst) && !self.has_news.swap(true, SeqCst) {
            (self.wake)();
        }
    }

    /// Takes what was said, a thread's after the other's.
    pub fn take(&self, mut with: impl FnMut(Vec<T>)) {
        self.has_news.store(false, SeqCst);
        for half in self.lanes.all().flat_map(|lane| &lane.halves) {
            let said = mem::take(&mut *lock(half));
            if !said.is_empty() {
                with(said);
            }
        }
    }

    /// How much was dropped so far.
    pub fn dropped(&self) -> u64 {
        self.lanes.all().map(|lane| lane.dropped.get()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::per_thread::{enter, threads};
    use std::sync::atomic::AtomicUsize;
    use std::sync::{Arc, mpsc};

    #[test]
    fn nothing_is_lost_or_doubled_while_threads_talk_and_somebody_listens() {
        let (wake, woken) = mpsc::sync_channel(1);
        let handover = Handover::new(usize::MAX, move || {
            let _awake = wake.try_send(());
        });
        let (each, talking) = (20_000, AtomicUsize::new(threads()));
        let mut heard = Vec::new();
        std::thread::scope(|scope| {
            for index in 0..threads() {
                let (handover, talking) = (&handover, &talking);
                scope.spawn(move || {
                    enter(index);
                    for number in 0..each {
                        handover.say(|half| half.push(index * each + number));
                    }
                    talking.fetch_sub(1, SeqCst);
                });
            }
            while talking.load(SeqCst) > 0 {
                // The last word may have been heard already.
                let _news = woken.recv_timeout(std::time::Duration::from_millis(10));
                handover.take(|said| heard.extend(said));
            }
        });
        handover.take(|said| heard.extend(said));
        heard.sort_unstable();
        assert_eq!((heard.len(), handover.dropped()), (threads() * each, 0));
        assert!(heard.iter().enumerate().all(|(place, number)| place == *number));
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_counted_and_the_reader_is_woken_once() {
        let wakes = Arc::<AtomicUsize>::default();
        let counted = wakes.clone();
        let handover = Handover::new(3, move || {
            counted.fetch_add(1, SeqCst);
        });
        (0..5).for_each(|number| handover.say(|half| half.push(number)));
        assert_eq!((handover.dropped(), wakes.load(SeqCst)), (2, 1));
        let mut heard = Vec::new();
        handover.take(|said| heard.extend(said));
        assert_eq!(heard, [0, 1, 2]);
        handover.say(|half| half.push(5));
        assert_eq!((handover.dropped(), wakes.load(SeqCst)), (2, 2));
    }
}
