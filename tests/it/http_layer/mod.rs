//! The HTTP layer: what it recognises, what it records, and that nothing that passes is changed.

mod ends;
mod passing;
mod propagation;
mod recognition;
mod retries;
mod scripted;
mod server;
