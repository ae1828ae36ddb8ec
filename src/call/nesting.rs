//! Detects calls inside calls, so that each logical call is counted once.
//!
//! A driver may implement its stream by calling its own `generate`, and a decorator may wrap a driver that records calls itself.
//! A call inside another one of the same provider, model and operation is therefore a part of it. Only code in the same task
//! counts as inside.

use std::cell::RefCell;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard};

use super::Facts;
use crate::lock::unpoisoned;

thread_local! {
    /// The innermost call whose code is running on this thread.
    static CURRENT: RefCell<Option<Arc<Frame>>> = const { RefCell::new(None) };
}

/// A call, as seen by the code that runs inside it.
#[derive(Debug)]
pub(super) struct Frame {
    /// Provider, model and operation.
    identity: [Box<str>; 3],
    parent: Option<Arc<Frame>>,
    /// The facts of inner calls; `None` after the call has ended.
    inner_facts: Mutex<Option<Facts>>,
}

impl Frame {
    pub(super) fn new(identity: [&str; 3]) -> Arc<Self> {
        let parent = CURRENT.try_with(|current| current.borrow().clone()).ok().flatten();
        Arc::new(Self { identity: identity.map(Box::from), parent, inner_facts: Mutex::new(Some(Facts::default())) })
    }

    /// Returns the innermost enclosing call of this provider, model and operation that has not ended.
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

    /// Makes this call the enclosing one on this thread, until the guard is dropped.
    pub(super) fn enter(self: &Arc<Self>) -> FrameGuard {
        FrameGuard { outer: replace(Some(Arc::clone(self))) }
    }

    /// Adds the facts of an inner call that has ended. The tokens of several inner calls, such as retries, add up.
    pub(super) fn hand_up(&self, facts: Facts) {
        if let Some(inner_facts) = &mut *self.lock() {
            inner_facts.add(facts);
        }
    }

    /// Returns the facts of inner calls since the last time this was called.
    pub(super) fn take_handed_up(&self) -> Facts {
        self.lock().as_mut().map(mem::take).unwrap_or_default()
    }

    /// Marks the call as ended and returns the remaining facts of inner calls. Later inner calls are calls of their own.
    pub(super) fn close(&self) -> Facts {
        self.lock().take().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Facts>> {
        unpoisoned(self.inner_facts.lock())
    }
}

/// Restores the outer call when it is dropped.
#[must_use]
pub(super) struct FrameGuard {
    outer: Option<Arc<Frame>>,
}

impl Drop for FrameGuard {
    fn drop(&mut self) {
        replace(self.outer.take());
    }
}

/// Replaces the current frame. At the end of a thread, after its thread locals were dropped, this does nothing.
fn replace(frame: Option<Arc<Frame>>) -> Option<Arc<Frame>> {
    CURRENT.try_with(|current| current.replace(frame)).ok().flatten()
}
