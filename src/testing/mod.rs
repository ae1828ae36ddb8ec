//! A test kit that captures what provider code records.
//!
//! A [`Capture`] has its own recorder and subscriber. It does not use the global ones, so tests can run in parallel, and in a
//! process that has installed telemetry.
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
//! [`Capture::observe`] captures async code. Tasks and threads that the code spawns are not captured, since recorder and subscriber
//! are set only for the thread that runs the code. Wrap spawned code with a clone of the capture. A call is recorded by the
//! recorder and subscriber that were current at its start.

mod capture;
mod llm;
mod samples;
mod span;

pub use capture::{Capture, Captured};
pub use llm::{Count, Llm};
pub use span::{Attribute, CapturedSpan};
