//! The metrics pushed by OTLP: what a scrape would see at this moment, sent to a Collector.
//!
//! Every export has the totals since the start, so nothing is queued, and one that succeeds makes up for all that failed.

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
use crate::worker::Worker;
use encode::Encoder;

/// How often trouble is reported.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// The pauses between tries when somebody waits; otherwise the next export is the next try.
const PAUSES: &[Duration] = &[Duration::from_millis(200), Duration::from_millis(400), Duration::from_millis(800)];

/// What the pipeline is built from; every value is valid.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) otlp: otlp::Config,
    pub(crate) interval: Duration,
    /// Resource attributes, `service.name` among them.
    pub(crate) resource: Vec<(String, String)>,
    /// Where the page is served, for the advice to scrape it.
    pub(crate) listen: Option<String>,
}

/// Reads the values.
pub(crate) type Read = Box<dyn Fn() -> Snapshot + Send>;

/// The running pipeline; dropping it stops without a last export.
#[derive(Debug)]
pub(crate) struct Pipeline {
    config: Config,
    requests: mpsc::UnboundedSender<Request>,
    _worker: Worker,
}

/// Asks for an export now; the answer is what went wrong with it.
type Request = std_mpsc::Sender<Result<(), String>>;

/// The answer to come.
pub(crate) struct Flush(std_mpsc::Receiver<Result<(), String>>);

impl Pipeline {
    /// Starts the thread that exports; its health is counted by the recorder.
    ///
    /// # Errors
    ///
    /// When the system gives no thread, or the certificate or the system's roots can't be read.
    pub(crate) fn start(config: Config, read: Read, health: &dyn Recorder) -> io::Result<Self> {
        let worker = Worker::start("botticelli-obs-push")?;
        let sender = {
            let _entered = worker.handle().enter();
            Sender::new(&config.otlp)?
        };
        let (requests, received) = mpsc::unbounded_channel();
        let exports = Exports {
            encoder: Encoder::new(&config.resource),
            config: config.clone(),
            read,
            sender,
            health: Health::new(health),
            is_refused: false,
            taken: None,
        };
        worker.handle().spawn(exports.run(received));
        Ok(Self { config, requests, _worker: worker })
    }

    /// Begins an export of the values as they are now.
    pub(crate) fn flush(&self) -> Flush {
        let (request, answer) = std_mpsc::channel();
        // Fails when the thread has died: then nobody will answer either.
        let _ = self.requests.send(request);
        Flush(answer)
    }
}

impl Flush {
    /// Waits for its end until the deadline.
    ///
    /// # Errors
    ///
    /// When the endpoint has not taken the metrics, with the reason.
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

/// What runs on the thread.
struct Exports {
    config: Config,
    read: Read,
    encoder: Encoder,
    sender: Sender,
    health: Health,
    /// Set when the endpoint has said that it takes no metrics at all.
    is_refused: bool,
    /// What was taken last.
    taken: Option<Snapshot>,
}

impl Exports {
    async fn run(mut self, mut requests: mpsc::UnboundedReceiver<Request>) {
        // Not before it is asked to: until the program's log is set up nobody would read a warning.
        let mut limit = Duration::MAX;
        loop {
            match tokio::time::timeout(limit, requests.recv()).await {
                Err(_) => {
                    let snapshot = (self.read)();
                    let _ = self.export(snapshot).await;
                }
                Ok(Some(request)) => {
                    let result = self.export_with_tries().await;
                    // Whoever asked may have run out of time.
                    let _ = request.send(result.map_err(|refusal| refusal.to_string()));
                }
                Ok(None) => return,
            }
            limit = if self.is_refused { Duration::MAX } else { self.config.interval };
        }
    }

    async fn export_with_tries(&mut self) -> Result<(), Refusal> {
        let mut result = Ok(());
        for pause in [Duration::ZERO].iter().chain(PAUSES) {
            tokio::time::sleep(*pause).await;
            let snapshot = (self.read)();
            if self.is_refused || self.taken.as_ref().is_some_and(|taken| taken.has_values_of(&snapshot)) {
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
                self.taken = Some(snapshot);
                self.health.report_success(&self.config);
                Ok(())
            }
            Err(Refusal::UnknownSignal) => {
                self.is_refused = true;
                self.health.report_refusal(&self.config);
                Ok(())
            }
            Err(refusal) => {
                self.health.report_failure(&self.config, &refusal);
                Err(refusal)
            }
        }
    }
}

/// What is known of the endpoint, on the page and in the log.
struct Health {
    failures: Counter,
    up: Gauge,
    reported: Option<Instant>,
    /// Whether the last word was that the endpoint takes nothing.
    is_open: bool,
}

impl Health {
    fn new(recorder: &dyn Recorder) -> Self {
        let key = |metric: &Metric, value| metric.key([SharedString::const_str(value)]);
        let failures = recorder.register_counter(&key(&catalog::EXPORT_FAILURES, "metrics"), &METADATA);
        let up = recorder.register_gauge(&key(&catalog::PIPELINE_UP, "push"), &METADATA);
        up.set(1.0);
        Self { failures, up, reported: None, is_open: false }
    }

    fn report_success(&mut self, config: &Config) {
        if std::mem::take(&mut self.is_open) {
            tracing::info!(target: "botticelli_obs", "push: {} takes metrics again", config.otlp);
        }
    }

    fn report_failure(&mut self, config: &Config, refusal: &Refusal) {
        self.failures.increment(1);
        if self.reported.is_some_and(|reported| reported.elapsed() < REPORT_INTERVAL) {
            return;
        }
        self.reported = Some(Instant::now());
        self.is_open = true;
        tracing::warn!(
            target: "botticelli_obs",
            "push: {} takes no metrics: {refusal}; the program goes on, and the next export has everything", config.otlp
        );
    }

    fn report_refusal(&mut self, config: &Config) {
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
