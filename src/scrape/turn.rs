//! A lock that may be given back from another place than it was taken.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

#[derive(Default)]
pub(super) struct Turn {
    taken: Mutex<bool>,
    given_back: Condvar,
}

/// Gives the turn back when it is dropped.
#[must_use]
pub(super) struct Held<'a>(&'a Turn);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.give_back();
    }
}

impl Turn {
    /// Waits until nobody has it.
    pub(super) fn wait(&self) {
        drop(self.free());
    }

    /// Takes it, for one who gives it back himself.
    pub(super) fn take(&self) {
        *self.free() = true;
    }

    /// Takes it until the guard is dropped, even by a panic.
    pub(super) fn hold(&self) -> Held<'_> {
        self.take();
        Held(self)
    }

    /// Does so unless somebody else has it.
    pub(super) fn try_hold(&self) -> Option<Held<'_>> {
        (!std::mem::replace(&mut *self.lock(), true)).then(|| Held(self))
    }

    pub(super) fn give_back(&self) {
        *self.lock() = false;
        self.given_back.notify_all();
    }

    fn free(&self) -> MutexGuard<'_, bool> {
        self.given_back.wait_while(self.lock(), |taken| *taken).unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
