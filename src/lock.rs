//! Locks that are used even after a panic has poisoned them.

use std::sync::{LockResult, PoisonError};

/// Returns the guard of a `Mutex`, an `RwLock` or a `Condvar` even if the lock is poisoned.
///
/// The values behind the locks of this crate are valid after every statement, and a panic in one thread must not spread to others
/// through the telemetry.
pub(crate) fn unpoisoned<G>(guard: LockResult<G>) -> G {
    guard.unwrap_or_else(PoisonError::into_inner)
}
