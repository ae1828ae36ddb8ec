//! Calls inside calls of one task.
//!
//! A driver may fake a stream by calling its own `generate`, a decorator may wrap a driver that is instrumented itself: what one
//! task does inside a call for the same provider, model and operation is a part of that call, and is counted once.

use std::cell::RefCell;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard};

use super::Facts;
use crate::lock::unpoisoned;

thread_local! {
    static CURRENT: RefCell<Option<Arc<Frame>>> = const { RefCell::new(None) };
}

/// A call whose inside is being run.
#[derive(Debug)]
pub(super) struct Frame {
    identity: [Box<str>; 3],
    parent: Option<Arc<Frame>>,
    /// What inner calls have told; `None` when the call has ended, and has no inside any more.
    handed_up: Mutex<Option<Facts>>,
}

impl Frame {
    pub(super) fn new(identity: [&str; 3]) -> Arc<Self> {
        let parent = CURRENT.try_with(|current| current.borrow().clone()).ok().flatten();
        Arc::new(Self { identity: identity.map(Box::from), parent, handed_up: Mutex::new(Some(Facts::default())) })
    }

    /// Finds the call of this provider, model and operation inside which the current code runs.
    pub(super) fn enclosing(identity: [&str; 3]) -> Option<Arc<Self>> {
        let find = |current: &RefCell<Option<Arc<Self>>>| {
            let current = current.borrow();
            let mut frames = std::iter::successors(current.as_ref(), |frame| frame.parent.as_ref());
            frames
                .find(|frame| frame.identity.iter().map(|part| &**part).eq(identity) && frame.lock().is_some())
                .cloned()
        };
        CURRENT.try_with(find).ok().flatten()
    }

    /// Makes the code that runs until the guard is dropped the inside of this call.
    pub(super) fn enter(self: &Arc<Self>) -> Entered {
        Entered { outer: replace(Some(Arc::clone(self))) }
    }

    /// Takes what an inner call has learnt; several of them, such as retries, add up.
    pub(super) fn hand_up(&self, facts: Facts) {
        if let Some(handed_up) = &mut *self.lock() {
            handed_up.add(facts);
        }
    }

    /// Returns what has been handed up since it was last asked.
    pub(super) fn take_handed_up(&self) -> Facts {
        self.lock().as_mut().map(mem::take).unwrap_or_default()
    }

    /// Returns the same, for the last time.
    pub(super) fn close(&self) -> Facts {
        self.lock().take().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Facts>> {
        unpoisoned(self.handed_up.lock())
    }
}

/// Puts the enclosing call back when it is dropped.
#[must_use]
pub(super) struct Entered {
    outer: Option<Arc<Frame>>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        replace(self.outer.take());
    }
}

/// Does nothing at the end of a thread, when its locals are gone.
fn replace(frame: Option<Arc<Frame>>) -> Option<Arc<Frame>> {
    CURRENT.try_with(|current| current.replace(frame)).ok().flatten()
}
