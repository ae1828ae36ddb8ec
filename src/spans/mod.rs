//! The traces pipeline: spans, through the subscriber's layer, to a backend such as Jaeger; and the log output beside it.

mod export;
mod filter;
pub(crate) mod logs;
#[cfg(feature = "_otlp")]
mod otlp;
mod queue;
mod sampler;
mod stdout;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use metrics::Recorder;
use opentelemetry::propagation::{TextMapCompositePropagator, TextMapPropagator};
use opentelemetry::trace::TracerProvider;
use opentelemetry::{InstrumentationScope, KeyValue, global};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::{BaggagePropagator, TraceContextPropagator};
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider, SpanExporter};
use tracing::Subscriber;
use tracing_subscriber::layer::Layer;
use tracing_subscriber::registry::LookupSpan;

use crate::worker::{Worker, wait_for};
use export::Observed;
use filter::SpanFilter;
use queue::{Account, Gate};
pub use sampler::Sampler;

/// What the pipeline is built from; every value is valid.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) backend: Backend,
    /// Directives of an `EnvFilter`.
    pub(crate) filter: String,
    pub(crate) sampler: Sampler,
    pub(crate) limits: Limits,
    pub(crate) batch: Batch,
    pub(crate) propagators: Vec<Propagator>,
    /// Resource attributes, `service.name` among them.
    pub(crate) resource: Vec<(String, String)>,
}

/// Where spans go.
#[derive(Clone, Debug)]
pub(crate) enum Backend {
    Stdout,
    Otlp(crate::otlp::Config),
}

/// Limits of one span, `OTEL_SPAN_*_LIMIT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) attributes: u32,
    pub(crate) events: u32,
    pub(crate) links: u32,
    /// The longest attribute value, in characters.
    pub(crate) value_length: Option<usize>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { attributes: 128, events: 128, links: 128, value_length: None }
    }
}

/// Batching, `OTEL_BSP_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) delay: Duration,
    pub(crate) export_timeout: Duration,
    pub(crate) queue: usize,
    pub(crate) size: usize,
}

impl Default for Batch {
    fn default() -> Self {
        Self { delay: Duration::from_secs(5), export_timeout: Duration::from_secs(30), queue: 2048, size: 512 }
    }
}

/// A way to carry a trace over process borders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Propagator {
    TraceContext,
    Baggage,
}

/// The running pipeline.
pub(crate) struct Pipeline {
    provider: SdkTracerProvider,
    account: Arc<Account>,
    config: Config,
    worker: Option<Worker>,
}

impl Pipeline {
    /// Builds exporter, queue and provider; its health is counted by the recorder.
    ///
    /// # Errors
    ///
    /// When the system gives no thread, or the exporter can't be built, as for a certificate that can't be read.
    pub(crate) fn start(config: &Config, health: &dyn Recorder) -> io::Result<Self> {
        let worker = Worker::start("botticelli-obs-traces")?;
        let account = Arc::new(Account::new(health));
        let provider = match &config.backend {
            Backend::Stdout => provider(config, &account, stdout::Exporter),
            #[cfg(feature = "_otlp")]
            Backend::Otlp(otlp) => {
                let limit = otlp.timeout.min(config.batch.export_timeout);
                provider(config, &account, otlp::exporter(otlp, limit, &worker)?)
            }
            #[cfg(not(feature = "_otlp"))]
            Backend::Otlp(otlp) => match otlp.transport {},
        };
        Ok(Self { provider, account, config: config.clone(), worker: Some(worker) })
    }

    /// Says where spans go.
    pub(crate) fn backend(&self) -> &Backend {
        &self.config.backend
    }

