//! Which recorder is current.
//!
//! A call belongs to the recorder that was current at its start, wherever it ends. The `metrics` facade only gives out references
//! to recorders and does not say whether there is one, so this module has to find out.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use metrics::{Key, KeyName, Recorder, SharedString};

use crate::catalog::METADATA;
#[cfg(feature = "install")]
pub(crate) use crate::store::Store as Own;
#[cfg(not(feature = "install"))]
pub(crate) use no_store::Own;

/// What stands for the recorder of this crate where it has none.
#[cfg(not(feature = "install"))]
mod no_store {
    use std::sync::Arc;

    use metrics::{Recorder, SharedString};

    use crate::series::{Finished, PairSeries, Series};

    pub(crate) enum Own {}

    impl Own {
        pub(crate) fn pair(&self, _: &str, _: &str) -> Option<Arc<dyn PairSeries>> {
            match *self {}
        }

        pub(crate) fn lasting_pair(&self, _: &str, _: &str) -> Option<Series> {
            match *self {}
        }

        pub(crate) fn finished(&self, _: &Finished<'_>) -> bool {
            match *self {}
        }

        pub(crate) fn is_closed(&self) -> bool {
            match *self {}
        }

        pub(crate) fn recorder(&self) -> &dyn Recorder {
            match *self {}
        }

        pub(crate) fn task_labels(&self, _: &str, _: &str) -> [SharedString; 2] {
            match *self {}
        }

        pub(crate) fn tool_label(&self, _: &str) -> SharedString {
            match *self {}
        }
    }
}

/// The recorder that is current.
pub(crate) enum Current<'a> {
    Own(Arc<Own>),
    /// One of another crate, or one of this crate behind layers of another.
    Foreign(&'a dyn Recorder),
    /// None, or one that does nothing.
    None,
}

/// The name of a description that only recorders of this crate understand.
const QUESTION: &str = "botticelli.obs.recorder";

thread_local! {
    static ANSWER: Cell<Option<(Place, Arc<Own>)>> = const { Cell::new(None) };
}

/// The process' recorder, if it is one of this crate: its address, or 0 once it is forgotten, and what it forwards to. It is never
/// dropped.
static GLOBAL: OnceLock<(AtomicUsize, &'static Own)> = OnceLock::new();

/// Address and size of a recorder.
type Place = (usize, usize);

fn place<R: Recorder + ?Sized>(recorder: &R) -> Place {
    (std::ptr::from_ref(recorder).addr(), size_of_val(recorder))
}

/// Returns the process' recorder, if it is one of this crate, known already, and no other is current.
#[inline]
pub(crate) fn global() -> Option<&'static Own> {
    let (at, global) = GLOBAL.get()?;
    (metrics::with_recorder(|recorder| place(recorder).0) == at.load(Ordering::Relaxed)).then_some(*global)
}

/// Makes [`global`] not know the process' recorder any more, so that every caller asks whether it is closed. Only stores to an atomic,
/// since the child of a fork calls it.
#[cfg(all(feature = "install", unix))]
pub(crate) fn forget_global() {
    if let Some((at, _)) = GLOBAL.get() {
        at.store(0, Ordering::Relaxed);
    }
}

/// Whether no recorder is current, or one that does nothing. `false` for some that do nothing either.
#[inline]
pub(crate) fn is_none() -> bool {
    GLOBAL.get().is_none() && metrics::with_recorder(|recorder| size_of_val(recorder) == 0 && !keeps_keys(recorder))
}

/// Finds out which recorder is current, without allocating. [`global`] is quicker where it knows.
#[inline]
pub(crate) fn with_current<T>(then: impl FnOnce(Current<'_>) -> T) -> T {
    metrics::with_recorder(|recorder| then(ask(recorder)))
}

#[inline]
fn ask(recorder: &dyn Recorder) -> Current<'_> {
    let here = place(recorder);
    // The facade's own stand-in has no size; recorders of this crate do, and nearly all others.
    if here.1 == 0 {
        return if keeps_keys(recorder) { Current::Foreign(recorder) } else { Current::None };
    }
    recorder.describe_gauge(KeyName::from_const_str(QUESTION), None, SharedString::const_str(""));
    match ANSWER.try_with(Cell::take).ok().flatten() {
        Some((asked, own)) if asked == here => {
            if own.is_closed() {
                Current::None
            } else {
                Current::Own(own)
            }
        }
        // One behind another crate's layer or fan-out answers too, and must not be called past them.
        Some(_) | None => Current::Foreign(recorder),
    }
}

/// Whether a recorder keeps the key of a counter, in the counter or in itself. The facade's stand-in doesn't.
#[inline]
fn keeps_keys(recorder: &dyn Recorder) -> bool {
    thread_local! {
        /// Of this thread alone, so that no other one changes the count.
        static PROBE: (Arc<str>, Key) = {
            let name: Arc<str> = Arc::from(QUESTION);
            (Arc::clone(&name), Key::from_name(KeyName::from(SharedString::from_shared(name))))
        };
    }
    let kept = PROBE.try_with(|(name, key)| {
        let before = Arc::strong_count(name);
        let counter = recorder.register_counter(key, &METADATA);
        let kept = Arc::strong_count(name) > before;
        drop(counter);
        kept
    });
    // At the end of a thread: a recorder that does nothing does it for handles too.
    kept.unwrap_or(true)
}

/// Answers [`with_current`] if `name` is its question. A recorder of this crate calls it first when a gauge is described.
#[cfg(feature = "install")]
pub(crate) fn identify<R: Recorder>(asked: &R, name: &KeyName, recorder: impl FnOnce() -> Arc<Own>) -> bool {
    let is_question = name.as_str() == QUESTION;
    if is_question {
        // Fails at the end of a thread, when its locals are gone: `with_current` reads no answer then.
        let _ = ANSWER.try_with(|answer| answer.set(Some((place(asked), recorder()))));
    }
    is_question
}

/// Answers once and for all: `asked` is the process' recorder. It needs a size, so that no other one has its address.
#[cfg(feature = "install")]
pub(crate) fn identify_as_global<R: Recorder>(asked: &R, name: &KeyName, recorder: &Arc<Own>) -> bool {
    let is_question = identify(asked, name, || Arc::clone(recorder));
    if is_question && size_of::<R>() > 0 {
        GLOBAL.get_or_init(|| (AtomicUsize::new(place(asked).0), &**Box::leak(Box::new(Arc::clone(recorder)))));
    }
    is_question
}
