//! The spans that are entered on a thread: their calls are what the code inside finds as the current one.

use std::cell::RefCell;
use std::sync::Arc;

use super::bridge::Bridge;
use crate::call::{Inside, Outer};

struct Entered {
    bridge: Arc<Bridge>,
    /// The call, and what it has replaced as the innermost one; `None` before the call has started.
    place: Option<(Inside, Outer)>,
}

impl Entered {
    fn new(bridge: Arc<Bridge>) -> Self {
        let mut entered = Self { bridge, place: None };
        entered.take_place();
        entered
    }

    fn take_place(&mut self) {
        let inside = self.bridge.inside().cloned();
        self.place = inside.map(|inside| {
            let outer = inside.enter();
            (inside, outer)
        });
    }
}

thread_local! {
    /// The innermost last.
    static ENTERED: RefCell<Vec<Entered>> = const { RefCell::new(Vec::new()) };
}

/// Runs `change` on the spans of this thread; not at the end of the thread, which has none any more.
fn with<T>(change: impl FnOnce(&mut Vec<Entered>) -> T) -> Option<T> {
    ENTERED.try_with(|entered| entered.try_borrow_mut().ok().map(|mut entered| change(&mut entered))).ok().flatten()
}

/// Makes the call of a span the innermost one.
pub(super) fn enter(bridge: Arc<Bridge>) {
    with(|entered| entered.push(Entered::new(bridge)));
}

/// Makes a call the innermost one that has started while its span is entered.
pub(super) fn started(bridge: &Arc<Bridge>) {
    with(|entered| {
        if let Some(last) = entered.last_mut()
            && last.place.is_none()
            && Arc::ptr_eq(&last.bridge, bridge)
        {
            last.take_place();
        }
    });
}

/// Makes the call around the span the innermost one again.
pub(super) fn exit(bridge: &Arc<Bridge>) {
    // Dropped outside of the borrow: a call may end by it.
    let left = with(|entered| {
        let at = entered.iter().rposition(|entered| Arc::ptr_eq(&entered.bridge, bridge))?;
        let mut left = entered.remove(at);
        if let Some((inside, outer)) = left.place.take() {
            // Spans can be left in another order than they were entered.
            let above = entered[at..].iter_mut().find_map(|entered| entered.place.as_mut());
            match above {
                Some((_, replaced)) if inside.is(replaced) => *replaced = outer,
                Some(_) => {}
                None => inside.leave(outer),
            }
        }
        Some(left)
    });
    drop(left);
}
