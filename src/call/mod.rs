//! One logical call to an LLM.

mod alarm;
mod answer;
mod attempt;
#[cfg(feature = "span-metrics")]
mod bridged;
mod builder;
mod inside;
mod nesting;
mod observe;
pub(crate) mod span;
mod stream;

use std::cell::Cell;
use std::fmt;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::Span;

use crate::cost::{self, Bill, Billing, CallCost, CostOutcome, CostStatus};
use crate::error_type::ErrorType;
use crate::finish::FinishReasons;
use crate::operation::Operation;
use crate::series::{CallDetails, CallEnd, Series, TraceIds, is_plausible};
use crate::task::Task;
use crate::usage::Usage;

use answer::Answer;
pub use attempt::{Attempt, ObserveAttempt};
#[cfg(feature = "span-metrics")]
pub(crate) use bridged::{BridgedCall, Inside, Outer, SpanFacts};
pub use builder::LlmCallBuilder;
pub(crate) use builder::is_inert;
pub use inside::{CurrentCall, Scope, Wait};
use nesting::Identity;
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

/// A call that is recorded: one of its own, or a part of the call around it.
struct Live {
    /// The call around a part, which is told what the part has learnt; `None` of a call of its own. A part has neither series nor
    /// span.
    whole: Option<Arc<Frame>>,
    series: Option<Series>,
    span: Span,
    operation: Operation,
    started: Instant,
    last_chunk: Option<Instant>,
    /// The time from its start to the first chunk.
    first_chunk: Option<Duration>,
    /// `None` of a chat whose names are those of its lasting series.
    identity: Option<Identity>,
    /// The innermost task around it.
    task: Option<Arc<Task>>,
    /// Made when something runs inside the call.
    frame: Option<Arc<Frame>>,
    facts: Facts,
    /// When the time the call was given is over.
    deadline: Option<Instant>,
    /// Whether it was started by a destructor that a panic runs.
    unwinding: bool,
}

/// What a call has learnt about itself.
#[derive(Debug, Default)]
struct Facts {
    usage: Option<Usage>,
    error: Option<ErrorType>,
    /// How long the call has waited on this side.
    waited: Duration,
    finish_reasons: FinishReasons,
    response_model: Option<Box<str>>,
    response_id: Option<Box<str>>,
    /// What the HTTP answer to the last request has said, if it has failed.
    answer: Option<Box<Answer>>,
    billing: Option<Box<Billing>>,
}

impl Facts {
    #[inline]
    fn clear(&mut self) {
        self.usage = None;
        self.error = None;
        self.waited = Duration::ZERO;
        if !self.finish_reasons.is_empty() {
            self.finish_reasons = FinishReasons::default();
        }
        self.response_model = None;
        self.response_id = None;
        self.answer = None;
        self.billing = None;
    }

    /// Whether they say nothing of how the call went.
    #[cfg(feature = "span-metrics")]
    fn is_silent(&self) -> bool {
        self.usage.is_none()
            && self.error.is_none()
            && self.finish_reasons.is_empty()
            && self.response_model.is_none()
            && self.response_id.is_none()
    }

    /// Adds those of a later try: tokens add up, of everything else the last word counts.
    fn add(&mut self, later: Self) {
        self.usage = match (self.usage, later.usage) {
            (Some(usage), Some(more)) => Some(usage + more),
            (usage, more) => more.or(usage),
        };
        self.error = later.error;
        self.waited = self.waited.saturating_add(later.waited);
        if !later.finish_reasons.is_empty() {
            self.finish_reasons = later.finish_reasons;
        }
        self.response_model = later.response_model.or(self.response_model.take());
        self.response_id = later.response_id.or(self.response_id.take());
        self.answer = later.answer;
        match (&mut self.billing, later.billing) {
            (Some(billing), Some(later)) => billing.add(*later),
            (billing, later) => *billing = billing.take().or(later),
        }
    }

    /// Fills what is missing from those of inner calls.
    fn fill_from(&mut self, inner: Self) {
        self.usage = match (self.usage, inner.usage) {
            (Some(usage), Some(inner)) => Some(usage.filled_from(inner)),
            (usage, inner) => usage.or(inner),
        };
        self.waited = self.waited.saturating_add(inner.waited);
        if self.error == Some(ErrorType::Unknown) {
            self.error = inner.error.or(self.error);
        }
        if self.finish_reasons.is_empty() {
            self.finish_reasons = inner.finish_reasons;
        }
        self.response_model = self.response_model.take().or(inner.response_model);
        self.response_id = self.response_id.take().or(inner.response_id);
        self.answer = self.answer.take().or(inner.answer);
        match (&mut self.billing, inner.billing) {
            (Some(billing), Some(inner)) => billing.fill_from(*inner),
            (billing, inner) => *billing = billing.take().or(inner),
        }
    }

    fn answer(&mut self) -> &mut Answer {
        self.answer.get_or_insert_default()
    }
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

thread_local! {
    /// What the last call that has ended on this thread leaves for the next one: to get and return the memory takes more time than
    /// most of what is recorded.
    static SPARE: Cell<Option<Box<Live>>> = const { Cell::new(None) };
}

impl Live {
    fn new(started: Instant) -> Self {
        Self {
            whole: None,
            series: None,
            span: Span::none(),
            operation: Operation::Chat,
            started,
            last_chunk: None,
            first_chunk: None,
            identity: None,
            task: None,
            frame: None,
            facts: Facts::default(),
            deadline: None,
            unwinding: false,
        }
    }

    /// Returns one in which nothing is set that [`clear`](Self::clear) clears.
    #[inline]
    fn spare_or_new(started: Instant) -> Box<Self> {
        let spare = SPARE.try_with(Cell::take).ok().flatten();
        spare.unwrap_or_else(|| Box::new(Self::new(started)))
    }

