//! The push of metrics by OTLP: sends the values that a scrape would read to a Collector.
//!
//! Every export has the totals since the start of the program, or since the last export that was accepted. So failed exports are not
//! queued: the next one that succeeds includes their values.

mod encode;
mod health;
mod refusals;
mod temporality;

use std::fmt;
use std::io;
use std::sync::mpsc as std_mpsc;
use std::time::{Duration, Instant};

use metrics::Recorder;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use tokio::sync::mpsc;

use crate::otlp::send::{Refusal, Sender};
use crate::otlp::{self, LARGEST_MESSAGE, LEAST_LIMIT};
use crate::snapshot::{Family, Snapshot};
use crate::worker::Worker;
use encode::Encoder;
use health::Health;
use refusals::Refusals;
pub(crate) use temporality::Temporality;

/// The pauses before retries, when a caller waits for the export. Otherwise the next periodic export is the retry.
const RETRY_DELAYS: &[Duration] = &[Duration::from_millis(200), Duration::from_millis(400), Duration::from_millis(800)];

/// The configuration of the pipeline; all values have been checked.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) otlp: otlp::Config,
    /// The time between two exports.
    pub(crate) interval: Duration,
    /// The limit for an export; that of the endpoint may be shorter.
    pub(crate) limit: Duration,
    pub(crate) temporality: Temporality,
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
        let worker = Worker::start("botticelli-obs-push")?;
        let sender = {
            let _entered = worker.handle().enter();
            let timeout = config.otlp.timeout.min(config.limit);
            Sender::new(&otlp::Config { timeout, ..config.otlp.clone() })?
        };
        let (requests, received) = mpsc::unbounded_channel();
        let exporter = Exporter {
            encoder: Encoder::new(&config.resource, config.temporality),
            config: config.clone(),
            read,
            sender,
            health: Health::new(health),
            refusals: Refusals::default(),
            accepted: None,
            limit: LARGEST_MESSAGE,
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
    refusals: Refusals,
    /// The values that the endpoint accepted last.
    accepted: Option<Snapshot>,
    /// The most that a message may have, in bytes.
    limit: usize,
}

impl Exporter {
    async fn run(mut self, mut requests: mpsc::UnboundedReceiver<Request>) {
        // The first export is the one that `install` requests: a warning before that could precede the set-up of the log.
        let mut interval = Duration::MAX;
        loop {
            match tokio::time::timeout(interval, requests.recv()).await {
                Err(_) => {
                    if !self.refusals.is_paused(Instant::now()) {
                        let snapshot = (self.read)();
                        let _ = self.export(snapshot).await;
                    }
                }
                Ok(Some(request)) => {
                    let result = self.export_with_retries().await;
                    // Fails if the caller no longer waits.
                    let _ = request.send(result.map_err(|refusal| refusal.to_string()));
                }
                Ok(None) => return,
            }
            interval = self.config.interval;
        }
    }

    async fn export_with_retries(&mut self) -> Result<(), Refusal> {
        let mut result = Ok(());
        for pause in [Duration::ZERO].iter().chain(RETRY_DELAYS) {
            tokio::time::sleep(*pause).await;
            let snapshot = (self.read)();
            if self.refusals.is_paused(Instant::now())
                || self.accepted.as_ref().is_some_and(|accepted| accepted.has_values_of(&snapshot))
            {
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
        let mut result = self.send(&snapshot).await;
        while matches!(result, Err(Refusal::TooLarge(_))) && self.limit > LEAST_LIMIT {
            self.limit = (self.limit / 2).max(LEAST_LIMIT);
            result = self.send(&snapshot).await;
        }
        match result {
            Ok(()) => {
                self.accept(snapshot);
                self.health.report_success(&self.config, self.refusals.clear());
                Ok(())
            }
            Err(refusal @ Refusal::UnknownSignal(_)) => {
                let now = Instant::now();
                if self.refusals.add(now) && takes_traces(self.sender.for_traces()).await {
                    let seen = self.refusals.seen(now);
                    if self.refusals.pause(now) {
                        self.health.report_pause(&self.config, &refusal, seen);
                    }
                } else {
                    self.health.report_failure(&self.config, &refusal);
                }
                Err(refusal)
            }
            Err(refusal) => {
                // The accepted data points of this export must not be sent again.
                if matches!(refusal, Refusal::Rejected(_)) {
                    self.accept(snapshot);
                }
                self.refusals.clear();
                self.health.report_failure(&self.config, &refusal);
                Err(refusal)
            }
        }
    }

    /// Sends the values in as many messages as they need, one after the other. When one fails, the families before it count as accepted;
    /// one that is larger than a message and was accepted in part does not.
    async fn send(&mut self, snapshot: &Snapshot) -> Result<(), Refusal> {
        let mut rejected = 0;
        let mut whole = 0;
        for part in self.encoder.encode(snapshot, self.accepted.as_ref(), self.limit) {
            match self.sender.metrics(part.request).await {
                Ok(()) => {}
                Err(Refusal::Rejected(points)) => rejected += points,
                Err(refusal) => {
                    self.accept_some(&snapshot.families[..whole]);
                    return Err(refusal);
                }
            }
            whole = part.families;
        }
        if rejected > 0 { Err(Refusal::Rejected(rejected)) } else { Ok(()) }
    }

    fn accept(&mut self, snapshot: Snapshot) {
        self.encoder.accept();
        self.accepted = Some(snapshot);
    }

    /// Notes that only these families were accepted.
    fn accept_some(&mut self, families: &[Family]) {
        for family in families {
            let known = &mut self.accepted.get_or_insert_default().families;
            match known.iter_mut().find(|known| known.about.name == family.about.name) {
                Some(known) => *known = family.clone(),
                None => known.push(family.clone()),
            }
        }
    }
}

/// Asks an endpoint to take an empty request of spans, of which it stores nothing.
async fn takes_traces(sender: Option<Sender>) -> bool {
    match sender {
        Some(sender) => sender.traces(ExportTraceServiceRequest::default()).await.is_ok(),
        None => false,
    }
}

#[cfg(all(test, feature = "otlp-http"))]
mod tests;
