//! Prints spans on standard output, for use without a backend.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::time::Duration;

use opentelemetry::trace::{SpanId, Status};
use opentelemetry_sdk::trace::SpanData;

use super::export::{Answer, Export};

/// Writes one line for each span. Unlike `opentelemetry-stdout` it does not panic when standard output is closed.
#[derive(Debug)]
pub(super) struct Exporter;

impl Export for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> Answer {
        // Standard output may be a pipe that nobody reads. Then the pipeline ends without this thread.
        let written = tokio::task::spawn_blocking(move || {
            let lines: String = batch.iter().map(line).collect();
            let mut stdout = io::stdout().lock();
            stdout.write_all(lines.as_bytes()).and_then(|()| stdout.flush())
        });
        match written.await {
            Ok(Ok(())) => Answer::Taken,
            Ok(Err(error)) => Answer::Refused { why: format!("standard output: {error}") },
            Err(error) => Answer::Refused { why: error.to_string() },
        }
    }
}

/// Formats a span: `span "chat gpt-4o" client 1.234s error trace=… id=… parent=… key="value"…`
fn line(span: &SpanData) -> String {
    let took = span.end_time.duration_since(span.start_time).unwrap_or(Duration::ZERO);
    let status = match span.status {
        Status::Unset => "unset",
        Status::Ok => "ok",
        Status::Error { .. } => "error",
    };
    let kind = format!("{:?}", span.span_kind).to_lowercase();
    let (trace, id) = (span.span_context.trace_id(), span.span_context.span_id());
    let mut line = format!("span {:?} {kind} {:.3}s {status} trace={trace} id={id}", span.name, took.as_secs_f64());
    if span.parent_span_id != SpanId::INVALID {
        let _ = write!(line, " parent={}", span.parent_span_id);
    }
    for attribute in &span.attributes {
        let _ = write!(line, " {}={:?}", attribute.key, attribute.value.as_str());
    }
    line.push('\n');
    line
}
