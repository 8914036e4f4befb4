//! The connections of a thread, so that they can be woken together: a connection that idles looks only then whether it is
//! still wanted.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::Waker;
use tokio::sync::Notify;

#[derive(Debug, Default)]
pub(super) struct Registry {
    entries: RefCell<Entries>,
    /// Woken whenever a connection has ended.
    pub ended: Notify,
}

#[derive(Debug, Default)]
struct Entries {
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

/// A connection's entry, until it is dropped.
pub(super) struct Entry {
    registry: Rc<Registry>,
    position: usize,
}

impl Registry {
    /// Enters a connection, whose task has yet to say how it is woken.
    pub fn enter(self: &Rc<Self>) -> Entry {
        let Entries { wakers, free } = &mut *self.entries.borrow_mut();
        let position = free.pop().unwrap_or_else(|| {
            wakers.push(None);
            wakers.len() - 1
        });
        Entry { registry: self.clone(), position }
    }

    pub fn len(&self) -> usize {
        let entries = self.entries.borrow();
        entries.wakers.len() - entries.free.len()
    }

    pub fn wake_all(&self) {
        self.entries.borrow().wakers.iter().flatten().for_each(Waker::wake_by_ref);
    }
}

impl Entry {
    pub fn wake_by(&self, waker: &Waker) {
        self.registry.entries.borrow_mut().wakers[self.position] = Some(waker.clone());
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let entries = &mut *self.registry.entries.borrow_mut();
        entries.wakers[self.position] = None;
        entries.free.push(self.position);
        self.registry.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_taken_again() {
        let registry = Rc::new(Registry::default());
        let (first, second) = (registry.enter(), registry.enter());
        assert_eq!((first.position, second.position, registry.len()), (0, 1, 2));
        drop(first);
        assert_eq!(registry.len(), 1);
        assert_eq!(registry.enter().position, 0);
        drop(second);
        assert_eq!(registry.len(), 0);
    }
}
