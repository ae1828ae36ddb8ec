//! A lock that may be given back from another place than it was taken.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

#[derive(Default)]
pub(super) struct Turn {
    taken: Mutex<bool>,
    given_back: Condvar,
}

impl Turn {
    /// Waits until nobody has it.
    pub(super) fn wait(&self) {
        drop(self.free());
    }

    pub(super) fn take(&self) {
        *self.free() = true;
    }

    /// Takes it unless somebody else has it; says whether it was taken.
    pub(super) fn try_take(&self) -> bool {
        !std::mem::replace(&mut *self.lock(), true)
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
