//! The listener of the page.

mod access;
mod flood;
