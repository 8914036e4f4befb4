//! One timer per connection, whatever it waits for. Moving its deadline further away costs nothing: the timer underneath
//! is moved when it goes off too early, about once a minute on a busy connection.

use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

#[derive(Debug)]
pub(super) struct Timer {
    deadline: Instant,
    /// Made when something is first waited for.
    sleep: Option<Pin<Box<Sleep>>>,
    /// The task will be woken by it.
    is_set: bool,
}

impl Timer {
    pub fn new(deadline: Instant) -> Self {
        Self { deadline, sleep: None, is_set: false }
    }

    pub fn set(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    pub fn set_in(&mut self, length: Duration) {
        self.deadline = Instant::now() + length;
    }

    /// Whether the deadline has passed; else the task is woken when it has. Always asked by the same task.
    pub fn has_passed(&mut self, context: &mut Context<'_>) -> bool {
        let deadline = self.deadline;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if deadline < sleep.deadline() {
            sleep.as_mut().reset(deadline);
            self.is_set = false;
        }
        loop {
            if self.is_set && !sleep.is_elapsed() {
                return false;
            }
            // A task whose budget is used up would be told to wait, and the timer would not know of it.
            if pin!(unconstrained(sleep.as_mut())).poll(context) == Poll::Pending {
                self.is_set = true;
                return false;
            }
            if sleep.deadline() >= deadline {
                return true;
            }
            sleep.as_mut().reset(deadline);
            self.is_set = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    async fn passes(timer: &mut Timer) {
        poll_fn(|context| if timer.has_passed(context) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    #[tokio::test]
    async fn it_goes_off_though_it_was_set_by_a_task_that_had_used_its_budget_up() {
        let mut timer = Timer::new(Instant::now() + Duration::from_millis(20));
        let mut is_used_up = false;
        let passes = poll_fn(|context| {
            while !is_used_up {
                is_used_up = pin!(tokio::task::coop::consume_budget()).poll(context) == Poll::Pending;
            }
            if timer.has_passed(context) { Poll::Ready(()) } else { Poll::Pending }
        });
        tokio::time::timeout(Duration::from_secs(10), passes).await.unwrap();
    }

    #[tokio::test]
    async fn it_goes_off_at_its_deadline_wherever_that_moved() {
        let begun = Instant::now();
        let mut timer = Timer::new(begun + Duration::from_millis(20));
        let asked = poll_fn(|context| Poll::Ready(timer.has_passed(context))).await;
        assert!(!asked);
        timer.set_in(Duration::from_millis(60));
        passes(&mut timer).await;
        assert!(begun.elapsed() >= Duration::from_millis(60));
        timer.set_in(Duration::from_secs(3600));
        assert!(!poll_fn(|context| Poll::Ready(timer.has_passed(context))).await);
        timer.set_in(Duration::from_millis(5));
        passes(&mut timer).await;
        assert!(begun.elapsed() < Duration::from_secs(60));
    }
}
