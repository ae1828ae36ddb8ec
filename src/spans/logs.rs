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

use super::watch::{Lines, Watch};
use crate::word::words;

/// Sets the format of the log output on standard error. Defaults to [`Text`](Self::Text).
///
/// ```
/// use botticelli_obs::{Builder, LogFormat};
///
/// let builder = Builder::new().with_log_format(LogFormat::Json);
/// assert_eq!(LogFormat::default(), LogFormat::Text);
/// assert_eq!("JSON".parse(), Ok(LogFormat::Json));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LogFormat {
    /// `text`: one line for each event, with time, level, target, message and fields. In colour on a terminal, unless `NO_COLOR` is
    /// set or `TERM` is `dumb`.
    #[default]
    Text,
    /// `json`: one JSON object on a line for each event, with `trace_id` and `span_id` inside a span that is exported.
    Json,
    /// `off`: no log output.
    Off,
}

words! { LogFormat: "text" = Text, "json" = Json, "off" = Off }

/// The settings of the log output. They are validated: the layer can always be built from them.
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

/// Directives that silence two crates. They come first: a later directive for the same crate wins, so a program can show them
/// again.
///
/// OpenTelemetry logs two lines for each batch that fails, and the listener logs one for each connection that does not speak
/// HTTP. The pipelines report both themselves, at most once a minute.
const QUIET: &str = "opentelemetry=off,metrics_exporter_prometheus=off";

/// Returns the layer that writes log lines, or `None` when they are off.
pub(crate) fn layer(config: &Config) -> Option<Box<dyn Layer<Registry> + Send + Sync>> {
    let layer = tracing_subscriber::fmt::layer().with_writer(io::stderr).log_internal_errors(false);
    let filter = EnvFilter::new(format!("{QUIET},{}", config.filter));
    match config.format {
        LogFormat::Off => None,
        LogFormat::Text => {
            let layer = layer.with_ansi(has_colours()).fmt_fields(NoFields).event_format(TextLine);
            Some(Lines(layer).and_then(Watch).with_filter(filter).boxed())
        }
        LogFormat::Json => {
            let json = Format::default().json().with_current_span(false).with_span_list(false);
            let layer = layer.fmt_fields(JsonFields::new()).event_format(JsonLine(json));
            Some(Lines(layer).and_then(Watch).with_filter(filter).boxed())
        }
    }
}

fn has_colours() -> bool {
    let is_dumb = std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
    io::stderr().is_terminal() && !is_dumb && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Formats a text line without the fields of the enclosing spans: the fields of a call span alone would fill two lines.
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

/// Returns the ANSI colour of a level, the same as in `tracing-subscriber`.
fn colour(level: &Level) -> u8 {
    match *level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        Level::DEBUG => 34,
        Level::TRACE => 35,
    }
}

/// Formats no span fields: [`TextLine`] does not print them.
struct NoFields;

impl<'writer> FormatFields<'writer> for NoFields {
    fn format_fields<R: RecordFields>(&self, _: Writer<'writer>, _: R) -> fmt::Result {
        Ok(())
    }
}

/// Formats a JSON line with the ids of the current span.
struct JsonLine(Format<Json, SystemTime>);

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(&self, cx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let span = OtelContext::map_current(|cx| cx.span().span_context().clone());
        // An event with an explicit parent (`parent: …`) does not belong to the current span.
        if !span.is_valid() || !event.is_contextual() {
            return self.0.format_event(cx, writer, event);
        }
        let mut line = String::new();
        self.0.format_event(cx, Writer::new(&mut line), event)?;
        let object = line.trim_end().strip_suffix('}').ok_or(fmt::Error)?;
        writeln!(writer, r#"{object},"trace_id":"{}","span_id":"{}"}}"#, span.trace_id(), span.span_id())
    }
}
