//! What a piece of provider code records, captured for a test.
//!
//! A [`Capture`] is a recorder and a subscriber of a test's own. Nothing global is touched, so tests run in parallel, whatever
//! is installed in the process.
//!
//! ```
//! use botticelli_obs::testing::Capture;
//! use botticelli_obs::{ErrorType, LlmCall, Usage};
//!
//! let capture = Capture::new();
//! capture.run(|| {
//!     let mut call = LlmCall::start("gemini", "gemini-2.5-flash");
//!     call.record_usage(Usage::new(12, 30));
//!     call.finish();
//!     LlmCall::start("gemini", "gemini-2.5-flash").fail(ErrorType::RateLimit);
//! });
//!
//! let llm = capture.llm("gemini", "gemini-2.5-flash");
//! assert_eq!(llm.requests(), 2);
//! assert_eq!(llm.errors_of(ErrorType::RateLimit), 1);
//! assert_eq!(llm.tokens(), 42);
//! assert_eq!(capture.spans()[0].name(), "chat gemini-2.5-flash");
//! ```
//!
//! Async code is captured by [`Capture::observe`]. What it spawns as tasks or threads is not: recorder and subscriber belong to
//! the thread that runs the code, and a call belongs to those that were current at its start. Wrap what is spawned, too, with a
//! clone of the capture.

mod capture;
mod llm;
mod samples;
mod span;

pub use capture::{Capture, Captured};
pub use llm::{Count, Llm};
pub use span::{Attribute, CapturedSpan};
