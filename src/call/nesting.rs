//! Calls inside calls of one task.
//!
//! A driver may fake a stream by calling its own `generate`, a decorator may wrap a driver that is instrumented itself: what one
//! task does inside a call for the same provider, model and operation is a part of that call, and is counted once.

use std::cell::RefCell;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Facts;

thread_local! {
    static CURRENT: RefCell<Option<Arc<Frame>>> = const { RefCell::new(None) };
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
    /// Without memory of their own: nearly all.
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
    pub(super) const NONE: Self = Self { lengths: [0; 3], texts: Texts::Short([0; Texts::SHORT]) };

    #[inline]
    pub(super) fn set(&mut self, names: [&str; 3]) {
        self.lengths = names.map(str::len);
        if let Texts::Short(short) = &mut self.texts {
            let mut rest = &mut short[..];
            for name in names {
                let Some((place, after)) = rest.split_at_mut_checked(name.len()) else {
                    self.texts = Texts::Long(names.concat().into_bytes().into());
                    return;
                };
                place.copy_from_slice(name.as_bytes());
                rest = after;
            }
        }
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

/// A call whose inside is being run.
#[derive(Debug)]
pub(super) struct Frame {
    identity: Identity,
    parent: Option<Arc<Frame>>,
    /// What inner calls have told; `None` when the call has ended, and has no inside any more.
    handed_up: Mutex<Option<Facts>>,
}

impl Frame {
    pub(super) fn new(identity: Identity) -> Arc<Self> {
        let parent = CURRENT.try_with(|current| current.borrow().clone()).ok().flatten();
        Arc::new(Self { identity, parent, handed_up: Mutex::new(Some(Facts::default())) })
    }

    /// Whether the current code runs inside any call.
    #[inline]
    pub(super) fn is_inside_of_one() -> bool {
        CURRENT.try_with(|current| current.borrow().is_some()).unwrap_or(false)
    }

    /// Finds the call of this provider, model and operation inside which the current code runs.
    #[inline(never)]
    pub(super) fn enclosing(names: [&str; 3]) -> Option<Arc<Self>> {
        let find = |current: &RefCell<Option<Arc<Self>>>| {
            let current = current.borrow();
            let mut frames = std::iter::successors(current.as_ref(), |frame| frame.parent.as_ref());
            frames.find(|frame| frame.identity.is(names) && frame.lock().is_some()).cloned()
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
        self.handed_up.lock().unwrap_or_else(PoisonError::into_inner)
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
            let mut identity = Identity::NONE;
            identity.set(names.each_ref().map(String::as_str));
            prop_assert!(identity.is(names.each_ref().map(String::as_str)));
            prop_assert_eq!(identity.is(others.each_ref().map(String::as_str)), names == others);
        }
    }
}
