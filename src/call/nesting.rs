//! Detects calls inside calls, so that each logical call is counted once.
//!
//! A driver may implement its stream by calling its own `generate`, and a decorator may wrap a driver that records calls itself.
//! A call inside another one of the same provider, model and operation is therefore a part of it. Only code in the same task
//! counts as inside. The tasks of [`crate::task`] stand in the same chain, and the calls inside count for them.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::mem::{self, ManuallyDrop};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tracing::Span;

use super::builder::CHAT;
use super::{Facts, span};
use crate::label::clean_pair_name;
use crate::lock::unpoisoned;
use crate::series::Series;
use crate::task::Task;

thread_local! {
    /// The innermost call or task whose code is running on this thread. It is empty when the thread ends; without a destructor it can be
    /// used even then.
    static CURRENT: ManuallyDrop<RefCell<Option<Arc<Frame>>>> = const { ManuallyDrop::new(RefCell::new(None)) };
}

/// Provider, model and kind of operation of a call, with the names as they are on labels: what is counted in one place is one call.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    lengths: [usize; 3],
    /// One after the other.
    texts: Texts,
}

#[derive(Clone, Debug)]
enum Texts {
    /// Kept in place, as nearly all are.
    Short([u8; Texts::SHORT]),
    Long(Box<[u8]>),
}

impl Texts {
    const SHORT: usize = 63;

    fn all(&self) -> &[u8] {
        match self {
            Self::Short(all) => all,
            Self::Long(all) => all,
        }
    }
}

impl Identity {
    pub(super) fn new(names: [&str; 3]) -> Self {
        let mut short = [0; Texts::SHORT];
        let mut rest = &mut short[..];
        let mut texts = None;
        for name in names {
            let Some((place, after)) = rest.split_at_mut_checked(name.len()) else {
                texts = Some(Texts::Long(names.concat().into_bytes().into()));
                break;
            };
            place.copy_from_slice(name.as_bytes());
            rest = after;
        }
        Self { lengths: names.map(str::len), texts: texts.unwrap_or(Texts::Short(short)) }
    }

    /// Returns the names that make up the identity of a call.
    pub(super) fn names<'a>([provider, model, operation]: [&'a str; 3]) -> [Cow<'a, str>; 3] {
        let clean = |name: &'a str| clean_pair_name(name).unwrap_or_default();
        // The words that the conventions have for the same thing of different APIs.
        [clean(provider), clean(model), Cow::Borrowed(Self::kind(operation))]
    }

    /// Returns the operation that stands for all of its kind.
    fn kind(operation: &str) -> &str {
        if matches!(operation, "generate_content" | "text_completion") { CHAT } else { operation }
    }

    /// Whether the operation is of this kind.
    #[cfg(any(feature = "_http-layer", feature = "span-metrics"))]
    fn is_of_kind(&self, kind: &str) -> bool {
        let [provider, model, length] = self.lengths;
        self.texts.all()[provider + model..][..length] == *kind.as_bytes()
    }

    fn is(&self, names: [&str; 3]) -> bool {
        let mut rest = self.texts.all();
        names.map(str::len) == self.lengths
            && names.iter().all(|name| {
                let (text, after) = rest.split_at(name.len());
                rest = after;
                text == name.as_bytes()
            })
    }
}

/// A call or a task, as seen by the code that runs inside it.
pub(crate) struct Frame {
    identity: Identity,
    /// The innermost task, this one included.
    task: Option<Arc<Task>>,
    parent: Option<Arc<Frame>>,
    /// The call of which it is a part, with the series and the span.
    whole: Option<Arc<Frame>>,
    series: Option<Series>,
    span: Span,
    /// It is counted as an attempt, too, unless attempts are started inside it.
    is_attempt: bool,
    /// Whether the span is that of another library, which is not kept here: it would not close.
    is_bridged: bool,
    /// How many attempts a call has had, or how many were started inside an attempt.
    attempts: AtomicU32,
    /// The facts of inner calls; `None` after the call has ended, and of a task.
    inner_facts: Mutex<Option<Facts>>,
}

impl Frame {
    /// Makes the frame of a call of its own.
    pub(super) fn new(identity: Identity, series: Option<Series>, span: Span) -> Arc<Self> {
        let mut frame = Self::with(identity, None);
        (frame.series, frame.span) = (series, span);
        Arc::new(frame)
    }

