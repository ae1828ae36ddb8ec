//! The one way in: everything that can fail first, the globals last.

use std::path::Path;

use metrics::NoopRecorder;
use once_cell::sync::OnceCell;
use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt;

use super::builder::{Builder, FailurePolicy};
use super::environment::Environment;
use super::error::InstallError;
use super::fault::{Fault, Faults};
use super::globals;
use super::plan::Plan;
use super::push;
use super::telemetry::Telemetry;
use crate::scrape;
use crate::spans::{self, logs};
use crate::store::ExtraRecorder;
use crate::textfile::TextFile;

/// Filled by the install that succeeded.
static INSTALLED: OnceCell<()> = OnceCell::new();

impl Builder {
    /// Installs the recorder and the subscriber of the process and starts the pipelines.
    ///
    /// # Errors
    ///
    /// When a setting can't be used, the port is taken, the process has another recorder or subscriber, or an earlier call
    /// succeeded. Nothing is left behind then, and a later call can succeed. The builder is used up in either case: layers and
    /// recorders that were added to it are dropped with the error, so make new ones for the next call.
    pub fn install(self) -> Result<Telemetry, InstallError> {
        let mut telemetry = None;
        INSTALLED.get_or_try_init(|| install_first(self).map(|first| telemetry = Some(first)))?;
        telemetry.ok_or_else(InstallError::already_installed)
    }
}

fn install_first(builder: Builder) -> Result<Telemetry, InstallError> {
    let plan = Plan::resolve(&builder, &Environment::of_process())?;
    let without_subscriber = builder.without_subscriber;
    let mut failures = Failures::new(plan.policy, without_subscriber, plan.faults)?;

    // Where its settings are wrong, the page is left to `render`, which says so.
    let config = plan.metrics.or_else(|| failures.faults.stop("metrics").then(scrape::Config::default));
    let metrics = match config {
        Some(config) => failures.start_metrics(config, builder.recorders)?,
        None => None,
    };
    let textfile = match plan.textfile.filter(|_| metrics.is_some()) {
        Some(path) => failures.or_else("textfile", open_textfile(&path).map(Some), || None)?,
        None => None,
    };
    let push = match (plan.push, &metrics) {
        (Some(config), Some(metrics)) => {
            let started = start_push(config, metrics).map(Some);
            failures.or_else("push", started, || None)?
        }
        _ => None,
    };
    let traces = match plan.traces.as_ref().filter(|_| !without_subscriber) {
        Some(config) => {
            let started = match &metrics {
                Some(metrics) => start_traces(config, metrics.recorder()),
                None => start_traces(config, &NoopRecorder),
            };
            failures.or_else("traces", started.map(Some), || None)?
        }
        None => None,
    };

    // The recorder comes first: until it is armed it does nothing, while a subscriber works from the moment it is set.
    let claimed = if metrics.is_some() { globals::claim_recorder() } else { Ok(()) };
    let claimed = failures.or_else("metrics", claimed.map(|()| true), || false)?;
    let subscribed = if without_subscriber {
        Ok(())
    } else {
        let mut layers = Vec::from_iter(traces.as_ref().map(spans::Pipeline::layer));
        layers.extend(logs::layer(&plan.logs));
        layers.extend(builder.layers);
        if layers.is_empty() { Ok(()) } else { globals::set_subscriber(Registry::default().with(layers)) }
    };
    // The pipeline that the program's own subscriber would never feed goes.
    let traces = failures.or_else("traces", subscribed.map(|()| traces), || None)?;

    // Nothing fails from here on.
    if let Some(metrics) = metrics.as_ref().filter(|_| claimed) {
        globals::arm_recorder(metrics.recorder().shared());
    }
    if let Some(traces) = &traces {
        traces.set_propagators();
    }
    let telemetry = Telemetry { traces, push, textfile, metrics };
    failures.announce(&telemetry);
    // At once, so that an endpoint that takes no metrics is told of while somebody looks.
    drop(telemetry.begin_push());
    Ok(telemetry)
}

/// Starts the metrics pipeline.
///
/// # Errors
///
/// When the listener can't bind or the system gives no thread.
pub(super) fn start_metrics(
    config: &scrape::Config,
    extra: &mut Vec<ExtraRecorder>,
) -> Result<scrape::Pipeline, InstallError> {
    scrape::Pipeline::start(config, extra).map_err(|error| {
        let message = match &config.listen {
            Some(listen) => {
                let is_taken = error.kind() == std::io::ErrorKind::AddrInUse;
                let first = if is_taken { "free the port, or " } else { "" };
                format!(
                    "metrics: can't listen on {listen}: {first}set PROMETHEUS_ENDPOINT to another address, to port 0 for \
                     any, or to `off`"
                )
            }
            None => "metrics: can't start the thread".to_owned(),
        };
        InstallError::start(message, error)
    })
}

