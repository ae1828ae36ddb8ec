//! Notices that a process is the child of a fork.
//!
//! The child has a copy of everything except the threads, and shares sockets and event queues with its parent: a lock may be held
//! for ever by a thread that is not there, and what is closed there may stop working here. So the child neither records nor stops
//! anything that its parent has made.

use std::sync::atomic::{AtomicU32, Ordering};

/// How many forks are between this process and the first one in which [`Origin::here`] was called.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// The process in which something was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin(u32);

impl Origin {
    pub(crate) fn here() -> Self {
        watch();
        Self(GENERATION.load(Ordering::Relaxed))
    }

    /// Whether this process is a child of the one in which it was made.
    #[inline]
    pub(crate) fn is_forked(self) -> bool {
        GENERATION.load(Ordering::Relaxed) != self.0
    }
}

/// Makes every child count as one, from its first instruction on. Comparing process ids instead would take a system call for each
/// call that is recorded.
#[cfg(all(feature = "install", unix))]
#[expect(unsafe_code, reason = "only `pthread_atfork` tells a process that it was forked")]
fn watch() {
    use std::sync::Once;

    static WATCHED: Once = Once::new();
    WATCHED.call_once(|| {
        // SAFETY: the function stays loaded with the program, and does only what a child may do before `exec`: it stores to atomics.
        // Without memory for it the call fails, and then forks go unnoticed.
        unsafe { libc::pthread_atfork(None, None, Some(begin_child)) };
    });
}

/// A library that only records leaves it to the program to watch.
#[cfg(not(all(feature = "install", unix)))]
fn watch() {}

#[cfg(all(feature = "install", unix))]
extern "C" fn begin_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    crate::current::forget_global();
}
