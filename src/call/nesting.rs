//! Detects calls inside calls, so that each logical call is counted once.
//!
//! A driver may implement its stream by calling its own `generate`, and a decorator may wrap a driver that records calls itself.
//! A call inside another one of the same provider, model and operation is therefore a part of it. Only code in the same task
//! counts as inside.

use std::cell::RefCell;
use std::mem::{self, ManuallyDrop};
use std::sync::{Arc, Mutex, MutexGuard};

use super::Facts;
use crate::lock::unpoisoned;

thread_local! {
    /// The innermost call whose code is running on this thread. It is empty when the thread ends; without a destructor it can be
    /// used even then.
    static CURRENT: ManuallyDrop<RefCell<Option<Arc<Frame>>>> = const { ManuallyDrop::new(RefCell::new(None)) };
}

/// Provider, model and operation of a call.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    lengths: [usize; 3],
    /// One after the other.
    texts: Texts,
}

#[derive(Clone, Debug)]
enum Texts {
    /// Kept in place, as nearly all are.
    Short([u8; Texts::SHORT]),
    Long(Box<[u8]>),
}

impl Texts {
    const SHORT: usize = 63;

    fn all(&self) -> &[u8] {
        match self {
            Self::Short(all) => all,
            Self::Long(all) => all,
        }
    }
}

impl Identity {
    pub(super) fn new(names: [&str; 3]) -> Self {
        let mut short = [0; Texts::SHORT];
        let mut rest = &mut short[..];
        let mut texts = None;
        for name in names {
            let Some((place, after)) = rest.split_at_mut_checked(name.len()) else {
                texts = Some(Texts::Long(names.concat().into_bytes().into()));
                break;
            };
            place.copy_from_slice(name.as_bytes());
            rest = after;
        }
        Self { lengths: names.map(str::len), texts: texts.unwrap_or(Texts::Short(short)) }
    }

    fn is(&self, names: [&str; 3]) -> bool {
        let mut rest = self.texts.all();
        names.map(str::len) == self.lengths
            && names.iter().all(|name| {
                let (text, after) = rest.split_at(name.len());
                rest = after;
                text == name.as_bytes()
            })
    }
}

/// A call, as seen by the code that runs inside it.
#[derive(Debug)]
pub(super) struct Frame {
    identity: Identity,
    parent: Option<Arc<Frame>>,
    /// The facts of inner calls; `None` after the call has ended.
    inner_facts: Mutex<Option<Facts>>,
}

impl Frame {
    pub(super) fn new(identity: Identity) -> Arc<Self> {
        let parent = CURRENT.with(|current| current.borrow().clone());
        Arc::new(Self { identity, parent, inner_facts: Mutex::new(Some(Facts::default())) })
    }

    /// Whether the current code runs inside any call.
    #[inline]
    pub(super) fn is_inside_a_call() -> bool {
        CURRENT.with(|current| current.borrow().is_some())
    }

    /// Returns the innermost enclosing call of this provider, model and operation that has not ended.
    #[inline(never)]
    pub(super) fn enclosing(names: [&str; 3]) -> Option<Arc<Self>> {
        let find = |current: &ManuallyDrop<RefCell<Option<Arc<Self>>>>| {
            let current = current.borrow();
            let mut frames = std::iter::successors(current.as_ref(), |frame| frame.parent.as_ref());
            frames.find(|frame| frame.identity.is(names) && frame.lock().is_some()).cloned()
        };
        CURRENT.with(find)
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

/// Replaces the current frame.
fn replace(frame: Option<Arc<Frame>>) -> Option<Arc<Frame>> {
    CURRENT.with(|current| current.replace(frame))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn calls_are_the_same_if_all_their_names_are(
            names in prop::array::uniform3("[ab]{0,2}|[a-z]{0,40}"),
            others in prop::array::uniform3("[ab]{0,2}"),
        ) {
            let identity = Identity::new(names.each_ref().map(String::as_str));
            prop_assert!(identity.is(names.each_ref().map(String::as_str)));
            prop_assert_eq!(identity.is(others.each_ref().map(String::as_str)), names == others);
        }
    }
}
