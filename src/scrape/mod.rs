//! The metrics pipeline: the store, what is in it from the start, and the listener that Prometheus scrapes.

mod accept;
#[cfg(feature = "exporter")]
mod exporter;
mod listener;
mod token;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use metrics::{Key, Label, Recorder, SharedString};

use crate::catalog::{self, METADATA, Metric};
use crate::snapshot::Snapshot;
use crate::store::{self, ExtraRecorder, MetricsRecorder};
use crate::word::words;
use crate::worker::Worker;
use listener::Access;

#[cfg(feature = "console")]
use crate::console::{self, Console};
pub(crate) use accept::negotiate;
pub(crate) use token::Token;

/// How often it is logged what was beyond a bound.
const REPORT_INTERVAL: Duration = Duration::from_millis(500);

/// What the pipeline is built from; every value is valid.
#[derive(Debug, Default)]
pub(crate) struct Config {
    /// Where to listen, as `host:port`, or `None` for no listener.
    pub(crate) listen: Option<String>,
    /// The setting that says so, for errors.
    pub(crate) listen_setting: &'static str,
    /// Networks that may scrape; empty for all.
    pub(crate) allowed: Vec<IpNet>,
    /// What scrapers have to show; `None` for nothing.
    pub(crate) token: Option<Token>,
    pub(crate) store: store::Config,
    /// Provider and model of the series that exist from the start.
    pub(crate) models: Vec<(String, String)>,
    /// Labels of `target_info`.
    pub(crate) target: Vec<(String, String)>,
    pub(crate) listener: Listener,
    /// The console; `None` for none.
    #[cfg(feature = "console")]
    pub(crate) console: Option<console::Config>,
}

/// The listener that runs.
enum Serving {
    No,
    Own(SocketAddr),
    #[cfg(feature = "exporter")]
    Exporter(exporter::Server),
}

/// Who serves the page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Listener {
    /// This crate.
    #[default]
    Own,
    /// `metrics-exporter-prometheus`.
    Exporter,
}

words! { Listener: "own" = Own, "exporter" = Exporter }

/// The running pipeline; dropping it stops the listener and makes the recorder inert.
pub(crate) struct Pipeline {
    recorder: MetricsRecorder,
    serving: Serving,
    #[cfg(feature = "console")]
    console: Option<Arc<Console>>,
    worker: Option<Worker>,
}

impl Pipeline {
    /// Binds the listener; takes the extra recorders if it succeeds.
    ///
    /// # Errors
    ///
    /// The system's error when no thread can be had, or none of the addresses can be bound.
    pub(crate) fn start(config: &Config, extra: &mut Vec<ExtraRecorder>) -> io::Result<Self> {
        let worker = Worker::start("botticelli-obs-metrics")?;
        #[cfg(feature = "console")]
        let mut console = None;
        let (recorder, serving) = match (&config.listen, config.listener) {
            #[cfg(feature = "exporter")]
            (Some(listen), Listener::Exporter) => {
                let (server, page) = exporter::Server::start(&worker, listen, config)?;
                extra.push(page);
                let recorder = MetricsRecorder::new(&config.store, std::mem::take(extra));
                // Its page has the health counters from the first scrape on.
                recorder.report();
                (recorder, Serving::Exporter(server))
            }
            (Some(listen), _) => {
                let listener = listener::bind(listen)?;
                let recorder = MetricsRecorder::new(&config.store, std::mem::take(extra));
                let source = recorder.clone();
                let render = Arc::new(move |format| source.snapshot().to_page(format));
                #[cfg(feature = "console")]
                if let Some(config) = &config.console {
                    console = Some(Arc::new(Console::start(config.clone(), &recorder)?));
                }
                let access = Access {
                    allowed: config.allowed.clone(),
                    token: config.token.clone(),
                    #[cfg(feature = "console")]
                    console: console.clone(),
                };
                let addr = listener::start(&worker, listener, access, render)?;
                (recorder, Serving::Own(addr))
            }
            (None, _) => (MetricsRecorder::new(&config.store, std::mem::take(extra)), Serving::No),
        };
        let reporter = recorder.clone();
        worker.handle().spawn(async move {
            loop {
                tokio::time::sleep(REPORT_INTERVAL).await;
                // The panic hook has reported the panic of the added recorder. Later reports must go on.
                let _ = panic::catch_unwind(AssertUnwindSafe(|| reporter.report()));
            }
        });
        let pipeline = Self {
            recorder,
            serving,
            #[cfg(feature = "console")]
            console,
            worker: Some(worker),
        };
        pipeline.publish_constants(config);
        Ok(pipeline)
    }

    fn publish_constants(&self, config: &Config) {
        let version = SharedString::const_str(env!("CARGO_PKG_VERSION"));
        self.set(&catalog::BUILD_INFO.key([version]), 1.0);
        let target = config.target.iter().map(|(name, value)| Label::new(name.clone(), value.clone()));
        self.set(&Key::from_parts(catalog::TARGET_INFO.name, target.collect::<Vec<_>>()), 1.0);
        for (provider, model) in &config.models {
            self.recorder.declare(provider, model);
        }
    }

    /// Publishes whether a pipeline works as configured.
    pub(crate) fn publish_up(&self, pipeline: &'static str, up: bool) {
        let metric: Metric = catalog::PIPELINE_UP;
        self.set(&metric.key([SharedString::const_str(pipeline)]), f64::from(u8::from(up)));
    }

    fn set(&self, key: &Key, value: f64) {
        self.recorder.register_gauge(key, &METADATA).set(value);
    }

    /// Makes the recorder inert, and stops the listener by the deadline.
    pub(crate) fn stop_by(mut self, deadline: Instant) {
        self.recorder.close();
        if let Some(worker) = self.worker.take() {
            worker.stop_by(deadline);
        }
    }

    pub(crate) fn recorder(&self) -> &MetricsRecorder {
        &self.recorder
    }

    /// Returns where the page is served.
    pub(crate) fn addr(&self) -> Option<SocketAddr> {
        match &self.serving {
            Serving::No => None,
            Serving::Own(addr) => Some(*addr),
            #[cfg(feature = "exporter")]
            Serving::Exporter(server) => Some(server.addr()),
        }
    }

    /// Returns the console, if there is one.
    #[cfg(feature = "console")]
    pub(crate) fn console(&self) -> Option<&Console> {
        self.console.as_deref()
    }

    /// Reads all values.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.recorder.snapshot()
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.recorder.close();
    }
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline").field("addr", &self.addr()).finish_non_exhaustive()
    }
}
