//! The page and its other readers.

mod bound;
mod content;
mod health;
mod hostile;
mod samples;
mod summary;
mod textfile;
