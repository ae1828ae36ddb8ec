//! Locks whose holder has panicked.

use std::sync::{LockResult, PoisonError};

/// Returns the guard also when a thread has panicked with the lock: of a `Mutex` or an `RwLock`, or from a wait on a `Condvar`.
///
/// What the locks of this crate guard is whole between any two statements, and telemetry must not carry a panic to other threads.
pub(crate) fn unpoisoned<G>(guard: LockResult<G>) -> G {
    guard.unwrap_or_else(PoisonError::into_inner)
}
