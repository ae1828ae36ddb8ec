//! Prints spans on standard output, for use without a backend.

#[cfg(feature = "_otlp")]
use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::{self, Write as _};
#[cfg(feature = "_otlp")]
use std::sync::Mutex;
use std::time::Duration;

use opentelemetry::trace::{SpanId, Status};
use opentelemetry_sdk::trace::SpanData;

use super::export::{Answer, Export};
#[cfg(feature = "_otlp")]
use crate::lock::unpoisoned;
use crate::worker::apart;

const THREAD: &str = "botticelli-obs-stdout";

/// Writes one line for each span. Unlike `opentelemetry-stdout` it does not panic when standard output is closed.
#[derive(Debug)]
pub(super) struct Exporter;

impl Export for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> Answer {
        // Standard output may be a pipe that nobody reads. Then the pipeline ends without this thread.
        match apart(THREAD, move || print(&batch)).await {
            Some(Ok(())) => Answer::Taken,
            Some(Err(error)) => Answer::Refused { why: format!("standard output: {error}") },
            None => Answer::Refused { why: "standard output: panicked".to_owned() },
        }
    }
}

/// Writes the spans that another exporter exports.
#[cfg(feature = "_otlp")]
#[derive(Debug)]
pub(super) struct Printed<E> {
    exporter: E,
    /// Spans that are written, and that the other exporter is to try again.
    written: Mutex<HashSet<SpanId>>,
}

#[cfg(feature = "_otlp")]
impl<E> Printed<E> {
    /// Spans that a full queue has dropped stay in `written`. When there are so many, all are forgotten.
    const MOST: usize = 100_000;

    pub(super) fn new(exporter: E) -> Self {
        Self { exporter, written: Mutex::default() }
    }
}

#[cfg(feature = "_otlp")]
impl<E: Export> Export for Printed<E> {
    async fn export(&self, batch: Vec<SpanData>) -> Answer {
        let ids: Vec<SpanId> = batch.iter().map(|span| span.span_context.span_id()).collect();
        let mut new = batch.clone();
        {
            let mut written = unpoisoned(self.written.lock());
            if written.len() > Self::MOST {
                written.clear();
            }
            new.retain(|span| written.insert(span.span_context.span_id()));
        }
        // A closed standard output is no reason to call spans lost that the other exporter has delivered.
        let _ = apart(THREAD, move || print(&new)).await;
        let answer = self.exporter.export(batch).await;
        if !matches!(answer, Answer::Later { .. } | Answer::TooLarge { .. }) {
            let mut written = unpoisoned(self.written.lock());
            ids.iter().for_each(|id| {
                written.remove(id);
            });
        }
        answer
    }
}

fn print(batch: &[SpanData]) -> io::Result<()> {
    let lines: String = batch.iter().map(line).collect();
    let mut stdout = io::stdout().lock();
    stdout.write_all(lines.as_bytes()).and_then(|()| stdout.flush())
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
