//! The push of metrics by OTLP: sends the values that a scrape would read to a Collector.
//!
//! Every export has the totals since the start of the program. So failed exports are not queued: the next one that succeeds
//! includes their values.

mod encode;

use std::fmt;
use std::io;
use std::sync::mpsc as std_mpsc;
use std::time::{Duration, Instant};

use metrics::{Counter, Gauge, Recorder, SharedString};
use tokio::sync::mpsc;

use crate::catalog::{self, METADATA, Metric};
use crate::otlp;
use crate::otlp::send::{Refusal, Sender};
use crate::snapshot::Snapshot;
use crate::throttle::Throttle;
use crate::worker::Worker;
use encode::Encoder;

/// The pauses before retries, when a caller waits for the export. Otherwise the next periodic export is the retry.
const RETRY_DELAYS: &[Duration] = &[Duration::from_millis(200), Duration::from_millis(400), Duration::from_millis(800)];

/// The configuration of the pipeline; all values have been checked.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) otlp: otlp::Config,
    /// The time between two exports.
    pub(crate) interval: Duration,
    /// Resource attributes, `service.name` among them.
    pub(crate) resource: Vec<(String, String)>,
    /// The address of the page, `None` without a listener. Log lines advise to scrape it.
    pub(crate) listen: Option<String>,
}

/// Reads the current values.
pub(crate) type Read = Box<dyn Fn() -> Snapshot + Send>;

/// The running pipeline. Dropping it stops the thread without a last export.
#[derive(Debug)]
pub(crate) struct Pipeline {
    config: Config,
    requests: mpsc::UnboundedSender<Request>,
    worker: Worker,
}

/// Requests an export now; the result is sent back.
type Request = std_mpsc::Sender<Result<(), String>>;

/// An export that has begun; [`wait`](Self::wait) returns its result.
pub(crate) struct Flush(std_mpsc::Receiver<Result<(), String>>);

impl Pipeline {
    /// Starts the thread that exports. The recorder counts failures and publishes whether the pipeline is up.
    ///
    /// # Errors
    ///
    /// When the system can't create a thread, or the certificate or the system's roots can't be read.
    pub(crate) fn start(config: Config, read: Read, health: &dyn Recorder) -> io::Result<Self> {
        let worker = Worker::start_blocking("botticelli-obs-push")?;
        let sender = {
            let _entered = worker.handle().enter();
            Sender::new(&config.otlp)?
        };
        let (requests, received) = mpsc::unbounded_channel();
        let exporter = Exporter {
            encoder: Encoder::new(&config.resource),
            config: config.clone(),
            read,
            sender,
            health: Health::new(health),
            is_unsupported: false,
            accepted: None,
        };
        worker.handle().spawn(exporter.run(received));
        Ok(Self { config, requests, worker })
    }

    /// Stops the thread without a last export.
    pub(crate) fn stop_by(self, deadline: Instant) {
        self.worker.stop_by(deadline);
    }

    /// Begins an export of the current values.
    pub(crate) fn flush(&self) -> Flush {
        let (request, answer) = std_mpsc::channel();
        // Fails if the thread has ended. Then `wait` fails, too.
        let _ = self.requests.send(request);
        Flush(answer)
    }
}

impl Flush {
    /// Waits until the export ends, or the deadline.
    ///
    /// # Errors
    ///
    /// The reason why the endpoint has not accepted the metrics.
    pub(crate) fn wait(self, deadline: Instant) -> Result<(), String> {
        let answer = self.0.recv_timeout(deadline.saturating_duration_since(Instant::now()));
        answer.unwrap_or_else(|_| Err("no answer in time".to_owned()))
    }
}

impl fmt::Display for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.config.otlp.fmt(f)
    }
}

/// Exports periodically and on request; runs on the thread of the pipeline.
struct Exporter {
    config: Config,
    read: Read,
    encoder: Encoder,
    sender: Sender,
    health: Health,
    /// Whether the endpoint has answered that it does not support metrics. Then nothing is sent any more.
    is_unsupported: bool,
    /// The values that the endpoint accepted last.
    accepted: Option<Snapshot>,
}

