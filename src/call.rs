//! One logical call to an LLM.

use std::fmt;
use std::time::Instant;

use tracing::{Span, field};

use crate::error_type::ErrorType;
use crate::series::CallSeries;
use crate::usage::Usage;

/// The target of call spans, by which the span filter knows them.
pub(crate) const TARGET: &str = "botticelli_obs::call";

/// The only operation until a call can be told another: the conventions' word for a conversation with a model.
const OPERATION: &str = "chat";

/// One logical call to an LLM, from start to end: its metrics and its span.
///
/// However the call ends, it is recorded exactly once: [`finish`](Self::finish), [`fail`](Self::fail), or dropped, which
/// counts as `error_type="cancelled"`, or `"panic"` while the thread unwinds. A call belongs to the recorder and the
/// subscriber that were current at its start; with neither it does nothing.
///
/// ```
/// use botticelli_obs::{ErrorType, LlmCall, Usage};
///
/// # fn generate() -> Result<(u64, u64), ErrorType> { Ok((12, 30)) }
/// let mut call = LlmCall::start("gemini", "gemini-2.5-flash");
/// match generate() {
///     Ok((prompt, completion)) => {
///         call.record_usage(Usage::new(prompt, completion));
///         call.finish();
///     }
///     Err(error) => call.fail(error),
/// }
/// ```
#[must_use = "a call that is dropped is recorded as cancelled: keep it and call `finish` or `fail`"]
pub struct LlmCall {
    series: CallSeries,
    span: Span,
    started: Instant,
    usage: Option<Usage>,
    error: Option<ErrorType>,
    unwinding: bool,
    ended: bool,
}

impl LlmCall {
    /// Starts a call to a model, as asked for, of a provider such as `gemini`, `anthropic` or `openai`.
    ///
    /// Both become labels, so neither may hold ids or a user's text.
    pub fn start(provider: &str, model: &str) -> Self {
        Self {
            series: CallSeries::start(provider, model),
            span: tracing::info_span!(
                target: TARGET,
                "llm_call",
                otel.name = format_args!("{OPERATION} {model}"),
                otel.kind = "client",
                otel.status_code = field::Empty,
                gen_ai.operation.name = OPERATION,
                gen_ai.provider.name = convention_name(provider),
                gen_ai.request.model = model,
                gen_ai.usage.input_tokens = field::Empty,
                gen_ai.usage.output_tokens = field::Empty,
                gen_ai.usage.cache_read.input_tokens = field::Empty,
                gen_ai.usage.cache_creation.input_tokens = field::Empty,
                gen_ai.usage.reasoning.output_tokens = field::Empty,
                error.type = field::Empty,
            ),
            started: Instant::now(),
            usage: None,
            error: None,
            unwinding: std::thread::panicking(),
            ended: false,
        }
    }

    /// Returns the span of the call, to make it the parent of what happens inside.
    ///
    /// ```
    /// # use botticelli_obs::LlmCall;
    /// let call = LlmCall::start("ollama", "llama3.2");
    /// call.span().in_scope(|| tracing::info!("sending the request"));
    /// call.finish();
    /// ```
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// Records how many tokens the call used; again replaces what was recorded before.
    pub fn record_usage(&mut self, usage: Usage) {
        self.usage = Some(usage);
    }

    /// Records that the call has failed, and why; again replaces what was recorded before.
    pub fn record_error(&mut self, error: impl Into<ErrorType>) {
        self.error = Some(error.into());
    }

    /// Ends the call: as a success, or with the error that was recorded.
    pub fn finish(mut self) {
        self.end();
    }

    /// Ends the call with an error.
    pub fn fail(mut self, error: impl Into<ErrorType>) {
        self.record_error(error);
        self.end();
    }

    fn end(&mut self) {
        self.ended = true;
        self.series.end(self.started.elapsed(), self.error, self.usage);
        if let Some(error) = self.error {
            self.span.record("error.type", error.as_str());
            self.span.record("otel.status_code", "ERROR");
        }
        if let Some(usage) = self.usage {
            self.record_tokens("gen_ai.usage.input_tokens", Some(usage.prompt()));
            self.record_tokens("gen_ai.usage.output_tokens", Some(usage.completion()));
            self.record_tokens("gen_ai.usage.cache_read.input_tokens", some_if_positive(usage.cache_read()));
            self.record_tokens("gen_ai.usage.cache_creation.input_tokens", some_if_positive(usage.cache_write()));
            self.record_tokens("gen_ai.usage.reasoning.output_tokens", some_if_positive(usage.reasoning()));
        }
    }

    /// Signed, because OpenTelemetry knows no unsigned attribute and the layer would make a string of one.
    fn record_tokens(&self, attribute: &str, tokens: Option<u64>) {
        if let Some(tokens) = tokens {
            self.span.record(attribute, i64::try_from(tokens).unwrap_or(i64::MAX));
        }
    }
}

impl Drop for LlmCall {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let panicked = std::thread::panicking() && !self.unwinding;
        self.error.get_or_insert(if panicked { ErrorType::Panic } else { ErrorType::Cancelled });
        self.end();
    }
}

impl fmt::Debug for LlmCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LlmCall")
            .field("started", &self.started)
            .field("usage", &self.usage)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

fn some_if_positive(tokens: u64) -> Option<u64> {
    (tokens > 0).then_some(tokens)
}

/// Maps a provider to its `gen_ai.provider.name`, by the well-known values of the GenAI conventions v1.41.1.
fn convention_name(provider: &str) -> &str {
    match provider {
        "gemini" | "google" => "gcp.gemini",
        "vertex" | "vertex_ai" | "vertexai" => "gcp.vertex_ai",
        "bedrock" => "aws.bedrock",
        "azure" | "azure_openai" => "azure.ai.openai",
        "mistral" => "mistral_ai",
        "grok" | "xai" => "x_ai",
        "watsonx" => "ibm.watsonx.ai",
        other => other,
    }
}
