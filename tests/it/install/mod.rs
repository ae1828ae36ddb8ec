//! Installing: what starts, what fails, what ends, and what a program can take of it.

mod end;
mod failures;
#[cfg(unix)]
mod files;
mod ladder;
mod start;