    /// Returns the layer that turns the program's spans into exported ones.
    pub(crate) fn layer<S>(&self) -> Box<dyn Layer<S> + Send + Sync>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        layer(&self.provider, &self.config.filter)
    }

    /// Makes the propagators the program's.
    pub(crate) fn set_propagators(&self) {
        let propagators =
            self.config.propagators.iter().map(|propagator| -> Box<dyn TextMapPropagator + Send + Sync> {
                match propagator {
                    Propagator::TraceContext => Box::new(TraceContextPropagator::new()),
                    Propagator::Baggage => Box::new(BaggagePropagator::new()),
                }
            });
        global::set_text_map_propagator(TextMapCompositePropagator::new(propagators.collect()));
    }

    /// Exports what has ended, waiting at most until the deadline.
    ///
    /// # Errors
    ///
    /// How many spans were lost or are still waiting.
    pub(crate) fn flush(&self, deadline: Instant) -> Result<(), Lost> {
        let before = self.account.lost();
        let provider = self.provider.clone();
        let done = wait_for("botticelli-obs-flush", deadline, move || drain(&provider, deadline)).unwrap_or(false);
        // What waits after all was done has ended meanwhile.
        self.lost_since(before, if done { 0 } else { self.account.pending() })
    }

    /// Exports what has ended and stops, waiting at most until the deadline.
    ///
    /// # Errors
    ///
    /// How many spans were lost.
    pub(crate) fn shutdown(mut self, deadline: Instant) -> Result<(), Lost> {
        self.stop(deadline)
    }

    fn stop(&mut self, deadline: Instant) -> Result<(), Lost> {
        let Some(worker) = self.worker.take() else { return Ok(()) };
        let before = self.account.lost();
        let provider = self.provider.clone();
        wait_for("botticelli-obs-shutdown", deadline, move || {
            drain(&provider, deadline);
            // The result says nothing about the last export; the account does.
            let _ = provider.shutdown_with_timeout(deadline.saturating_duration_since(Instant::now()));
        });
        self.account.close();
        // If that thread still hangs, no more spans are made from here on all the same.
        let _ = self.provider.shutdown_with_timeout(Duration::ZERO);
        // The transport goes with its runtime, which ends whatever export is still hanging.
        drop(worker);
        self.lost_since(before, 0)
    }

    /// Says what was lost since the account stood at `before`.
    fn lost_since(&self, before: u64, waiting: u64) -> Result<(), Lost> {
        match self.account.lost() - before {
            0 if waiting == 0 => Ok(()),
            lost => Err(Lost { lost, waiting }),
        }
    }
}

/// Builds the layer that turns the spans that pass the filter into spans of the provider.
pub(crate) fn layer<S>(provider: &SdkTracerProvider, filter: &str) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
{
    let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME")).with_version(env!("CARGO_PKG_VERSION")).build();
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer_with_scope(scope))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_target(false)
        .with_filter(SpanFilter::new(filter))
        .boxed()
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        let _ = self.stop(Instant::now() + crate::worker::DROP_TIMEOUT);
    }
}

/// Spans that did not reach the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) lost: u64,
    pub(crate) waiting: u64,
}

/// Has every span exported that has ended before; says whether that was done in time, with whatever success.
fn drain(provider: &SdkTracerProvider, deadline: Instant) -> bool {
    while Instant::now() < deadline {
        // An error is that of the last export, or of the SDK, which gives up after 5 s: either way the next try knows more.
        if provider.force_flush().is_ok() {
            return true;
        }
        // Never in a hot loop.
        thread::sleep(Duration::from_millis(1));
    }
    false
}

fn provider<E: SpanExporter + 'static>(config: &Config, account: &Arc<Account>, exporter: E) -> SdkTracerProvider {
    let exporter = Observed::new(exporter, config.backend.to_string(), Arc::clone(account));
    let batch = BatchConfigBuilder::default()
        .with_scheduled_delay(config.batch.delay)
        .with_max_queue_size(config.batch.queue)
        .with_max_export_batch_size(config.batch.size)
        .build();
    let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batch).build();
    let gate = Gate::new(processor, Arc::clone(account), config.batch.queue, config.limits.value_length);
    let resource = Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_attributes(config.resource.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone())))
        .build();
    SdkTracerProvider::builder()
        .with_span_processor(gate)
        .with_sampler(config.sampler.to_sdk())
        .with_max_attributes_per_span(config.limits.attributes)
        .with_max_events_per_span(config.limits.events)
        .with_max_links_per_span(config.limits.links)
        .with_resource(resource)
        .build()
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline").field("backend", &self.config.backend).finish_non_exhaustive()
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("stdout"),
            Self::Otlp(otlp) => otlp.fmt(f),
        }
    }
}
