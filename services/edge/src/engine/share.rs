//! How much a connection moves before the others of its thread have their turn. A peer that is faster than the edge would
//! keep its thread to itself: the runtime counts operations, and one of them may move a quarter of a megabyte.

use crate::limits::SHARE_BYTES_MAX;
use std::task::Context;

pub(super) struct Share {
    left: usize,
}

impl Share {
    pub fn new() -> Self {
        Self { left: SHARE_BYTES_MAX }
    }

    /// Bytes were moved. Once it is used up the task is woken again, and is to say that it waits.
    pub fn is_used_up(&mut self, bytes: usize, context: &Context<'_>) -> bool {
        self.left = self.left.saturating_sub(bytes);
        if self.left == 0 {
            context.waker().wake_by_ref();
        }
        self.left == 0
    }
}
