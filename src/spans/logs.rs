//! The log output: to standard error, as text or JSON.

use std::fmt;
use std::io::{self, IsTerminal};

use opentelemetry::Context as OtelContext;
use opentelemetry::trace::TraceContextExt;
use tracing::{Event, Level, Subscriber};
use tracing_log::NormalizeEvent;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::{DefaultFields, Format, Json, JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::word::words;

/// How log lines look.
///
/// Parsed from the words of `BOTTICELLI_OBS_LOG_FORMAT`, `text`, `json` and `off` in any case, and displayed as them.
///
/// ```
/// use botticelli_obs::LogFormat;
///
/// assert_eq!("JSON".parse(), Ok(LogFormat::Json));
/// assert_eq!(LogFormat::Off.to_string(), "off");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LogFormat {
    /// A line of text an event: time, level, target, message, fields.
    #[default]
    Text,
    /// A JSON object an event, with `trace_id` and `span_id` inside an exported span.
    Json,
    /// No log output.
    Off,
}

words! { LogFormat: "text" = Text, "json" = Json, "off" = Off }

/// What the log output is built from; every value is valid.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) format: LogFormat,
    /// Directives of an `EnvFilter`.
    pub(crate) filter: String,
}

impl Default for Config {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info".to_owned() }
    }
}

/// Put before the program's directives, so that naming one of these crates in them still shows it.
///
/// A backend that is away makes OpenTelemetry log two lines a batch, and a peer that talks nonsense makes the listener log
/// one a connection. The pipelines report both themselves, at most once a minute.
const QUIET: &str = "opentelemetry=off,metrics_exporter_prometheus=off";

/// Returns the layer that writes log lines, or `None` when they are off.
pub(crate) fn layer(config: &Config) -> Option<Box<dyn Layer<Registry> + Send + Sync>> {
    let layer = tracing_subscriber::fmt::layer().with_writer(io::stderr).log_internal_errors(false);
    let filter = EnvFilter::new(format!("{QUIET},{}", config.filter));
    match config.format {
        LogFormat::Off => None,
        LogFormat::Text => {
            let colours =
                io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            Some(layer.with_ansi(colours).fmt_fields(NoFields).event_format(TextLine).with_filter(filter).boxed())
        }
        LogFormat::Json => {
            let json = Format::default().json().with_current_span(false).with_span_list(false);
            Some(layer.fmt_fields(JsonFields::new()).event_format(JsonLine(json)).with_filter(filter).boxed())
        }
    }
}

/// A text line without the fields of the spans around it: those of a call alone would fill two lines.
struct TextLine;

impl<S, N> FormatEvent<S, N> for TextLine
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        SystemTime.format_time(&mut writer)?;
        match (writer.has_ansi_escapes(), colour(metadata.level())) {
            (true, colour) => write!(writer, " \x1b[{colour}m{:>5}\x1b[0m", metadata.level())?,
            (false, _) => write!(writer, " {:>5}", metadata.level())?,
        }
        write!(writer, " {}: ", metadata.target())?;
        DefaultFields::new().format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

/// The terminal's colour of a level, as `tracing-subscriber` has it.
fn colour(level: &Level) -> u8 {
    match *level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        Level::DEBUG => 34,
        Level::TRACE => 35,
    }
}

/// Formats no span fields, since no line shows them.
struct NoFields;

impl<'writer> FormatFields<'writer> for NoFields {
    fn format_fields<R: RecordFields>(&self, _: Writer<'writer>, _: R) -> fmt::Result {
        Ok(())
    }
}

/// A JSON line with the ids of the span it belongs to.
struct JsonLine(Format<Json, SystemTime>);

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(&self, cx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let span = OtelContext::map_current(|cx| cx.span().span_context().clone());
        // An event that names its parent does not belong to the current span.
        if !span.is_valid() || !event.is_contextual() {
            return self.0.format_event(cx, writer, event);
        }
        let mut line = String::new();
        self.0.format_event(cx, Writer::new(&mut line), event)?;
        let object = line.trim_end().strip_suffix('}').ok_or(fmt::Error)?;
        writeln!(writer, r#"{object},"trace_id":"{}","span_id":"{}"}}"#, span.trace_id(), span.span_id())
    }
}
