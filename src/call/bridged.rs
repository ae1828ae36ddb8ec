//! A call that is known by a span of another library.

use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::nesting::{Frame, replace};
use super::{Facts, Live, LlmCall, span};
use crate::error_type::ErrorType;
use crate::finish::FinishReasons;
use crate::series::TraceIds;
use crate::usage::Usage;

/// A call for which there is a span already. It makes none of its own and is ended with what the span has told.
#[derive(Debug)]
pub(crate) struct BridgedCall(LlmCall);

/// What a span tells of its call.
#[derive(Debug, Default)]
pub(crate) struct SpanFacts {
    pub(crate) usage: Option<Usage>,
    pub(crate) error: Option<ErrorType>,
    pub(crate) finish_reasons: FinishReasons,
    pub(crate) response_model: Option<Box<str>>,
    pub(crate) response_id: Option<Box<str>>,
    pub(crate) first_chunk: Option<Duration>,
}

impl BridgedCall {
    /// Starts a call that began earlier: as a part, if the current code runs inside a call of the same kind of operation, else as one
    /// of its own. `None` where nothing is recorded.
    pub(crate) fn start(names: [&str; 3], began: Instant) -> Option<Self> {
        let [provider, model, operation] = names;
        let mut call = LlmCall::builder(provider, model).with_operation(operation).start_bridged()?;
        call.live.as_mut()?.started = began;
        Some(Self(call))
    }

    /// The inside of the call, for while its span is entered.
    pub(crate) fn inside(&mut self) -> Option<Inside> {
        self.0.frame().map(Inside)
    }

    /// Ends the call. `silence` is its class where neither the span nor anything inside has told how it went.
    pub(crate) fn end(mut self, ended: Instant, told: SpanFacts, silence: ErrorType, trace: Option<TraceIds>) {
        if let Some(live) = self.0.live.take() {
            // A recorder that panics while the thread unwinds would abort the process.
            span::contained(|| end(live, ended, told, silence, trace));
        }
    }
}

fn end(mut live: Box<Live>, ended: Instant, told: SpanFacts, silence: ErrorType, trace: Option<TraceIds>) {
    let first_chunk = told.first_chunk;
    live.facts = Facts {
        usage: told.usage,
        error: told.error,
        finish_reasons: told.finish_reasons,
        response_model: told.response_model,
        response_id: told.response_id,
        ..Facts::default()
    };
    let inner = live.frame.as_ref().map(|frame| frame.close()).unwrap_or_default();
    if live.facts.is_silent() {
        live.facts.error = if inner.is_silent() { Some(silence) } else { inner.error };
    }
    live.facts.fill_from(inner);
    if let Some(whole) = &live.whole {
        return whole.hand_up(mem::take(&mut live.facts));
    }
    if let (Some(series), Some(elapsed)) = (&live.series, first_chunk) {
        series.first_chunk(live.operation, elapsed, trace);
    }
    live.count(ended.saturating_duration_since(live.started), live.cost_if_known(), trace);
}

/// The inside of a call, as [`LlmCall::current`] finds it.
#[derive(Clone, Debug)]
pub(crate) struct Inside(Arc<Frame>);

/// What was the innermost call before another one was entered.
#[derive(Debug)]
pub(crate) struct Outer(Option<Arc<Frame>>);

impl Inside {
    /// Makes this the innermost call on this thread.
    pub(crate) fn enter(&self) -> Outer {
        Outer(replace(Some(Arc::clone(&self.0))))
    }

    /// Makes the outer call the innermost one again, if this one still is.
    pub(crate) fn leave(&self, outer: Outer) {
        if Frame::is_innermost(&self.0) {
            replace(outer.0);
        }
    }

    /// Whether this is what another call replaced.
    pub(crate) fn is(&self, outer: &Outer) -> bool {
        outer.0.as_ref().is_some_and(|outer| Arc::ptr_eq(outer, &self.0))
    }
}
