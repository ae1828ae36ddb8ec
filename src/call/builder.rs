//! What is known of a call before it starts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tracing::level_filters::LevelFilter;
use tracing::{Span, field};

#[cfg(feature = "_http-layer")]
use super::attempt::Attempt;
use super::nesting::{Frame, Identity};
use super::{Live, LlmCall, TARGET, span};
use crate::operation::Operation;
use crate::series::Series;
use crate::task::Task;
use crate::{current, provider, record};

/// The operation of a call that is told no other: the conventions' word for a conversation with a model.
pub(super) const CHAT: &str = "chat";

/// Starts an [`LlmCall`] of which more is known than provider and model; what is set here is on the span from the start, where
/// samplers see it.
///
/// ```
/// use std::time::Duration;
/// use botticelli_obs::LlmCall;
///
/// let call = LlmCall::builder("openai", "text-embedding-3-small")
///     .with_operation("embeddings")
///     .with_server("api.openai.com", 443)
///     .with_timeout(Duration::from_secs(30))
///     .start();
/// call.finish();
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `start` is called"]
pub struct LlmCallBuilder<'a> {
    provider: &'a str,
    model: &'a str,
    operation: &'a str,
    server: Option<(&'a str, u16)>,
    max_tokens: Option<u64>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    streaming: bool,
    independent: bool,
    timeout: Option<Duration>,
}

impl<'a> LlmCallBuilder<'a> {
    pub(super) fn new(provider: &'a str, model: &'a str) -> Self {
        Self {
            provider,
            model,
            operation: CHAT,
            server: None,
            max_tokens: None,
            temperature: None,
            top_p: None,
            streaming: false,
            independent: false,
            timeout: None,
        }
    }

    /// Sets the operation, one of the conventions' `chat`, `generate_content`, `text_completion`, `embeddings`. Defaults to
    /// `chat`.
    pub fn with_operation(mut self, operation: &'a str) -> Self {
        self.operation = operation;
        self
    }

    /// Sets the host name or address of the server, and its port.
    pub fn with_server(mut self, address: &'a str, port: u16) -> Self {
        self.server = Some((address, port));
        self
    }

    /// Sets the most tokens that may be generated.
    pub fn with_max_tokens(mut self, tokens: u64) -> Self {
        self.max_tokens = Some(tokens);
        self
    }

    /// Sets the temperature of the request.
    pub fn with_temperature(mut self, temperature: f64) -> Self {
        self.temperature = Some(temperature);
        self
    }

    /// Sets the `top_p` of the request.
    pub fn with_top_p(mut self, top_p: f64) -> Self {
        self.top_p = Some(top_p);
        self
    }

    /// Says that the answer is streamed.
    pub fn with_streaming(mut self) -> Self {
        self.streaming = true;
        self
    }

    /// Sets how long the call may take. Inside `observe*` it ends as a `timeout` then, even if the future hangs, which is left to
    /// go on; dropped later than that it is a `timeout` and not `cancelled`. Defaults to no limit.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Makes it a call of its own, also inside a call of the same provider, model and operation.
    #[deprecated(since = "0.2.0", note = "renamed to `without_nesting`")]
    pub fn independent(self) -> Self {
        self.without_nesting()
    }

    /// Makes it a call of its own, also inside a call of the same provider, model and operation. Defaults to a part of that call.
    ///
    /// ```
    /// use botticelli_obs::LlmCall;
    ///
    /// LlmCall::start("gemini", "gemini-2.5-flash").observe_sync(|| {
    ///     // Counted beside the one around it, of which it would be a part.
    ///     LlmCall::builder("gemini", "gemini-2.5-flash").without_nesting().start().finish();
    /// });
    /// ```
    pub fn without_nesting(mut self) -> Self {
        self.independent = true;
        self
    }

    /// Starts the call.
    pub fn start(self) -> LlmCall {
        if is_inert() { LlmCall { live: None } } else { self.start_live() }
    }

    pub(super) fn start_live(&self) -> LlmCall {
        let mut task = None;
        if Frame::is_inside_any() {
            if !self.independent
                && let Some(whole) = Frame::enclosing(self.names())
            {
                return self.start_part(whole);
            }
            task = Frame::current_task();
        }
        let series = record::current_series(self.provider, self.model);
        let span = if spans_are_off() { Span::none() } else { span::open(|| self.span(task.as_deref())) };
        if series.is_none() && span.is_disabled() {
            return LlmCall { live: None };
        }
        let mut call = self.live(series, span);
        if let (Some(live), Some(task)) = (&mut call.live, task) {
            live.task = Some(task);
        }
        // Last: a call that is in flight has an end, also if a recorder panics now.
        if let Some(series) = call.live.as_ref().and_then(|live| live.series.as_ref()) {
            series.start();
        }
        call
    }

    /// Starts a call without a span of its own: a part of the innermost call of the same kind of operation, or one of its own. `None`
    /// where nothing is recorded.
    #[cfg(feature = "span-metrics")]
    pub(super) fn start_bridged(&self) -> Option<LlmCall> {
        if let Some(whole) = Frame::enclosing_of_kind(self.operation) {
            return Some(self.start_part(whole));
        }
        let series = record::current_series(self.provider, self.model)?;
        let mut call = self.live(Some(series.clone()), Span::none());
        if let Some(live) = &mut call.live {
            live.frame = Some(Frame::bridged(self.identity(), series.clone()));
            live.task = Frame::current_task();
        }
        series.start();
        Some(call)
    }

