//! One logical call to an LLM.

mod alarm;
mod answer;
mod attempt;
#[cfg(feature = "span-metrics")]
mod bridged;
mod builder;
mod facts;
mod inside;
mod live;
mod nesting;
mod observe;
pub(crate) mod span;
mod stream;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use tracing::Span;

use crate::cost::Billing;
use crate::error_type::ErrorType;
use crate::usage::Usage;

pub use attempt::{Attempt, ObserveAttempt};
#[cfg(feature = "span-metrics")]
pub(crate) use bridged::{BridgedCall, Inside, Outer, SpanFacts};
pub use builder::LlmCallBuilder;
pub(crate) use builder::is_inert;
use facts::Facts;
pub use inside::{CurrentCall, Scope, Wait};
use live::{Live, end, end_of_drop};
pub(crate) use nesting::{Frame, FrameGuard};
pub use observe::{Observe, ObserveWith};
pub use stream::{ObserveStream, ObserveStreamWith, ObservedStream, ObservedStreamWith};

/// The target of call spans, by which the span filter knows them.
pub(crate) const TARGET: &str = "botticelli_obs::call";

/// One logical call to an LLM, from start to end: its metrics and its span.
///
/// However the call ends, it is recorded exactly once: [`finish`](Self::finish), [`fail`](Self::fail), or dropped, which
/// counts as `error_type="cancelled"`, as `"timeout"` after the time it was given, or as `"panic"` while the thread unwinds.
/// A call belongs to the recorder and the subscriber that were current at its start; with neither it does nothing.
///
/// ```
/// use botticelli_obs::{ErrorType, LlmCall, Usage};
///
/// fn generate() -> Result<(u64, u64), ErrorType> {
///     Ok((12, 30)) // in a client: sends the request, and returns the tokens
/// }
///
/// let mut call = LlmCall::start("gemini", "gemini-2.5-flash");
/// match generate() {
///     Ok((prompt, completion)) => {
///         call.record_usage(Usage::new(prompt, completion));
///         call.finish();
///     }
///     Err(error) => call.fail(error),
/// }
/// ```
///
/// Where the client's types implement [`LlmResponse`](crate::LlmResponse) and [`ClassifyError`](crate::ClassifyError),
/// [`observe`](Self::observe) does all of this around a future, [`observe_stream`](Self::observe_stream) around a stream.
///
/// # Calls inside calls
///
/// Inside `observe*`, `wrap_stream` and `#[llm_call]`, a call of the same provider, model and operation is a part of the outer
/// one: it is not counted, and hands up what the outer one lacks (usage, finish reason, response model, error class). Any other
/// call, such as a fallback to another provider, is its own; so is one built with
/// [`without_nesting`](LlmCallBuilder::without_nesting). What a task spawns is no longer inside.
///
/// # The span of a call
///
/// The span lasts as long as the call's sample of `llm_duration`, to the nanosecond. It is exported when the call ends, even if spawned
/// work or a pooled connection still holds it. Spans inside it that end later are exported as its children, with their own times.
///
/// To end the span, the call has to reach the layer of `tracing-opentelemetry`. Where it can't, the span ends as in version 0.1: when
/// its last handle is dropped, with the time when it was last exited. That is so behind a `reload::Layer` of `tracing-subscriber`, with
/// another version of `tracing-opentelemetry` than 0.34, and in a program that uses this crate without the feature `install`. With a
/// program's own tracer provider the span ends with the call, but the clock is read again for its end.
///
/// A layer that panics does not affect the call. The registry of `tracing-subscriber` does so where more than 4,096 threads that make
/// spans run at a time, and in some threads that start after such a time: calls there are counted and have no span, and the panics are
/// printed. A call that is started in the destructor of a thread-local, after the subscriber has
/// lost its own, is counted and has no span.
#[must_use = "a call that is dropped is recorded as cancelled: keep it and call `finish` or `fail`"]
pub struct LlmCall {
    /// `None` where nothing is installed, and once the call has ended.
    live: Option<Box<Live>>,
}