    /// Makes the frame of a part of another call.
    pub(super) fn part(identity: Identity, whole: &Arc<Self>) -> Arc<Self> {
        Arc::new(Self::with(identity, Some(Arc::clone(whole))))
    }

    /// Makes the frame of a request that is a part of another call, and an attempt of it.
    #[cfg(feature = "_http-layer")]
    pub(super) fn attempt(identity: Identity, whole: &Arc<Self>) -> Arc<Self> {
        let mut frame = Self::with(identity, Some(Arc::clone(whole)));
        frame.is_attempt = true;
        Arc::new(frame)
    }

    /// Makes the frame of a call that is known by a span of another library.
    #[cfg(feature = "span-metrics")]
    pub(super) fn bridged(identity: Identity, series: Series) -> Arc<Self> {
        let mut frame = Self::with(identity, None);
        (frame.series, frame.is_bridged) = (Some(series), true);
        Arc::new(frame)
    }

    fn with(identity: Identity, whole: Option<Arc<Self>>) -> Self {
        let parent = Self::innermost();
        let task = parent.as_ref().and_then(|parent| parent.task.clone());
        Self {
            identity,
            task,
            parent,
            whole,
            series: None,
            span: Span::none(),
            is_attempt: false,
            is_bridged: false,
            attempts: AtomicU32::new(0),
            inner_facts: Mutex::new(Some(Facts::default())),
        }
    }

    /// Makes the frame of a task, or of a tool call in it. To those who look for a call it is one that has ended.
    pub(crate) fn of_task(task: Arc<Task>) -> Arc<Self> {
        Self::with_task(task, Self::innermost())
    }

    /// Makes the frame of a task for code that is not inside the current call.
    pub(crate) fn of_task_alone(task: Arc<Task>) -> Arc<Self> {
        Self::with_task(task, None)
    }

    fn with_task(task: Arc<Task>, parent: Option<Arc<Self>>) -> Arc<Self> {
        Arc::new(Self {
            identity: Identity::new([""; 3]),
            task: Some(task),
            parent,
            whole: None,
            series: None,
            span: Span::none(),
            is_attempt: false,
            is_bridged: false,
            attempts: AtomicU32::new(0),
            inner_facts: Mutex::new(None),
        })
    }

    fn innermost() -> Option<Arc<Self>> {
        CURRENT.with(|current| current.borrow().clone())
    }

    /// Returns the innermost task in which the current code runs.
    pub(crate) fn current_task() -> Option<Arc<Task>> {
        CURRENT.with(|current| current.borrow().as_ref()?.task.clone())
    }

    /// Returns the innermost call that has not ended and in which the current code runs.
    pub(super) fn current() -> Option<Arc<Self>> {
        CURRENT.with(|current| {
            let current = current.borrow();
            let mut frames = std::iter::successors(current.as_ref(), |frame| frame.parent.as_ref());
            frames.find(|frame| !frame.has_ended()).cloned()
        })
    }

    /// Returns the call as which this one is counted: itself, or that of which it is a part.
    pub(super) fn counted(self: &Arc<Self>) -> Arc<Self> {
        let wholes = std::iter::successors(Some(self), |frame| frame.whole.as_ref());
        Arc::clone(wholes.last().unwrap_or(self))
    }

    pub(super) fn has_ended(&self) -> bool {
        self.lock().is_none()
    }

    pub(super) fn series(&self) -> Option<&Series> {
        self.series.as_ref()
    }

    /// Passes on the span that is the parent of spans inside the call.
    pub(super) fn with_span<T>(&self, then: impl FnOnce(&Span) -> T) -> T {
        if self.is_bridged {
            // The code inside runs in that span.
            then(&span::open(Span::current))
        } else {
            then(&self.span)
        }
    }

    /// Counts an attempt that is started here and is counted in this call, and returns how many there were before. The first one
    /// inside of another attempt takes the place of that one.
    pub(super) fn count_attempt(&self, counted: &Self) -> u32 {
        let mut frames = std::iter::successors(Some(self), |frame| frame.whole.as_deref());
        let around = frames.find(|frame| frame.is_attempt);
        if around.is_some_and(|around| around.attempts.fetch_add(1, Ordering::Relaxed) == 0) {
            counted.attempts.load(Ordering::Relaxed).saturating_sub(1)
        } else {
            counted.attempts.fetch_add(1, Ordering::Relaxed)
        }
    }

