//! What the crate takes of the heap.

#[cfg(feature = "install")]
mod allocations;
#[cfg(all(feature = "install", feature = "tower"))]
mod http_layer;
mod inert;
#[path = "../it/support/mod.rs"]
mod support;
