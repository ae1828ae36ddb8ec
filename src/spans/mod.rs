//! The traces pipeline and the log output.
//!
//! A span goes from the subscriber's layer (`filter`), when it has ended (`ending`), through the processor (`queue`) into the buffer
//! (`buffer`). From there a task on the pipeline's own thread sends it (`export`) to a backend such as Jaeger (`otlp`) or to standard
//! output (`stdout`).

mod aliases;
mod buffer;
mod content;
mod counts;
pub(crate) mod ending;
mod export;
mod filter;
pub(crate) mod logs;
mod numbers;
#[cfg(feature = "_otlp")]
mod otlp;
mod queue;
mod report;
mod sampler;
mod size;
mod status;
mod stdout;
mod watch;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::Recorder;
use opentelemetry::propagation::{TextMapCompositePropagator, TextMapPropagator};
use opentelemetry::trace::TracerProvider;
use opentelemetry::{InstrumentationScope, KeyValue, global};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::{BaggagePropagator, TraceContextPropagator};
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Subscriber;
use tracing_subscriber::layer::Layer;
use tracing_subscriber::registry::LookupSpan;

use crate::otlp::LARGEST_MESSAGE;
use crate::worker::Worker;
use buffer::Buffer;
use counts::{Reason, SpanCounts};
use ending::EndProcessor;
use export::{Export, Sender};
use filter::SpanFilter;
use queue::BoundedProcessor;
pub use sampler::Sampler;
use watch::Watch;

/// The settings of the pipeline. They are validated: only the system can refuse a start.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) backend: Backend,
    /// Directives of an `EnvFilter`.
    pub(crate) filter: String,
    pub(crate) sampler: Sampler,
    pub(crate) limits: Limits,
    pub(crate) batch: Batch,
    pub(crate) propagators: Vec<Propagator>,
    /// Whether spans keep what people and models say.
    pub(crate) captures_content: bool,
    /// Whether spans get attributes under older names, too.
    pub(crate) aliases: bool,
    /// Resource attributes, including `service.name`.
    pub(crate) resource: Vec<(String, String)>,
}

#[cfg(feature = "cli")]
impl Config {
    /// Sets the name of the service, if there is one.
    pub(crate) fn with_service(mut self, name: Option<&String>) -> Self {
        let named = self.resource.iter_mut().find(|(key, _)| key == "service.name");
        if let (Some((_, value)), Some(name)) = (named, name) {
            value.clone_from(name);
        }
        self
    }
}

/// Where spans go.
#[derive(Clone, Debug)]
pub(crate) enum Backend {
    Stdout,
    Otlp(crate::otlp::Config),
    OtlpAndStdout(crate::otlp::Config),
}

impl Backend {
    /// Returns the OTLP endpoint, if there is one.
    pub(crate) fn endpoint(&self) -> Option<&crate::otlp::Config> {
        match self {
            Self::Stdout => None,
            Self::Otlp(otlp) | Self::OtlpAndStdout(otlp) => Some(otlp),
        }
    }
}

/// The limits of one span (`OTEL_SPAN_*_LIMIT`). The defaults are those of the OpenTelemetry specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) attributes: u32,
    pub(crate) events: u32,
    pub(crate) event_attributes: u32,
    pub(crate) links: u32,
    pub(crate) link_attributes: u32,
    /// The maximum length of an attribute value, in characters; `None` for no limit.
    pub(crate) value_length: Option<usize>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            attributes: 128,
            events: 128,
            event_attributes: 128,
            links: 128,
            link_attributes: 128,
            value_length: None,
        }
    }
}

/// The batching of spans (`OTEL_BSP_*`). The defaults are those of the OpenTelemetry specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    /// The time between two exports, unless a batch is full before.
    pub(crate) delay: Duration,
    pub(crate) export_timeout: Duration,
    /// The maximum number of spans that wait for their export.
    pub(crate) queue: usize,
    /// The maximum number of spans in one export.
    pub(crate) size: usize,
}

impl Default for Batch {
    fn default() -> Self {
        Self { delay: Duration::from_secs(5), export_timeout: Duration::from_secs(30), queue: 2048, size: 512 }
    }
}

/// A format that carries the trace context from one process to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Propagator {
    TraceContext,
    Baggage,
}

/// The running pipeline.
pub(crate) struct Pipeline {
    provider: SdkTracerProvider,
    buffer: Arc<Buffer>,
    counts: Arc<SpanCounts>,
    config: Config,
    worker: Option<Worker>,
}

