//! The span of one call, sent as the program sends its own.

use std::thread;
use std::time::Instant;

use metrics::NoopRecorder;
use opentelemetry::trace::TraceContextExt;
use tokio::sync::oneshot;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::layer::SubscriberExt;

use crate::call::LlmCall;
use crate::spans::{Config, Pipeline, Sampler};

/// A span that the OTLP endpoint has taken.
#[derive(Debug)]
pub(super) struct Specimen {
    /// The id of its trace, in hexadecimal digits.
    pub(super) trace: String,
    pub(super) ended: Instant,
}

/// Why no span was sent.
#[derive(Debug)]
pub(super) enum Unsent {
    /// The settings let none pass.
    Off(&'static str),
    /// The endpoint has not taken it, or the system gives no thread.
    Failed,
}

/// Makes a call of which nobody counts anything, and exports its span until the deadline.
///
/// The sampler is left out where it takes a part of the traces.
pub(super) async fn send(mut config: Config, deadline: Instant) -> Result<Specimen, Unsent> {
    if matches!(config.sampler, Sampler::AlwaysOff | Sampler::ParentBasedAlwaysOff) {
        return Err(Unsent::Off("OTEL_TRACES_SAMPLER takes no traces"));
    }
    config.sampler = Sampler::AlwaysOn;
    let (done, finished) = oneshot::channel();
    // The threads of this crate, of which this may be one, export no spans.
    let started = thread::Builder::new()
        .name("botticelli-obs-specimen".to_owned())
        .spawn(move || drop(done.send(export(&config, deadline))));
    started.map_err(|_| Unsent::Failed)?;
    finished.await.unwrap_or(Err(Unsent::Failed))
}

fn export(config: &Config, deadline: Instant) -> Result<Specimen, Unsent> {
    let pipeline = Pipeline::start(config, &NoopRecorder).map_err(|_| Unsent::Failed)?;
    let subscriber = tracing_subscriber::registry().with(pipeline.layer());
    let trace = tracing::subscriber::with_default(subscriber, || {
        metrics::with_local_recorder(&NoopRecorder, || {
            let call = LlmCall::start("botticelli_obs", "doctor");
            let context = call.span().context();
            let context = context.span().span_context().clone();
            call.finish();
            context.is_valid().then(|| context.trace_id().to_string())
        })
    });
    let ended = Instant::now();
    let trace = trace.ok_or(Unsent::Off("BOTTICELLI_OBS_SPAN_FILTER lets no span of a call pass"))?;
    pipeline.shutdown(deadline).map_err(|_| Unsent::Failed)?;
    Ok(Specimen { trace, ended })
}
