//! The guard that `main` keeps while the program runs.

use std::mem;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::error::FlushError;
use super::push;
use crate::fork::Origin;
use crate::snapshot::Snapshot;
use crate::spend::{Ledger, Spend};
use crate::summary::Summary;
use crate::textfile::TextFile;
use crate::worker::{DROP_TIMEOUT, deadline, wait_for};
use crate::{file, scrape, spans};

/// Keeps the installed pipelines running. Keep it until the program ends, then call [`shutdown`](Self::shutdown).
///
/// Dropping it also shuts down, within 2 seconds and without reporting lost spans; a text file that could not be written
/// is logged. After that recording does nothing and uses no memory.
///
/// A process that is forked from this one has none of the pipelines: nothing is recorded there, the page is empty, and
/// [`flush`](Self::flush) and [`shutdown`](Self::shutdown) return an error at once. Fork first and install after it.
#[derive(Debug)]
#[must_use = "dropping this shuts the telemetry down: keep it until the program ends, as in `let telemetry = …`"]
pub struct Telemetry {
    pub(super) traces: Option<spans::Pipeline>,
    pub(super) push: Option<push::Pipeline>,
    pub(super) textfile: Option<TextFile>,
    pub(super) metrics: Option<scrape::Pipeline>,
    pub(super) origin: Origin,
}

impl Telemetry {
    /// Returns the address of the page, with the actual port if port 0 was configured; `None` without a listener.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().and_then(scrape::Pipeline::addr)
    }

    /// Returns the page in the Prometheus text format 0.0.4; empty without metrics.
    pub fn render(&self) -> String {
        self.snapshot().to_text()
    }

    fn snapshot(&self) -> Snapshot {
        self.metrics.as_ref().map(scrape::Pipeline::snapshot).unwrap_or_default()
    }

    /// Returns the totals of all calls until now, by provider and model. A program can print it before it ends.
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

    /// Returns what the calls of this process have cost, today and in all, as far as it is known; all zero without metrics.
    pub fn spend(&self) -> Spend {
        match &self.metrics {
            Some(metrics) => metrics.recorder().shared().spend(),
            None => Ledger::new(Vec::new()).spend(),
        }
    }

    /// Exports all spans that have ended, and the metrics if they are pushed. Blocks this thread for at most `timeout`.
    ///
    /// If the trace backend is away, it is tried again until `timeout` is over. The spans then still wait for it.
    ///
    /// # Errors
    ///
    /// When spans were lost or are still pending after `timeout`, the endpoint has not accepted the metrics, or this process was
    /// forked from the one that installed.
    pub fn flush(&self, timeout: Duration) -> Result<(), FlushError> {
        if self.origin.is_forked() {
            return Err(FlushError::FORKED);
        }
        let deadline = deadline(timeout);
        let pushed = self.begin_push();
        let mut error = match &self.traces {
            Some(traces) => traces.flush(deadline).map_or_else(FlushError::from, |()| FlushError::NONE),
            None => FlushError::NONE,
        };
        error.add_metrics(pushed(deadline));
        error.into_result()
    }

    /// Exports all spans that have ended, and stops all pipelines. Blocks this thread for at most `timeout`.
    ///
    /// If metrics are pushed or a text file is configured, it also pushes the metrics and adds the totals of the run to the file.
    /// A quarter of `timeout` is reserved for that. If the trace backend is away, it is tried again as long as there is time.
    ///
    /// # Errors
    ///
    /// When spans were lost, the endpoint has not accepted the metrics, the totals could not be written, or this process was forked
    /// from the one that installed.
    pub fn shutdown(mut self, timeout: Duration) -> Result<(), FlushError> {
        self.stop(timeout)
    }

    /// Begins an export of the metrics if they are pushed. The returned function waits until it ends or until a deadline.
    pub(super) fn begin_push(&self) -> impl FnOnce(Instant) -> Result<(), String> + use<> {
        let begun = self.push.as_ref().map(|push| (push.flush(), push.to_string()));
        move |deadline| match begun {
            Some((flush, to)) => {
                flush.wait(deadline).map_err(|why| format!("the last metrics did not reach {to}: {why}"))
            }
            None => Ok(()),
        }
    }

    fn stop(&mut self, timeout: Duration) -> Result<(), FlushError> {
        if self.origin.is_forked() {
            self.abandon();
            return Err(FlushError::FORKED);
        }
        let deadline = deadline(timeout);
        let mut error = FlushError::NONE;
        if let Some(traces) = self.traces.take() {
            // A trace backend that hangs must not use up the time for the metrics. So they are pushed once while the traces shut
            // down, and a part of the time is reserved for the final push and the text file.
            drop(self.begin_push());
            let has_final_metrics = self.push.is_some() || self.textfile.is_some();
            let reserved =
                if has_final_metrics { deadline.saturating_duration_since(Instant::now()) / 4 } else { Duration::ZERO };
            if let Err(lost) = traces.shutdown(deadline - reserved) {
                error = lost.into();
            }
        }
        // The values are final only now, since the shutdown of the traces counts dropped spans.
        let pushed = self.begin_push();
        if let Some(textfile) = self.textfile.take()
            && let Err(why) = write(textfile, self.snapshot(), deadline)
        {
            error.add_textfile(why);
        }
        error.add_metrics(pushed(deadline));
        if let Some(push) = self.push.take() {
            push.stop_by(deadline);
        }
        if let Some(metrics) = self.metrics.take() {
            metrics.recorder().shared().call_budgets();
            metrics.stop_by(deadline);
        }
        error.into_result()
    }

    /// Leaves the pipelines as they are: they are those of the parent, and this process has a copy of their memory alone.
    fn abandon(&mut self) {
        mem::forget((self.traces.take(), self.push.take(), self.metrics.take()));
        self.textfile = None;
    }
}

/// Adds the totals to the file, on a separate thread, since a network disk may hang.
fn write(textfile: TextFile, run: Snapshot, deadline: Instant) -> Result<(), String> {
    let path = file::shown(textfile.path());
    // Half of the time is for the lock that other runs may hold, half for the disk.
    let lock_deadline = Instant::now() + deadline.saturating_duration_since(Instant::now()) / 2;
    let written = wait_for("botticelli-obs-textfile", deadline, move || textfile.add(run, lock_deadline));
    match written {
        Some(Ok(())) => Ok(()),
        Some(Err(error)) => Err(format!("the totals of this run are not in {path}: {error}")),
        None => Err(format!("the totals of this run may not be in {path}: it was not written in time")),
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Err(error) = self.stop(DROP_TIMEOUT)
            && error.is_textfile_failure()
        {
            tracing::error!(target: "botticelli_obs", "textfile: {error}");
        }
    }
}

impl From<spans::Lost> for FlushError {
    fn from(spans: spans::Lost) -> Self {
        Self::new(spans.lost, spans.waiting)
    }
}