    /// Drops what the call has kept.
    #[inline]
    fn clear(&mut self) {
        self.whole = None;
        self.series = None;
        if !self.span.is_none() {
            self.span = Span::none();
        }
        self.last_chunk = None;
        self.first_chunk = None;
        self.identity = None;
        self.task = None;
        self.frame = None;
        self.facts.clear();
    }

    fn is_overdue(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    fn frame(&mut self) -> &Arc<Frame> {
        self.frame.get_or_insert_with(|| {
            let of_series = || {
                let [provider, model] = self.series.as_ref().map_or([""; 2], |series| series.names());
                Identity::new([provider, model, builder::CHAT])
            };
            let identity = self.identity.take().unwrap_or_else(of_series);
            Frame::new(identity, self.series.clone(), self.span.clone())
        })
    }

    fn end(&mut self) {
        if let Some(frame) = &self.frame {
            self.facts.fill_from(frame.close());
        }
        match &self.whole {
            Some(whole) => whole.hand_up(mem::take(&mut self.facts)),
            None => self.record_end(),
        }
    }

    fn record_end(&mut self) {
        // Measured once: the span lasts as long as the sample says.
        let elapsed = self.started.elapsed();
        let cost = self.cost_if_known();
        let trace = if self.span.is_disabled() {
            None
        } else {
            if let Some(known) = cost.and_then(|cost| cost.known()) {
                span::cost(&self.span, cost::usd(known));
            }
            span::end(mem::replace(&mut self.span, Span::none()), &self.facts, elapsed)
        };
        self.count(elapsed, cost, trace);
    }

    /// Counts the call as ended.
    #[inline]
    fn count(&self, elapsed: Duration, cost: Option<CallCost>, trace: Option<TraceIds>) {
        let facts = &self.facts;
        if let Some(series) = &self.series {
            let finished = if facts.finish_reasons.is_empty() { [0; _] } else { facts.finish_reasons.counts() };
            series.end(&CallEnd {
                operation: self.operation,
                elapsed,
                error: facts.error,
                usage: facts.usage,
                waited: facts.waited,
                finished,
                trace,
                details: &|| self.details(cost),
            });
        }
        if let (Some(cost), Some(series)) = (&cost, &self.series) {
            series.cost(cost);
        }
        if let Some(task) = &self.task {
            self.add_to(task, cost);
        }
    }

    /// Counts the call for the tasks around it.
    #[cold]
    fn add_to(&self, task: &Task, cost: Option<CallCost>) {
        let usage = self.facts.usage.filter(is_plausible);
        task.add_call(usage.map_or(0, |usage| usage.total()), cost.and_then(|cost| cost.known()));
    }

    #[inline]
    fn cost_if_known(&self) -> Option<CallCost> {
        if cost::are_prices_on() || self.facts.billing.is_some() { self.cost() } else { None }
    }

    /// Returns what the call has cost: the provider's figure, or else by the prices of the recorder.
    #[cold]
    fn cost(&self) -> Option<CallCost> {
        let Facts { usage, error, response_model, billing, .. } = &self.facts;
        let billing = billing.as_deref();
        let figure = billing.and_then(|billing| billing.cost);
        let outcome = CostOutcome::of(*error);
        if let Some(nano_usd) = figure.and_then(cost::nano_usd) {
            return Some(CallCost { status: CostStatus::Provider, nano_usd, outcome, has_invalid_figure: false });
        }
        let bill = Bill {
            usage: *usage,
            response_model: response_model.as_deref(),
            service_tier: billing.and_then(|billing| billing.service_tier.as_deref()),
            is_batch: billing.is_some_and(|billing| billing.is_batch),
            error: *error,
            at: None,
        };
        let priced = self.series.as_ref().and_then(|series| series.price(&bill));
        if figure.is_none() {
            return priced;
        }
        let missing = CallCost { status: CostStatus::Missing, nano_usd: 0, outcome, has_invalid_figure: true };
        Some(priced.map_or(missing, |priced| CallCost { has_invalid_figure: true, ..priced }))
    }

    #[cold]
    fn details(&self, cost: Option<CallCost>) -> CallDetails {
        let answer = self.facts.answer.as_deref();
        CallDetails {
            attempts: self.frame.as_ref().map_or(0, |frame| frame.attempts()),
            first_chunk: self.first_chunk,
            status: answer.and_then(|answer| answer.status),
            code: answer.and_then(|answer| answer.code.clone()),
            request_id: answer.and_then(|answer| answer.request_id.clone()),
            task: self.task.as_ref().and_then(|task| task.name()),
            cost_nano_usd: cost.and_then(|cost| cost.known()),
        }
    }

    /// Says why a call is dropped that has neither finished nor failed.
    fn error_of_drop(&self) -> ErrorType {
        if std::thread::panicking() && !self.unwinding {
            ErrorType::Panic
        } else if self.is_overdue() {
            ErrorType::Timeout
        } else {
            ErrorType::Cancelled
        }
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

fn end(mut live: Box<Live>) {
    live.end();
    live.clear();
    // Dropped at the end of a thread, which has no spare one any more.
    let _ = SPARE.try_with(|spare| spare.set(Some(live)));
}

/// Apart from the destructor, which nearly always finds that the call has ended.
#[cold]
fn end_of_drop(mut live: Box<Live>) {
    if live.facts.error.is_none() {
        live.facts.error = Some(live.error_of_drop());
    }
    // A recorder that panics while the thread unwinds would abort the process.
    span::contained(|| end(live));
}

impl fmt::Debug for LlmCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let facts = self.live.as_ref().map(|live| &live.facts);
        f.debug_struct("LlmCall").field("facts", &facts).finish_non_exhaustive()
    }
}