    /// Whether attempts were started in this call or attempt.
    pub(super) fn has_attempts(&self) -> bool {
        self.attempts.load(Ordering::Relaxed) > 0
    }

    /// Returns how many attempts there were.
    pub(super) fn attempts(&self) -> u32 {
        self.attempts.load(Ordering::Relaxed)
    }

    /// Adds to the time that the call has waited.
    pub(super) fn add_wait(&self, wait: Duration) {
        if let Some(facts) = &mut *self.lock() {
            facts.waited = facts.waited.saturating_add(wait);
        }
    }

    /// Whether the current code runs inside any call or task.
    #[inline]
    pub(super) fn is_inside_any() -> bool {
        CURRENT.with(|current| current.borrow().is_some())
    }

    /// Returns the innermost enclosing call of this provider, model and operation that has not ended.
    #[inline(never)]
    pub(super) fn enclosing(names: [&str; 3]) -> Option<Arc<Self>> {
        let names = Identity::names(names);
        let names = names.each_ref().map(|name| &**name);
        let find = |current: &ManuallyDrop<RefCell<Option<Arc<Self>>>>| {
            let current = current.borrow();
            let mut frames = std::iter::successors(current.as_ref(), |frame| frame.parent.as_ref());
            frames.find(|frame| frame.identity.is(names) && !frame.has_ended()).cloned()
        };
        CURRENT.with(find)
    }

    /// Returns the innermost enclosing call of this kind of operation that has not ended, whatever its provider and model.
    #[cfg(any(feature = "_http-layer", feature = "span-metrics"))]
    pub(super) fn enclosing_of_kind(operation: &str) -> Option<Arc<Self>> {
        let kind = Identity::kind(operation);
        CURRENT.with(|current| {
            let current = current.borrow();
            let mut frames = std::iter::successors(current.as_ref(), |frame| frame.parent.as_ref());
            frames.find(|frame| frame.identity.is_of_kind(kind) && !frame.has_ended()).cloned()
        })
    }

    /// Whether a call is the innermost one on this thread.
    #[cfg(feature = "span-metrics")]
    pub(super) fn is_innermost(frame: &Arc<Self>) -> bool {
        CURRENT.with(|current| current.borrow().as_ref().is_some_and(|current| Arc::ptr_eq(current, frame)))
    }

    /// Makes this the enclosing call or task on this thread, until the guard is dropped.
    pub(crate) fn enter(self: &Arc<Self>) -> FrameGuard {
        FrameGuard { outer: replace(Some(Arc::clone(self))) }
    }

    /// Adds the facts of an inner call that has ended. The tokens of several inner calls, such as retries, add up.
    pub(super) fn hand_up(&self, facts: Facts) {
        if let Some(inner_facts) = &mut *self.lock() {
            inner_facts.add(facts);
        }
    }

    /// Returns the facts of inner calls since the last time this was called.
    pub(super) fn take_handed_up(&self) -> Facts {
        self.lock().as_mut().map(mem::take).unwrap_or_default()
    }

    /// Marks the call as ended and returns the remaining facts of inner calls. Later inner calls are calls of their own.
    pub(super) fn close(&self) -> Facts {
        self.lock().take().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Facts>> {
        unpoisoned(self.inner_facts.lock())
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        let span = mem::replace(&mut self.span, Span::none());
        // It may be the last handle: then layers run.
        span::contained(|| drop(span));
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// Restores the outer frame when it is dropped.
#[must_use]
pub(crate) struct FrameGuard {
    outer: Option<Arc<Frame>>,
}

impl Drop for FrameGuard {
    fn drop(&mut self) {
        replace(self.outer.take());
    }
}

/// Replaces the current frame.
pub(super) fn replace(frame: Option<Arc<Frame>>) -> Option<Arc<Frame>> {
    CURRENT.with(|current| current.replace(frame))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn calls_are_the_same_if_all_their_names_are(
            names in prop::array::uniform3("[ab]{0,2}|[a-z]{0,40}"),
            others in prop::array::uniform3("[ab]{0,2}"),
        ) {
            let identity = Identity::new(names.each_ref().map(String::as_str));
            prop_assert!(identity.is(names.each_ref().map(String::as_str)));
            prop_assert_eq!(identity.is(others.each_ref().map(String::as_str)), names == others);
        }
    }
}