impl Pipeline {
    /// Starts the exporter, the queue and the provider. `recorder` counts the spans exported and dropped.
    ///
    /// # Errors
    ///
    /// When the system can't start a thread, or the exporter can't be built, such as with a certificate that can't be read.
    pub(crate) fn start(config: &Config, recorder: &dyn Recorder) -> io::Result<Self> {
        let worker = Worker::start("botticelli-obs-traces")?;
        let buffer = Arc::new(Buffer::new(config.batch.queue, config.batch.size));
        let counts = Arc::new(SpanCounts::new(recorder));
        let resource = Resource::builder_empty()
            .with_detector(Box::new(TelemetryResourceDetector))
            .with_attributes(config.resource.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone())))
            .build();
        let pipeline = Start { config, buffer: &buffer, counts: &counts, resource: &resource, worker: &worker };
        match &config.backend {
            Backend::Stdout => pipeline.export_by(stdout::Exporter),
            #[cfg(feature = "_otlp")]
            Backend::Otlp(otlp) | Backend::OtlpAndStdout(otlp) => {
                let limit = otlp.timeout.min(config.batch.export_timeout);
                let exporter = otlp::exporter(otlp, limit, &resource, &worker)?;
                match &config.backend {
                    Backend::OtlpAndStdout(_) => pipeline.export_by(stdout::Printed::new(exporter)),
                    _ => pipeline.export_by(exporter),
                }
            }
            #[cfg(not(feature = "_otlp"))]
            Backend::Otlp(otlp) | Backend::OtlpAndStdout(otlp) => match otlp.transport {},
        }
        let provider = provider(config, &buffer, resource);
        Ok(Self { provider, buffer, counts, config: config.clone(), worker: Some(worker) })
    }

    /// Returns where spans go.
    pub(crate) fn backend(&self) -> &Backend {
        &self.config.backend
    }

    /// Returns the layer that exports spans of `tracing`.
    pub(crate) fn layer<S>(&self) -> Box<dyn Layer<S> + Send + Sync>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        layer(&self.provider, &self.config.filter)
    }

    /// Sets the propagators of the process.
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

    /// Exports the spans that have ended, and waits for it until the deadline.
    ///
    /// # Errors
    ///
    /// Returns how many spans were lost meanwhile or are still waiting.
    pub(crate) fn flush(&self, deadline: Instant) -> Result<(), Lost> {
        let before = self.lost();
        // After a complete flush, spans that are pending now ended after it began: they are no loss.
        let waiting = if self.buffer.flush(deadline) { 0 } else { self.buffer.pending() };
        self.lost_since(before, waiting)
    }

    /// Exports the spans that have ended, and stops the pipeline by the deadline.
    ///
    /// # Errors
    ///
    /// Returns how many spans were lost meanwhile.
    pub(crate) fn shutdown(mut self, deadline: Instant) -> Result<(), Lost> {
        self.stop(deadline)
    }

    fn stop(&mut self, deadline: Instant) -> Result<(), Lost> {
        let Some(worker) = self.worker.take() else { return Ok(()) };
        let before = self.lost();
        self.buffer.flush(deadline);
        // The provider makes no spans from now on. Those that have ended meanwhile are exported too.
        let _ = self.provider.shutdown_with_timeout(Duration::ZERO);
        self.buffer.flush(deadline);
        // After the deadline: spans that are still pending are lost, and so is every span that ends from now on.
        self.counts.record_dropped(self.buffer.close(), Reason::ShutDown);
        // This ends an export that still hangs.
        worker.stop_by(deadline);
        self.lost_since(before, 0)
    }

    /// Returns the spans that were lost, those included that were dropped where they ended.
    fn lost(&self) -> u64 {
        self.counts.record_uncounted(self.buffer.take_uncounted());
        self.counts.lost()
    }

    /// Compares the lost spans with an earlier count.
    fn lost_since(&self, before: u64, waiting: u64) -> Result<(), Lost> {
        match self.lost() - before {
            0 if waiting == 0 => Ok(()),
            lost => Err(Lost { lost, waiting }),
        }
    }
}

/// Builds the layer that turns the spans which pass the filter into spans of the provider.
pub(crate) fn layer<S>(provider: &SdkTracerProvider, filter: &str) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
{
    let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME")).with_version(env!("CARGO_PKG_VERSION")).build();
    let exported = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer_with_scope(scope))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_target(false);
    let layer = numbers::Before::default().and_then(exported).and_then(numbers::After).and_then(Watch);
    layer.with_filter(SpanFilter::new(filter)).boxed()
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

/// What the tasks of a pipeline need.
struct Start<'a> {
    config: &'a Config,
    buffer: &'a Arc<Buffer>,
    counts: &'a Arc<SpanCounts>,
    resource: &'a Resource,
    worker: &'a Worker,
}

impl Start<'_> {
    /// Starts the tasks that export and count the spans of the buffer.
    fn export_by(&self, exporter: impl Export) {
        let (buffer, counts) = (Arc::clone(self.buffer), Arc::clone(self.counts));
        let resource =
            self.resource.iter().map(|(key, value)| size::attribute(&KeyValue::new(key.clone(), value.clone())));
        let limit = LARGEST_MESSAGE.saturating_sub(resource.sum());
        let sender =
            Sender::new(exporter, Arc::clone(&buffer), Arc::clone(&counts), self.config.backend.to_string(), limit);
        self.worker.handle().spawn(sender.run(self.config.batch.delay));
        self.worker.handle().spawn(async move {
            loop {
                counts.record_uncounted(buffer.uncounted().await);
            }
        });
    }
}

fn provider(config: &Config, buffer: &Arc<Buffer>, resource: Resource) -> SdkTracerProvider {
    SdkTracerProvider::builder()
        .with_span_processor(EndProcessor::new(BoundedProcessor::new(Arc::clone(buffer), config)))
        .with_sampler(config.sampler.to_sdk())
        .with_max_attributes_per_span(config.limits.attributes)
        .with_max_events_per_span(config.limits.events)
        .with_max_attributes_per_event(config.limits.event_attributes)
        .with_max_links_per_span(config.limits.links)
        .with_max_attributes_per_link(config.limits.link_attributes)
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
            Self::OtlpAndStdout(otlp) => write!(f, "{otlp}, and stdout"),
        }
    }
}
