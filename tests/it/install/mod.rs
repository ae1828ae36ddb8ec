//! Installing: what starts, what fails, what ends, and what a program can take of it.

mod end;
mod failures;
#[cfg(unix)]
mod files;
#[cfg(unix)]
mod fork;
mod ladder;
#[cfg(target_os = "linux")]
mod limits;
mod start;
