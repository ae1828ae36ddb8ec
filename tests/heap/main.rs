//! What the crate takes of the heap.

#[cfg(feature = "install")]
mod allocations;
mod inert;
#[path = "../it/support/mod.rs"]
mod support;
