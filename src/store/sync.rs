//! The types of which the lock-free parts of the store are made. A model checker replaces them by its own.

pub(super) use std::hint::spin_loop;
pub(super) use std::sync::Mutex;
pub(super) use std::sync::atomic::{AtomicU64, Ordering};
pub(super) use std::thread::yield_now;