impl LlmCall {
    /// Starts a call to a model, as asked for, of a provider such as `gemini`, `anthropic` or `openai`.
    ///
    /// Both become labels, so neither may hold ids or a user's text. They are anything that is `AsRef<str>`, here as everywhere.
    pub fn start(provider: impl AsRef<str>, model: impl AsRef<str>) -> Self {
        if is_inert() { Self { live: None } } else { Self::builder(&provider, &model).start_live() }
    }

    /// Returns a builder, for what else is known of the call before it starts.
    pub fn builder<'a>(
        provider: &'a (impl AsRef<str> + ?Sized),
        model: &'a (impl AsRef<str> + ?Sized),
    ) -> LlmCallBuilder<'a> {
        LlmCallBuilder::new(provider.as_ref(), model.as_ref())
    }

    /// Returns the span of the call, to make it the parent of what happens inside; a disabled one for a part of another call, and where
    /// nothing is installed.
    ///
    /// It ends [with the call](Self#the-span-of-a-call), whoever holds it and whether it was ever entered.
    ///
    /// ```
    /// use botticelli_obs::{LlmCall, tracing};
    ///
    /// let call = LlmCall::start("ollama", "llama3.2");
    /// call.span().in_scope(|| tracing::info!("sending the request"));
    /// call.finish();
    /// ```
    pub fn span(&self) -> &Span {
        static NONE: Span = Span::none();
        self.live.as_ref().map_or(&NONE, |live| &live.span)
    }

    /// Records how many tokens the call used; again replaces what was recorded before.
    pub fn record_usage(&mut self, usage: Usage) {
        if let Some(facts) = self.facts() {
            facts.usage = Some(usage);
        }
    }

    /// Records that the call has failed, and why; again replaces what was recorded before.
    pub fn record_error(&mut self, error: impl Into<ErrorType>) {
        let error = error.into();
        if let Some(facts) = self.facts() {
            facts.error = Some(error);
        }
    }

    /// Records the model that answered, for the span.
    pub fn record_response_model(&mut self, model: &str) {
        if let Some(facts) = self.facts()
            && facts.response_model.as_deref() != Some(model)
        {
            facts.response_model = Some(model.into());
        }
    }

    /// Records the provider's id of the response, for the span.
    pub fn record_response_id(&mut self, id: &str) {
        if let Some(facts) = self.facts()
            && facts.response_id.as_deref() != Some(id)
        {
            facts.response_id = Some(id.into());
        }
    }

    /// Records why generation stopped, in the provider's words; once for each choice that finished.
    pub fn record_finish_reason(&mut self, reason: &str) {
        if let Some(facts) = self.facts() {
            facts.finish_reasons.add(reason);
        }
    }

    /// Records why the choice with this index stopped, in the provider's words, such as `stop` or `tool_use`. It replaces what was
    /// recorded for that choice, so that several events of a stream may report it.
    ///
    /// ```
    /// use botticelli_obs::LlmCall;
    ///
    /// let mut call = LlmCall::start("openai", "gpt-4o");
    /// call.record_choice(0, "stop");
    /// call.record_choice(1, "length");
    /// call.finish();
    /// ```
    pub fn record_choice(&mut self, choice: usize, reason: &str) {
        if let Some(facts) = self.facts() {
            facts.finish_reasons.set(choice, reason);
        }
    }

    /// Records the HTTP status of the answer. It is on the span if the call fails.
    pub fn record_status(&mut self, status: u16) {
        if let Some(facts) = self.facts() {
            facts.answer().status = Some(status);
        }
    }

    /// Records the provider's code of an error, such as `insufficient_quota`. It is on the span if the call fails. A code that is longer
    /// than 64 bytes, or has other characters than letters, digits, `_`, `.` and `-`, is not recorded: it may be a message.
    pub fn record_error_code(&mut self, code: &str) {
        if let Some(facts) = self.facts() {
            facts.answer().record_code(code);
        }
    }

    /// Records the provider's id of the request, likewise and under the same conditions.
    pub fn record_request_id(&mut self, id: &str) {
        if let Some(facts) = self.facts() {
            facts.answer().record_request_id(id);
        }
    }

    /// Records what the call has cost in US dollars, as the provider says. It comes before any price; again replaces what was recorded
    /// before. A cost that is negative or more than a million dollars is not counted, but in `botticelli_obs_invalid_samples_total`.
    pub fn record_cost(&mut self, usd: f64) {
        if let Some(billing) = self.billing() {
            billing.cost = Some(usd);
        }
    }

    /// Records the tier by which the provider has served the call, as its answer says, such as `flex` or `priority`: its price may
    /// depend on it.
    pub fn record_service_tier(&mut self, tier: &str) {
        if let Some(billing) = self.billing() {
            billing.service_tier = Some(tier.into());
        }
    }

    /// Records that the call was a part of a batch, which most providers serve at a lower price.
    pub fn record_batch(&mut self) {
        if let Some(billing) = self.billing() {
            billing.is_batch = true;
        }
    }

    fn billing(&mut self) -> Option<&mut Billing> {
        self.facts().map(|facts| &mut **facts.billing.get_or_insert_with(Box::default))
    }

    /// The usage as recorded up to now.
    #[cfg(feature = "json")]
    pub(crate) fn usage(&self) -> Option<Usage> {
        self.live.as_ref()?.facts.usage
    }

    /// What the call has learnt; `None` where nothing is recorded.
    fn facts(&mut self) -> Option<&mut Facts> {
        self.live.as_deref_mut().map(|live| &mut live.facts)
    }

    /// Records that a chunk of the stream has arrived: the first ends the time to the first chunk, each further one a gap.
    pub fn record_chunk(&mut self) {
        if let Some(live) = &mut self.live
            && live.whole.is_none()
        {
            let now = Instant::now();
            match (live.last_chunk.replace(now), &live.series) {
                (None, series) => {
                    let elapsed = now - live.started;
                    live.first_chunk = Some(elapsed);
                    let trace = span::first_chunk(&live.span, elapsed);
                    if let Some(series) = series {
                        series.first_chunk(live.operation, elapsed, trace);
                    }
                }
                (Some(last), Some(series)) => series.chunk_gap(live.operation, now - last),
                (Some(_), None) => {}
            }
        }
    }

    /// Ends the call: as a success, or with the error that was recorded.
    pub fn finish(mut self) {
        if let Some(live) = self.live.take() {
            end(live);
        }
    }

    /// Ends the call with an error.
    pub fn fail(mut self, error: impl Into<ErrorType>) {
        self.record_error(error);
        self.finish();
    }

    fn deadline(&self) -> Option<Instant> {
        self.live.as_ref()?.deadline
    }

    fn is_overdue(&self) -> bool {
        self.live.as_ref().is_some_and(|live| live.is_overdue())
    }

    /// Whether generation has stopped without an error, as far as the call and those inside it have told.
    fn is_complete(&mut self) -> bool {
        let Some(live) = &mut self.live else { return false };
        let handed_up = live.frame().take_handed_up();
        live.facts.fill_from(handed_up);
        live.facts.error.is_none() && !live.facts.finish_reasons.is_empty()
    }

    /// The frame of what runs inside the call; none where nothing is recorded.
    fn frame(&mut self) -> Option<Arc<Frame>> {
        self.live.as_mut().map(|live| Arc::clone(live.frame()))
    }
}

impl Drop for LlmCall {
    #[inline]
    fn drop(&mut self) {
        if let Some(live) = self.live.take() {
            end_of_drop(live);
        }
    }
}

impl fmt::Debug for LlmCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let facts = self.live.as_ref().map(|live| &live.facts);
        f.debug_struct("LlmCall").field("facts", &facts).finish_non_exhaustive()
    }
}
