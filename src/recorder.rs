//! Which recorder is current.
//!
//! A call belongs to the recorder that was current at its start, wherever it ends. The `metrics` facade lends recorders out,
//! never hands one over and never says whether there is one, so it is asked in a roundabout way.

use std::cell::Cell;
use std::sync::{Arc, LazyLock, OnceLock};

use metrics::{Key, KeyName, Recorder, SharedString};

use crate::series::{METADATA, PairSeries};

/// A recorder of this crate.
pub(crate) trait Ours: Recorder + Send + Sync {
    /// Does something with the series of a provider and model, whose names need not be clean; nothing, once it is closed.
    fn with_pair(&self, provider: &str, model: &str, then: &mut dyn FnMut(&Arc<PairSeries>));
}

pub(crate) type SharedRecorder = Arc<dyn Ours>;

/// The recorder that is current, as far as can be known.
pub(crate) enum Current<'a> {
    Ours(&'a dyn Ours),
    Another(&'a dyn Recorder),
    /// None, or one that is inert.
    None,
}

/// A description that only our recorders understand.
const QUESTION: &str = "botticelli.obs.recorder";

thread_local! {
    static ANSWER: Cell<Option<(Place, SharedRecorder)>> = const { Cell::new(None) };
}

/// The process' recorder, if it is one of ours: where it is, and what is behind it. It is there for ever.
static GLOBAL: OnceLock<(usize, SharedRecorder)> = OnceLock::new();

/// Address and size of a recorder.
type Place = (usize, usize);

fn place<R: Recorder + ?Sized>(recorder: &R) -> Place {
    (std::ptr::from_ref(recorder).addr(), size_of_val(recorder))
}

/// Finds out which recorder is current, without touching the heap.
#[inline]
pub(crate) fn with_current<T>(then: impl FnOnce(Current<'_>) -> T) -> T {
    metrics::with_recorder(|recorder| {
        let here = place(recorder);
        if let Some((at, ours)) = GLOBAL.get()
            && *at == here.0
        {
            return then(Current::Ours(&**ours));
        }
        // The facade's own stand-in has no size; ours do, and nearly all of the others.
        if here.1 == 0 {
            return then(if keeps_keys(recorder) { Current::Another(recorder) } else { Current::None });
        }
        recorder.describe_gauge(KeyName::from_const_str(QUESTION), None, SharedString::const_str(""));
        match ANSWER.try_with(Cell::take).ok().flatten() {
            Some((asked, ours)) if asked == here => then(Current::Ours(&*ours)),
            // One of ours behind another's layer or fan-out answers too, and must not be called past them.
            Some(_) | None => then(Current::Another(recorder)),
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

/// Answers [`with_current`] if `name` is its question; a recorder of ours calls it first thing when a gauge is described.
#[cfg(feature = "install")]
pub(crate) fn answer<R: Recorder>(asked: &R, name: &KeyName, recorder: impl FnOnce() -> SharedRecorder) -> bool {
    let is_question = name.as_str() == QUESTION;
    if is_question {
        // Fails at the end of a thread, when its locals are gone: then nobody waits for the answer.
        let _ = ANSWER.try_with(|answer| answer.set(Some((place(asked), recorder()))));
    }
    is_question
}

/// Answers for good: `asked` is the process' recorder, and needs a size so that no other can be in its place.
#[cfg(feature = "install")]
pub(crate) fn answer_as_global<R: Recorder>(asked: &R, name: &KeyName, recorder: &SharedRecorder) -> bool {
    let is_question = answer(asked, name, || Arc::clone(recorder));
    if is_question && size_of::<R>() > 0 {
        GLOBAL.get_or_init(|| (place(asked).0, Arc::clone(recorder)));
    }
    is_question
}
