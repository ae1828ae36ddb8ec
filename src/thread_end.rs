//! Whether the thread-locals of this thread are being dropped.
//!
//! A program may record something in the destructor of a thread-local. Subscribers have thread-locals too, and panic when they are
//! used after their own destructors. Thread-locals are dropped in the reverse order of their first use: one that is first used right
//! after a subscriber has used its own is dropped before them, and tells.

use std::cell::Cell;

thread_local! {
    /// It has no destructor, so that it can be read at any time.
    static IS_ENDING: Cell<bool> = const { Cell::new(false) };

    // Subscribers use different thread-locals for each of these.
    static NEW_SPAN: Sentinel = const { Sentinel };
    static ENTER: Sentinel = const { Sentinel };
    #[cfg(feature = "install")]
    static EVENT: Sentinel = const { Sentinel };
}

struct Sentinel;

impl Drop for Sentinel {
    fn drop(&mut self) {
        IS_ENDING.set(true);
    }
}

/// Whether a subscriber may panic on this thread.
#[inline]
pub(crate) fn is_ending() -> bool {
    IS_ENDING.get()
}

/// To be called after a subscriber has got a new span.
#[inline]
pub(crate) fn watch_new_span() {
    let _ = NEW_SPAN.try_with(|_| ());
}

/// To be called after a span has been entered.
#[inline]
pub(crate) fn watch_enter() {
    let _ = ENTER.try_with(|_| ());
}

/// To be called after a subscriber has got an event.
#[cfg(feature = "install")]
#[inline]
pub(crate) fn watch_event() {
    let _ = EVENT.try_with(|_| ());
}