    #[cold]
    fn start_part(&self, whole: Arc<Frame>) -> LlmCall {
        let part = Frame::part(self.identity(), &whole);
        self.live_part(whole, part)
    }

    fn live_part(&self, whole: Arc<Frame>, part: Arc<Frame>) -> LlmCall {
        let mut call = self.live(None, Span::none());
        if let Some(live) = &mut call.live {
            live.frame = Some(part);
            live.whole = Some(whole);
        }
        call
    }

    /// Starts what records one request: inside a call of the same kind of operation a part of that call which is also an attempt of it,
    /// elsewhere a call. `None` if nothing is recorded.
    #[cfg(feature = "_http-layer")]
    pub(crate) fn start_request(self) -> Option<(LlmCall, Option<Attempt>)> {
        if let Some(whole) = Frame::enclosing_of_kind(self.operation) {
            let part = Frame::attempt(self.identity(), &whole);
            let attempt = Attempt::start(&whole, Some(Arc::clone(&part)));
            return Some((self.live_part(whole, part), Some(attempt)));
        }
        let call = self.start();
        call.live.is_some().then_some((call, None))
    }

    fn live(&self, series: Option<Series>, span: Span) -> LlmCall {
        let unwinding = std::thread::panicking();
        let started = Instant::now();
        let deadline = self.timeout.and_then(|timeout| started.checked_add(timeout));
        let mut live = Live::spare_or_new(started);
        // Nothing else is set in a spare one.
        live.started = started;
        live.deadline = deadline;
        live.unwinding = unwinding;
        live.operation = Operation::Chat;
        let is_chat = self.operation == CHAT;
        if !is_chat {
            live.operation = Operation::of(self.operation);
        }
        if !(matches!(series, Some(Series::Lasting(_))) && is_chat) {
            live.identity = Some(self.identity());
        }
        live.series = series;
        if !span.is_none() {
            live.span = span;
        }
        LlmCall { live: Some(live) }
    }

    fn names(&self) -> [&'a str; 3] {
        [self.provider, self.model, self.operation]
    }

    fn identity(&self) -> Identity {
        let names = Identity::names(self.names());
        Identity::new(names.each_ref().map(|name| &**name))
    }

    #[cold]
    fn span(&self, task: Option<&Task>) -> Span {
        let (operation, model) = (self.operation, self.model);
        let name = span::Name([operation, model]);
        let ids = task.map(|task| &task.ids);
        let span = tracing::info_span!(
            target: TARGET,
            "llm_call",
            otel.name = %name,
            otel.kind = "client",
            otel.status_code = field::Empty,
            gen_ai.operation.name = operation,
            gen_ai.provider.name = provider::convention_name(self.provider),
            gen_ai.request.model = model,
            gen_ai.request.max_tokens = self.max_tokens.map(|tokens| i64::try_from(tokens).unwrap_or(i64::MAX)),
            gen_ai.request.temperature = self.temperature,
            gen_ai.request.top_p = self.top_p,
            gen_ai.request.stream = self.streaming.then_some(true),
            gen_ai.conversation.id = ids.and_then(|ids| ids.conversation.as_deref()),
            gen_ai.agent.name = ids.and_then(|ids| ids.agent.as_deref()),
            server.address = self.server.map(|(address, _)| address),
            server.port = self.server.map(|(_, port)| i64::from(port)),
            gen_ai.response.model = field::Empty,
            gen_ai.response.id = field::Empty,
            gen_ai.response.finish_reasons = field::Empty,
            gen_ai.response.time_to_first_chunk = field::Empty,
            gen_ai.usage.input_tokens = field::Empty,
            gen_ai.usage.output_tokens = field::Empty,
            gen_ai.usage.cache_read.input_tokens = field::Empty,
            gen_ai.usage.cache_creation.input_tokens = field::Empty,
            gen_ai.usage.reasoning.output_tokens = field::Empty,
            gen_ai.usage.cost = field::Empty,
            error.type = field::Empty,
            http.response.status_code = field::Empty,
            botticelli.error.code = field::Empty,
            botticelli.request.id = field::Empty,
        );
        if span.is_none() {
            OFF_IS_NOTHING.store(true, Ordering::Relaxed);
        }
        span
    }
}

/// Whether a span that is off is nothing at all. With the feature `log` of `tracing`, which any crate of the program can turn on,
/// there is a record of it in the log, and the macro has to run.
static OFF_IS_NOTHING: AtomicBool = AtomicBool::new(false);

/// Whether no subscriber takes spans of calls, and nothing else comes of them.
#[inline]
fn spans_are_off() -> bool {
    OFF_IS_NOTHING.load(Ordering::Relaxed) && LevelFilter::current() < LevelFilter::INFO
}

/// Whether a call, task or tool call that starts now does nothing. Says so of nothing else, and not of every call that does nothing.
#[inline]
pub(crate) fn is_inert() -> bool {
    current::is_none() && spans_are_off() && !Frame::is_inside_any()
}
