//! Calls that other libraries have on their spans.

mod bridge;
mod entered;
mod error_word;
mod fields;

use std::sync::Arc;

use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Filter, Layer};
use tracing_subscriber::registry::LookupSpan;

use bridge::Bridge;

/// Counts the calls that other libraries, such as rig and genai, have on their spans: a span with the attributes of OpenTelemetry's
/// GenAI conventions becomes a call in the metrics.
///
/// [`Builder::with_span_metrics`] adds it to the subscriber of `install`. A program with a subscriber of its own adds
/// [`layer`](Self::layer). The span itself is exported, or not, as it is without this.
///
/// # Which spans
///
/// Spans of the levels INFO, WARN and ERROR that have a field `gen_ai.operation.name`, and in it `chat`, `generate_content`,
/// `text_completion` or `embeddings`. `RUST_LOG` and the filters of other layers have no effect on it; a filter of the whole subscriber
/// has. Spans of this crate's own calls are left out, as are agents and tools. Fields with messages, instructions and arguments of tools
/// are not read.
///
/// Inside an [`LlmCall`](crate::LlmCall), or inside another such span, a span of the same kind of operation is a part of that call,
/// which takes what it lacks from it. While the span is entered, it is what
/// [`LlmCall::current`](crate::LlmCall::current) finds, so that code below records attempts and waits of it.
///
/// # What is recorded
///
/// | of the call | from the span |
/// |---|---|
/// | provider | `gen_ai.provider.name`, or `gen_ai.system`; as on labels: `gemini` for `gcp.gemini` |
/// | model | `gen_ai.request.model` |
/// | start | the start of the span |
/// | end | when the span was last left, or something was recorded on it, after its usage, response or error was recorded; else its close |
/// | usage | `gen_ai.usage.input_tokens`, `.output_tokens`, and the parts of these |
/// | finish reasons | `gen_ai.response.finish_reasons` |
/// | first chunk | `gen_ai.response.time_to_first_chunk` |
/// | class of error | `error.type`: the class for a status such as `429` or a word such as `connect`; else `unknown` |
///
/// A call is counted when its span closes. If nothing has told by then how it went, it is `cancelled` where the span has a field
/// `error.type`, in which the library would have put an error, and `unknown` elsewhere, because such a library leaves errors out. What
/// is not on the span, such as the time between chunks, is not in the metrics, and there are no exemplars of such calls.
///
/// ```
/// # #[cfg(feature = "install")] {
/// use botticelli_obs::{Builder, SpanMetrics, tracing};
/// use tracing_subscriber::Registry;
/// use tracing_subscriber::layer::SubscriberExt;
///
/// let (recorder, metrics) = Builder::new().recorder()?;
/// let subscriber = Registry::default().with(SpanMetrics::layer());
/// # botticelli_obs::metrics::with_local_recorder(&recorder, || {
/// tracing::subscriber::with_default(subscriber, || {
///     // In a library:
///     let span = tracing::info_span!(
///         "chat",
///         gen_ai.operation.name = "chat",
///         gen_ai.provider.name = "gcp.gemini",
///         gen_ai.request.model = "gemini-2.5-flash",
///         gen_ai.usage.input_tokens = tracing::field::Empty,
///         gen_ai.usage.output_tokens = tracing::field::Empty,
///     );
///     span.record("gen_ai.usage.input_tokens", 12);
///     span.record("gen_ai.usage.output_tokens", 30);
/// });
/// # });
/// assert!(metrics.render().contains(r#"llm_tokens_total{provider="gemini",model="gemini-2.5-flash"} 42"#));
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[cfg_attr(feature = "install", doc = "\n[`Builder::with_span_metrics`]: crate::Builder::with_span_metrics")]
#[cfg_attr(
    not(feature = "install"),
    doc = "\n[`Builder::with_span_metrics`]: https://docs.rs/botticelli_obs/latest/botticelli_obs/struct.Builder.html"
)]
#[derive(Debug)]
pub struct SpanMetrics(());

impl SpanMetrics {
    /// Returns a layer for a subscriber, with a filter of its own: spans that are no calls don't come to it.
    pub fn layer<S>() -> impl Layer<S> + Send + Sync
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        Self(()).with_filter(Calls)
    }
}

/// The field that every span of a call has.
const OPERATION: &str = "gen_ai.operation.name";

/// Selects spans that may be calls, by their metadata.
struct Calls;

fn may_be_call(metadata: &Metadata<'_>) -> bool {
    metadata.is_span()
        && *metadata.level() <= Level::INFO
        && !metadata.target().starts_with(concat!(env!("CARGO_PKG_NAME"), "::"))
        && metadata.fields().field(OPERATION).is_some()
}

impl<S> Filter<S> for Calls {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        may_be_call(metadata)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if may_be_call(metadata) { Interest::always() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::INFO)
    }
}

impl<S> Layer<S> for SpanMetrics
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, cx: Context<'_, S>) {
        let Some(span) = cx.span(id) else { return };
        let bridge = Arc::new(Bridge::new(attributes.metadata()));
        {
            let mut extensions = span.extensions_mut();
            // In a subscriber that has this layer twice.
            if extensions.get_mut::<Arc<Bridge>>().is_some() {
                return;
            }
            extensions.insert(Arc::clone(&bridge));
        }
        bridge.record(|fields| attributes.record(fields));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, cx: Context<'_, S>) {
        if let Some(bridge) = bridge(id, &cx)
            && bridge.record(|fields| values.record(fields))
        {
            entered::started(&bridge);
        }
    }

    fn on_enter(&self, id: &Id, cx: Context<'_, S>) {
        if let Some(bridge) = bridge(id, &cx) {
            entered::enter(bridge);
        }
    }

    fn on_exit(&self, id: &Id, cx: Context<'_, S>) {
        if let Some(bridge) = bridge(id, &cx) {
            entered::exit(&bridge);
            bridge.leave();
        }
    }

    fn on_close(&self, id: Id, cx: Context<'_, S>) {
        // A statement of its own, so that no lock is held when the call ends.
        let bridge = cx.span(&id).and_then(|span| span.extensions_mut().remove::<Arc<Bridge>>());
        if let Some(bridge) = bridge {
            bridge.end();
        }
    }
}

fn bridge<S>(id: &Id, cx: &Context<'_, S>) -> Option<Arc<Bridge>>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let span = cx.span(id)?;
    let extensions = span.extensions();
    extensions.get::<Arc<Bridge>>().map(Arc::clone)
}