fn start_push(config: push::Config, metrics: &scrape::Pipeline) -> Result<push::Pipeline, InstallError> {
    let message = format!("push: can't start the export, {}", config.otlp);
    push::start(config, metrics).map_err(|error| InstallError::start(message, error))
}

fn open_textfile(path: &Path) -> Result<TextFile, InstallError> {
    TextFile::open(path).map_err(|error| {
        let message = format!("textfile: can't use {}, which BOTTICELLI_OBS_TEXTFILE names", path.display());
        InstallError::start(message, error)
    })
}

/// Starts the traces pipeline, its health counted by the recorder.
///
/// # Errors
///
/// When the exporter can't be built or the system gives no thread.
pub(super) fn start_traces(
    config: &spans::Config,
    health: &dyn metrics::Recorder,
) -> Result<spans::Pipeline, InstallError> {
    spans::Pipeline::start(config, health)
        .map_err(|error| InstallError::start(format!("traces: can't start the export, {}", config.backend), error))
}

/// What the failure policy makes of errors.
struct Failures {
    policy: FailurePolicy,
    without_subscriber: bool,
    faults: Faults,
}

impl Failures {
    /// Begins with the settings that can't be used.
    fn new(policy: FailurePolicy, without_subscriber: bool, faults: Faults) -> Result<Self, InstallError> {
        let mut failures = Self { policy, without_subscriber, faults: Faults::default() };
        match policy {
            FailurePolicy::Fail => faults.into_result()?,
            FailurePolicy::Degrade => failures.faults = faults,
        }
        Ok(failures)
    }

    /// Returns the value, or under `Degrade` a stand-in with the error kept for later.
    fn or_else<T>(
        &mut self,
        pipeline: &'static str,
        result: Result<T, InstallError>,
        stand_in: impl FnOnce() -> T,
    ) -> Result<T, InstallError> {
        match self.policy {
            FailurePolicy::Fail => result,
            FailurePolicy::Degrade => Ok(self.faults.keep(&[pipeline], result).unwrap_or_else(stand_in)),
        }
    }

    /// Starts the metrics; when the listener can't, the page is left to `render`, where it says so.
    fn start_metrics(
        &mut self,
        config: scrape::Config,
        mut extra: Vec<ExtraRecorder>,
    ) -> Result<Option<scrape::Pipeline>, InstallError> {
        let started = start_metrics(&config, &mut extra).map(Some);
        match self.or_else("metrics", started, || None)? {
            Some(pipeline) => Ok(Some(pipeline)),
            None => {
                let config = scrape::Config { listen: None, ..config };
                let started = start_metrics(&config, &mut extra).map(Some);
                self.or_else("metrics", started, || None)
            }
        }
    }

    /// Says where each pipeline goes, or why it doesn't; also on the page.
    fn announce(&self, telemetry: &Telemetry) {
        let Telemetry { metrics, traces, push, textfile } = telemetry;
        let is_up = |pipeline| !self.faults.stop(pipeline);
        for Fault { error, pipelines } in self.faults.iter() {
            let instead = match pipelines.as_slice() {
                ["logs"] => "logs are as by default".to_owned(),
                pipelines => format!("the program goes on without {}", pipelines.join(" and ")),
            };
            tracing::error!(target: "botticelli_obs", "{error:?}; {instead}");
        }
        match metrics {
            Some(metrics) if is_up("metrics") => match metrics.addr() {
                Some(addr) => tracing::info!(target: "botticelli_obs", "metrics: http://{addr}/metrics"),
                None => tracing::info!(target: "botticelli_obs", "metrics: no listener, the page is in `render()`"),
            },
            None if is_up("metrics") => tracing::info!(target: "botticelli_obs", "metrics: off"),
            _ => {}
        }
        match traces {
            Some(traces) => tracing::info!(target: "botticelli_obs", "traces: {}", traces.backend()),
            None if self.without_subscriber => tracing::info!(
                target: "botticelli_obs",
                "traces: left to the program's own subscriber, for which `Builder::trace_layer` has a layer"
            ),
            None if is_up("traces") => tracing::info!(
                target: "botticelli_obs",
                "traces: off; to send them, set OTEL_EXPORTER_OTLP_ENDPOINT, or OTEL_TRACES_EXPORTER=console for a look"
            ),
            None => {}
        }
        if let Some(push) = push {
            tracing::info!(target: "botticelli_obs", "push: metrics by {push}");
        }
        if let Some(textfile) = textfile {
            let path = textfile.path().display();
            tracing::info!(target: "botticelli_obs", "textfile: the run's totals are added to {path} at its end");
        }
        if let Some(metrics) = metrics {
            // The push says itself whether it is up: its endpoint may have refused it by now.
            let configured =
                [("metrics", true), ("traces", traces.is_some()), ("push", false), ("textfile", textfile.is_some())];
            for (pipeline, _) in configured.into_iter().filter(|&(pipeline, is_on)| is_on || !is_up(pipeline)) {
                metrics.publish_up(pipeline, is_up(pipeline));
            }
        }
    }
}
