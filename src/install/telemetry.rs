//! What `main` keeps while the program runs.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::error::FlushError;
use super::push;
use crate::snapshot::Snapshot;
use crate::summary::Summary;
use crate::textfile::TextFile;
use crate::worker::{DROP_TIMEOUT, deadline, wait_for};
use crate::{scrape, spans};

/// The installed pipelines: keep it until the program ends, then [`shutdown`](Self::shutdown).
///
/// Dropping it shuts down too, within 2 seconds and without a word about spans that were lost. After that recording does
/// nothing, and takes no memory.
#[derive(Debug)]
#[must_use = "dropping this shuts the telemetry down: keep it until the program ends, as in `let telemetry = …`"]
pub struct Telemetry {
    pub(super) traces: Option<spans::Pipeline>,
    pub(super) push: Option<push::Pipeline>,
    pub(super) textfile: Option<TextFile>,
    pub(super) metrics: Option<scrape::Pipeline>,
}

impl Telemetry {
    /// Returns the address the page is served on, with the real port where 0 was asked for; `None` without a listener.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().and_then(scrape::Pipeline::addr)
    }

    /// Returns the page, in the Prometheus text format 0.0.4; empty without metrics.
    pub fn render(&self) -> String {
        self.snapshot().to_text()
    }

    fn snapshot(&self) -> Snapshot {
        self.metrics.as_ref().map(scrape::Pipeline::snapshot).unwrap_or_default()
    }

    /// Returns what the calls came to so far, by provider and model: for a program that prints it before it ends.
    ///
    /// ```
    /// use botticelli_obs::{Builder, LlmCall};
    ///
    /// let telemetry = Builder::new().without_listener().install()?;
    /// LlmCall::start("ollama", "llama3.2").finish();
    /// println!("{}", telemetry.summary());
    /// assert_eq!(telemetry.summary().models()[0].calls, 1);
    /// # Ok::<(), botticelli_obs::InstallError>(())
    /// ```
    pub fn summary(&self) -> Summary {
        Summary::of(&self.snapshot())
    }

    /// Exports every span that has ended, and the metrics where they are pushed, blocking this thread for `timeout` at most.
    ///
    /// # Errors
    ///
    /// When spans were lost or are still waiting, or the metrics were not taken.
    pub fn flush(&self, timeout: Duration) -> Result<(), FlushError> {
        let deadline = deadline(timeout);
        let pushed = self.begin_push();
        let mut missing = match &self.traces {
            Some(traces) => traces.flush(deadline).map_or_else(FlushError::from, |()| FlushError::NOTHING),
            None => FlushError::NOTHING,
        };
        missing.add_metrics(pushed(deadline));
        missing.into_result()
    }

    /// Exports every span that has ended, pushes the metrics and adds the run's totals to the text file where that is wanted,
    /// and stops all pipelines, blocking this thread for `timeout` at most. A quarter of that time is kept for the metrics.
    ///
    /// # Errors
    ///
    /// When spans were lost, the metrics were not taken, or the totals could not be written.
    pub fn shutdown(mut self, timeout: Duration) -> Result<(), FlushError> {
        self.stop(timeout)
    }

    /// Begins an export of the metrics where they are pushed; what it returns waits for its end.
    pub(super) fn begin_push(&self) -> impl FnOnce(Instant) -> Result<(), String> + use<> {
        let begun = self.push.as_ref().map(|push| (push.flush(), push.to_string()));
        move |deadline| match begun {
            Some((flush, to)) => flush.wait(deadline).map_err(|why| format!("the last metrics are not at {to}: {why}")),
            None => Ok(()),
        }
    }

    fn stop(&mut self, timeout: Duration) -> Result<(), FlushError> {
        let deadline = deadline(timeout);
        let mut missing = FlushError::NOTHING;
        if let Some(traces) = self.traces.take() {
            // A trace backend that hangs must not cost the metrics their time, and they go out while it is waited for.
            drop(self.begin_push());
            let others = self.push.is_some() || self.textfile.is_some();
            let share = if others { deadline.saturating_duration_since(Instant::now()) / 4 } else { Duration::ZERO };
            if let Err(lost) = traces.shutdown(deadline - share) {
                missing = lost.into();
            }
        }
        // From here on the page is final: the end of the traces is counted on it.
        let pushed = self.begin_push();
        if let Some(textfile) = self.textfile.take()
            && let Err(why) = write(textfile, self.snapshot(), deadline)
        {
            missing.add_textfile(why);
        }
        missing.add_metrics(pushed(deadline));
        self.push = None;
        self.metrics = None;
        missing.into_result()
    }
}

/// Adds the totals to the file; on a thread of its own, since a disk of the network may hang.
fn write(textfile: TextFile, run: Snapshot, deadline: Instant) -> Result<(), String> {
    let path = textfile.path().display().to_string();
    // Half of the time is for waiting for other runs, half for the disk.
    let patience = Instant::now() + deadline.saturating_duration_since(Instant::now()) / 2;
    let written = wait_for("botticelli-obs-textfile", deadline, move || textfile.add(run, patience));
    match written {
        Some(Ok(())) => Ok(()),
        Some(Err(error)) => Err(format!("the totals of this run are not in {path}: {error}")),
        None => Err(format!("the totals of this run may not be in {path}: it was not written in time")),
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Err(missing) = self.stop(DROP_TIMEOUT)
            && missing.is_textfile_failure()
        {
            tracing::error!(target: "botticelli_obs", "textfile: {missing}");
        }
    }
}

impl From<spans::Lost> for FlushError {
    fn from(spans: spans::Lost) -> Self {
        Self::new(spans.lost, spans.waiting)
    }
}
