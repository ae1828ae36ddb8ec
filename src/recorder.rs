//! Which recorder is current.
//!
//! A call belongs to the recorder that was current at its start, wherever it ends. The `metrics` facade lends recorders out,
//! never hands one over and never says whether there is one, so it is asked in a roundabout way.

use std::cell::Cell;
use std::sync::{Arc, LazyLock};

use metrics::{Key, KeyName, Recorder, SharedString};

use crate::series::METADATA;

pub(crate) type SharedRecorder = Arc<dyn Recorder + Send + Sync>;

/// The recorder that is current, as far as can be known.
pub(crate) enum Current {
    /// One of this crate's, which can be kept.
    Ours(SharedRecorder),
    /// Another's, which is only lent.
    Another,
    /// None, or one that is inert.
    None,
}

/// A description that only our recorders understand.
const QUESTION: &str = "botticelli.obs.recorder";

thread_local! {
    static ANSWER: Cell<Option<(Place, SharedRecorder)>> = const { Cell::new(None) };
}

/// Address and size of a recorder.
type Place = (*const (), usize);

fn place<R: Recorder + ?Sized>(recorder: &R) -> Place {
    (std::ptr::from_ref(recorder).cast(), size_of_val(recorder))
}

/// Finds out which recorder is current, without touching the heap.
pub(crate) fn current() -> Current {
    metrics::with_recorder(|recorder| {
        recorder.describe_gauge(KeyName::from_const_str(QUESTION), None, SharedString::const_str(""));
        match ANSWER.try_with(Cell::take).ok().flatten() {
            // One of ours behind another's layer or fan-out answers too, and must not be called past them.
            Some((asked, ours)) if asked == place(recorder) => Current::Ours(ours),
            Some(_) => Current::Another,
            // The facade's own stand-in has no size; a real recorder hardly ever has none.
            None if size_of_val(recorder) > 0 || keeps_keys(recorder) => Current::Another,
            None => Current::None,
        }
    })
}

/// Whether a recorder keeps the key of a counter in the counter or in itself, which the facade's stand-in doesn't.
fn keeps_keys(recorder: &dyn Recorder) -> bool {
    static PROBE: LazyLock<(Arc<str>, Key)> = LazyLock::new(|| {
        let name: Arc<str> = Arc::from(QUESTION);
        (Arc::clone(&name), Key::from_name(KeyName::from(SharedString::from_shared(name))))
    });
    let (name, key) = &*PROBE;
    let before = Arc::strong_count(name);
    let counter = recorder.register_counter(key, &METADATA);
    let kept = Arc::strong_count(name) > before;
    drop(counter);
    kept
}

/// Answers [`current`] if `name` is its question; a recorder of ours calls it first thing when a gauge is described.
#[cfg(feature = "install")]
pub(crate) fn answer<R: Recorder>(asked: &R, name: &KeyName, recorder: impl FnOnce() -> SharedRecorder) -> bool {
    let is_question = name.as_str() == QUESTION;
    if is_question {
        // Fails at the end of a thread, when its locals are gone: then nobody waits for the answer.
        let _ = ANSWER.try_with(|answer| answer.set(Some((place(asked), recorder()))));
    }
    is_question
}
