//! Which recorder is current, when it is one of this crate's.
//!
//! A call belongs to the recorder that was current at its start, wherever it ends. The `metrics` facade lends recorders out
//! and never hands one over, so the question travels as a description that only our recorders understand.

use std::cell::Cell;
use std::sync::Arc;

use metrics::{KeyName, Recorder, SharedString};

pub(crate) type SharedRecorder = Arc<dyn Recorder + Send + Sync>;

const QUESTION: &str = "botticelli.obs.recorder";

thread_local! {
    static ANSWER: Cell<Option<SharedRecorder>> = const { Cell::new(None) };
}

/// Returns the current recorder if it is one of ours.
pub(crate) fn current() -> Option<SharedRecorder> {
    metrics::with_recorder(|recorder| {
        recorder.describe_gauge(KeyName::from_const_str(QUESTION), None, SharedString::const_str(""));
    });
    ANSWER.take()
}

/// Answers [`current`] if `name` is its question; a recorder of ours calls it first thing when a gauge is described.
#[cfg(feature = "install")]
pub(crate) fn answer(name: &KeyName, recorder: impl FnOnce() -> SharedRecorder) -> bool {
    let asked = name.as_str() == QUESTION;
    if asked {
        ANSWER.set(Some(recorder()));
    }
    asked
}
