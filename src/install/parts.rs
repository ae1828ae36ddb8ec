//! Single parts for programs that set their own recorder or subscriber: `Builder::recorder` and `Builder::trace_layer`.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Identity;
use tracing_subscriber::registry::LookupSpan;

use super::builder::Builder;
use super::environment::Environment;
use super::error::{FlushError, InstallError};
use super::late::{self, LateRecorder};
use super::plan::Plan;
use super::run;
use crate::fork::Origin;
use crate::scrape;
use crate::snapshot::Format;
use crate::spans;
use crate::store::MetricsRecorder;
use crate::worker::deadline;

/// Renders the page of a recorder that the program installs itself; returned by [`Builder::recorder`].
///
/// Cheap to clone. When the last clone is dropped, the recorder stops recording.
#[derive(Clone, Debug)]
#[must_use = "the recorder records nothing after its handle is dropped: keep it where the page is served"]
pub struct MetricsHandle {
    pipeline: Arc<scrape::Pipeline>,
}

impl MetricsHandle {
    /// Returns the page in the Prometheus text format 0.0.4.
    pub fn render(&self) -> String {
        self.pipeline.snapshot().to_text()
    }

    /// Returns the `Content-Type` and the page in the format that a scraper requests by its `Accept` header: OpenMetrics 1.0.0,
    /// which has exemplars, or the text format 0.0.4.
    ///
    /// ```
    /// let (recorder, page) = botticelli_obs::Builder::new().recorder()?;
    /// let (content_type, body) = page.respond(Some("application/openmetrics-text; version=1.0.0"));
    /// assert!(content_type.starts_with("application/openmetrics-text"));
    /// assert!(body.ends_with("# EOF\n"));
    /// assert!(page.respond(None).0.starts_with("text/plain"));
    /// # drop(recorder);
    /// # Ok::<(), botticelli_obs::InstallError>(())
    /// ```
    pub fn respond(&self, accept: Option<&str>) -> (&'static str, String) {
        let format = scrape::negotiate(accept);
        (format.content_type(), self.pipeline.snapshot().to_string_of(format))
    }

    /// Returns the `Content-Type` of what [`render`](Self::render) returns.
    pub fn content_type(&self) -> &'static str {
        Format::Text.content_type()
    }
}

/// Keeps the export of spans running; returned by [`Builder::trace_layer`].
///
/// Dropping it exports pending spans and stops the export, within 2 seconds and without reporting lost spans.
#[derive(Debug)]
#[must_use = "dropping this stops the export of spans: keep it until the program ends"]
pub struct TraceGuard {
    pipeline: Option<spans::Pipeline>,
    _counters: Option<Arc<LateRecorder>>,
    origin: Origin,
}

impl TraceGuard {
    /// Exports all spans that have ended. Blocks this thread for at most `timeout`.
    ///
    /// # Errors
    ///
    /// When spans were lost, or are still pending after `timeout`, or this process was forked from the one that made the layer.
    pub fn flush(&self, timeout: Duration) -> Result<(), FlushError> {
        match &self.pipeline {
            Some(_) if self.origin.is_forked() => Err(FlushError::FORKED),
            Some(pipeline) => pipeline.flush(deadline(timeout)).map_err(FlushError::from),
            None => Ok(()),
        }
    }

    /// Exports all spans that have ended, and stops the export. Blocks this thread for at most `timeout`.
    ///
    /// # Errors
    ///
    /// When spans were lost, or this process was forked from the one that made the layer.
    pub fn shutdown(mut self, timeout: Duration) -> Result<(), FlushError> {
        match self.pipeline.take() {
            Some(pipeline) if self.origin.is_forked() => {
                mem::forget(pipeline);
                Err(FlushError::FORKED)
            }
            Some(pipeline) => pipeline.shutdown(deadline(timeout)).map_err(FlushError::from),
            None => Ok(()),
        }
    }
}

impl Drop for TraceGuard {
    fn drop(&mut self) {
        if self.origin.is_forked() {
            // It is the parent's, and stopping it there would panic here.
            mem::forget(self.pipeline.take());
        }
    }
}

impl Builder {
    /// Builds the recorder and its page without installing them, for a program that serves the page itself or wraps the recorder.
    ///
    /// The metrics are neither pushed nor added to a text file.
    ///
    /// ```
    /// let (recorder, page) = botticelli_obs::Builder::new().recorder()?;
    /// botticelli_obs::metrics::with_local_recorder(&recorder, || {
    ///     botticelli_obs::llm_request!("ollama", "llama3.2");
    /// });
    /// assert!(page.render().contains(r#"llm_requests_total{provider="ollama",model="llama3.2"} 1"#));
    /// # Ok::<(), botticelli_obs::InstallError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When a setting of the metrics is invalid, or the system can't create a thread.
    pub fn recorder(self) -> Result<(MetricsRecorder, MetricsHandle), InstallError> {
        let plan = Plan::resolve(&self, &Environment::of_process())?;
        plan.faults.into_result_of("metrics")?;
        // OTEL_METRICS_EXPORTER=none has no effect here: the program requests the recorder in code and serves the page itself.
        let config = scrape::Config { listen: None, ..plan.metrics.unwrap_or_default() };
        let pipeline = run::start_metrics(&config, &mut { self.recorders })?;
        late::announce(pipeline.recorder());
        Ok((pipeline.recorder().clone(), MetricsHandle { pipeline: Arc::new(pipeline) }))
    }

    /// Builds the layer that exports spans without setting the global subscriber, for a program that has its own.
    ///
    /// The layer does nothing if no exporter is configured. The propagators of the process are set. What becomes of its spans is
    /// counted by the recorder that is current, or else by that of [`recorder`](Self::recorder), whichever of the two is made first.
    ///
    /// ```
    /// use botticelli_obs::Builder;
    /// use botticelli_obs::subscriber::Registry;
    /// use tracing_subscriber::layer::SubscriberExt;
    ///
    /// let (layer, guard) = Builder::new().trace_layer::<Registry>()?;
    /// let subscriber = Registry::default().with(layer);
    /// # drop(subscriber);
    /// # drop(guard);
    /// # Ok::<(), botticelli_obs::InstallError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When a setting of the traces is invalid, or the exporter can't be built.
    pub fn trace_layer<S>(self) -> Result<(Box<dyn Layer<S> + Send + Sync>, TraceGuard), InstallError>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        let plan = Plan::resolve(&self, &Environment::of_process())?;
        plan.faults.into_result_of("traces")?;
        let Some(config) = plan.traces else {
            return Ok((
                Identity::new().boxed(),
                TraceGuard { pipeline: None, _counters: None, origin: Origin::here() },
            ));
        };
        let counters = LateRecorder::new();
        let pipeline = run::start_traces(&config, &*counters)?;
        counters.connect_to_process();
        pipeline.set_propagators();
        Ok((
            pipeline.layer(),
            TraceGuard { pipeline: Some(pipeline), _counters: Some(counters), origin: Origin::here() },
        ))
    }
}