impl Exporter {
    async fn run(mut self, mut requests: mpsc::UnboundedReceiver<Request>) {
        // The first export is the one that `install` requests: a warning before that could precede the set-up of the log.
        let mut interval = Duration::MAX;
        loop {
            match tokio::time::timeout(interval, requests.recv()).await {
                Err(_) => {
                    let snapshot = (self.read)();
                    let _ = self.export(snapshot).await;
                }
                Ok(Some(request)) => {
                    let result = self.export_with_retries().await;
                    // Fails if the caller no longer waits.
                    let _ = request.send(result.map_err(|refusal| refusal.to_string()));
                }
                Ok(None) => return,
            }
            interval = if self.is_unsupported { Duration::MAX } else { self.config.interval };
        }
    }

    async fn export_with_retries(&mut self) -> Result<(), Refusal> {
        let mut result = Ok(());
        for pause in [Duration::ZERO].iter().chain(RETRY_DELAYS) {
            tokio::time::sleep(*pause).await;
            let snapshot = (self.read)();
            if self.is_unsupported || self.accepted.as_ref().is_some_and(|accepted| accepted.has_values_of(&snapshot)) {
                return Ok(());
            }
            result = self.export(snapshot).await;
            if !matches!(result, Err(Refusal::Failed(_))) {
                break;
            }
        }
        result
    }

    async fn export(&mut self, snapshot: Snapshot) -> Result<(), Refusal> {
        match self.sender.metrics(self.encoder.encode(&snapshot)).await {
            Ok(()) => {
                self.accepted = Some(snapshot);
                self.health.report_success(&self.config);
                Ok(())
            }
            Err(Refusal::UnknownSignal) => {
                self.is_unsupported = true;
                self.health.report_unsupported(&self.config);
                Ok(())
            }
            Err(refusal) => {
                self.health.report_failure(&self.config, &refusal);
                Err(refusal)
            }
        }
    }
}

/// Reports on the endpoint in metrics and log lines.
struct Health {
    failures: Counter,
    up: Gauge,
    throttle: Throttle,
    /// Whether the last log line was about a failure. Then the next success is logged.
    is_failing: bool,
}

impl Health {
    fn new(recorder: &dyn Recorder) -> Self {
        let key = |metric: &Metric, value| metric.key([SharedString::const_str(value)]);
        let failures = recorder.register_counter(&key(&catalog::EXPORT_FAILURES, "metrics"), &METADATA);
        let up = recorder.register_gauge(&key(&catalog::PIPELINE_UP, "push"), &METADATA);
        up.set(1.0);
        Self { failures, up, throttle: Throttle::default(), is_failing: false }
    }

    fn report_success(&mut self, config: &Config) {
        if std::mem::take(&mut self.is_failing) {
            tracing::info!(target: "botticelli_obs", "push: {} takes metrics again", config.otlp);
        }
    }

    fn report_failure(&mut self, config: &Config, refusal: &Refusal) {
        self.failures.increment(1);
        if !self.throttle.allow(Instant::now()) {
            return;
        }
        self.is_failing = true;
        tracing::warn!(
            target: "botticelli_obs",
            "push: {} takes no metrics: {refusal}; the program continues, and the next export includes all values", config.otlp
        );
    }

    fn report_unsupported(&mut self, config: &Config) {
        self.failures.increment(1);
        self.up.set(0.0);
        tracing::warn!(
            target: "botticelli_obs",
            "push: {}: this endpoint stores traces only, as Jaeger does; metrics sent to it are lost, and none are sent any more: {} or \
             point OTEL_EXPORTER_OTLP_METRICS_ENDPOINT at a Collector",
            config.otlp,
            match &config.listen {
                Some(listen) => format!("scrape http://{listen}/metrics"),
                None => "scrape the program, with OTEL_METRICS_EXPORTER=prometheus,".to_owned(),
            }
        );
    }
}
