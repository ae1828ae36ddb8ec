//! `Builder::install`: starts the pipelines, which may fail, and sets the globals last, since they can't be unset.

use std::io;
use std::path::Path;

use metrics::NoopRecorder;
use once_cell::sync::OnceCell;
#[cfg(feature = "span-metrics")]
use tracing_subscriber::Layer;
use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt;

use super::builder::{Builder, FailurePolicy};
use super::environment::Environment;
use super::error::InstallError;
use super::fault::{Fault, Faults};
use super::globals;
use super::late;
use super::plan::Plan;
use super::push;
use super::telemetry::Telemetry;
use crate::file;
use crate::fork::Origin;
use crate::scrape;
use crate::spans::{self, logs};
use crate::store::ExtraRecorder;
use crate::textfile::TextFile;
use crate::worker;

/// Set by the install that has succeeded.
static INSTALLED: OnceCell<Origin> = OnceCell::new();

impl Builder {
    /// Starts the pipelines and sets the global recorder and subscriber of the process.
    ///
    /// # Errors
    ///
    /// When a setting is invalid, a pipeline can't start (for example because the port is taken), the process has another global
    /// recorder or subscriber, or an earlier call has succeeded. With [`FailurePolicy::Degrade`] only an invalid failure policy
    /// and an earlier install are errors.
    ///
    /// After an error all started pipelines are stopped, and a later call can succeed. Layers and recorders that were added to the
    /// builder are dropped with it; create new ones for the next call.
    pub fn install(self) -> Result<Telemetry, InstallError> {
        let mut telemetry = None;
        let origin = INSTALLED.get_or_try_init(|| {
            let installed = telemetry.insert(install_pipelines(self)?);
            Ok(installed.origin)
        })?;
        match telemetry {
            Some(telemetry) => Ok(telemetry),
            None if origin.is_forked() => Err(InstallError::forked()),
            None => Err(InstallError::already_installed()),
        }
    }
}

fn install_pipelines(builder: Builder) -> Result<Telemetry, InstallError> {
    let plan = Plan::resolve(&builder, &Environment::of_process())?;
    let without_subscriber = builder.without_subscriber;
    let mut failures = Failures::new(plan.policy, without_subscriber, plan.faults)?;

    // Under `Degrade`, if the settings of the page are invalid, `render` still returns it, and it has
    // `botticelli_obs_pipeline_up` 0.
    let config = plan.metrics.or_else(|| failures.faults.has_stopped("metrics").then(scrape::Config::default));
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

    // The recorder is set first: it does nothing until it is activated, while a subscriber is in use as soon as it is set.
    let recorder = if metrics.is_some() { globals::set_recorder() } else { Ok(()) };
    let is_recorder_set = failures.or_else("metrics", recorder.map(|()| true), || false)?;
    let subscribed = if without_subscriber {
        Ok(())
    } else {
        let mut layers = Vec::from_iter(traces.as_ref().map(spans::Pipeline::layer));
        layers.extend(logs::layer(&plan.logs));
        #[cfg(feature = "span-metrics")]
        layers.extend(builder.span_metrics.then(|| crate::SpanMetrics::layer().boxed()));
        layers.extend(builder.layers);
        if layers.is_empty() { Ok(()) } else { globals::set_subscriber(Registry::default().with(layers)) }
    };
    // Without our subscriber the pipeline would get no spans, so it is dropped.
    let traces = failures.or_else("traces", subscribed.map(|()| traces), || None)?;

    // Nothing fails from here on.
    if let Some(metrics) = metrics.as_ref().filter(|_| is_recorder_set) {
        globals::activate_recorder(metrics.recorder().shared());
        late::announce(metrics.recorder());
    }
    if let Some(traces) = &traces {
        traces.set_propagators();
    }
    let telemetry = Telemetry { traces, push, textfile, metrics, origin: Origin::here() };
    failures.report(&telemetry);
    for oddity in &plan.oddities {
        tracing::warn!(target: "botticelli_obs", "{oddity}");
    }
    // The first push is made now, so that an endpoint that does not support metrics is logged at startup.
    drop(telemetry.begin_push());
    Ok(telemetry)
}

/// Starts the metrics pipeline.
///
/// # Errors
///
/// When the listener can't bind the address, or the system can't create a thread.
pub(super) fn start_metrics(
    config: &scrape::Config,
    extra: &mut Vec<ExtraRecorder>,
) -> Result<scrape::Pipeline, InstallError> {
    scrape::Pipeline::start(config, extra).map_err(|error| {
        let message = match &config.listen {
            _ if worker::has_run_out(&error) => "metrics: can't start".to_owned(),
            Some(listen) => {
                let is_taken = error.kind() == io::ErrorKind::AddrInUse;
                let first = if is_taken { "free the port, which another program uses, or " } else { "" };
                let named_by = match config.listen_setting {
                    "PROMETHEUS_ENDPOINT" | "with_prometheus_endpoint" => String::new(),
                    setting => format!(", which {setting} names"),
                };
                format!(
                    "metrics: can't listen on {listen}{named_by}: {first}set PROMETHEUS_ENDPOINT to another address, such as \
                     127.0.0.1:9465, to port 0 for any, or to `off`"
                )
            }
            None => "metrics: can't start".to_owned(),
        };
        start_error(message, error)
    })
}

/// Creates the error of a failed start. Limits of the system are named: its own words for them are the same as for other failures.
fn start_error(mut message: String, error: io::Error) -> InstallError {
    if worker::has_run_out(&error) {
        message.push_str(
            ": the system gives no more threads or file descriptors; raise the limits of the program, see `ulimit -a`",
        );
    }
    InstallError::start(message, error)
}

/// Says where the console is. A token that was generated for this run goes to the terminal, and not into the log.
#[cfg(feature = "console")]
fn announce_console(console: &crate::console::Console, mut addr: std::net::SocketAddr) {
    use std::io::Write;
    use std::net::Ipv4Addr;

    if addr.ip().is_unspecified() {
        addr.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    tracing::info!(target: "botticelli_obs", "console: http://{addr}/");
    if let Some(token) = console.generated_token() {
        let _ = writeln!(io::stderr(), "console: http://{addr}/#token={token}");
    }
}

fn start_push(config: push::Config, metrics: &scrape::Pipeline) -> Result<push::Pipeline, InstallError> {
    let message = format!("push: can't start the export, {}", config.otlp);
    push::start(config, metrics).map_err(|error| start_error(message, error))
}

fn open_textfile(path: &Path) -> Result<TextFile, InstallError> {
    TextFile::open(path).map_err(|error| {
        let message = format!("textfile: can't use {}, which BOTTICELLI_OBS_TEXTFILE names", file::shown(path));
        start_error(message, error)
    })
}

/// Starts the traces pipeline. The recorder counts exported and dropped spans.
///
/// # Errors
///
/// When the exporter can't be built, or the system can't create a thread.
pub(super) fn start_traces(
    config: &spans::Config,
    health: &dyn metrics::Recorder,
) -> Result<spans::Pipeline, InstallError> {
    spans::Pipeline::start(config, health)
        .map_err(|error| start_error(format!("traces: can't start the export, {}", config.backend), error))
}

/// Applies the failure policy to errors, and keeps those of `Degrade` for the report.
struct Failures {
    policy: FailurePolicy,
    without_subscriber: bool,
    faults: Faults,
}

impl Failures {
    /// Starts with the faults of the plan. Returns the first one as an error under `Fail`.
    fn new(policy: FailurePolicy, without_subscriber: bool, faults: Faults) -> Result<Self, InstallError> {
        let mut failures = Self { policy, without_subscriber, faults: Faults::default() };
        match policy {
            FailurePolicy::Fail => faults.into_result()?,
            FailurePolicy::Degrade => failures.faults = faults,
        }
        Ok(failures)
    }

    /// Returns the value. For an error under `Degrade`, keeps the error and returns the fallback.
    fn or_else<T>(
        &mut self,
        pipeline: &'static str,
        result: Result<T, InstallError>,
        fallback: impl FnOnce() -> T,
    ) -> Result<T, InstallError> {
        match self.policy {
            FailurePolicy::Fail => result,
            FailurePolicy::Degrade => Ok(self.faults.keep(&[pipeline], result).unwrap_or_else(fallback)),
        }
    }

    /// Starts the metrics pipeline. Under `Degrade`, if the listener can't start, the pipeline starts without it: `render` still
    /// returns the page.
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

    /// Logs where each pipeline exports to, or why it is off, and publishes `botticelli_obs_pipeline_up`.
    fn report(&self, telemetry: &Telemetry) {
        let Telemetry { metrics, traces, push, textfile, .. } = telemetry;
        let is_up = |pipeline| !self.faults.has_stopped(pipeline);
        for Fault { error, pipelines } in self.faults.iter() {
            let instead = match pipelines.as_slice() {
                ["logs"] => "logs are as by default".to_owned(),
                pipelines => format!("the program continues without {}", pipelines.join(" and ")),
            };
            tracing::error!(target: "botticelli_obs", "{error:?}; {instead}");
        }
        match metrics {
            Some(metrics) if is_up("metrics") => match metrics.addr() {
                Some(addr) => {
                    tracing::info!(target: "botticelli_obs", "metrics: http://{addr}/metrics");
                    #[cfg(feature = "console")]
                    if let Some(console) = metrics.console() {
                        announce_console(console, addr);
                    }
                }
                None => {
                    tracing::info!(target: "botticelli_obs", "metrics: no listener, `Telemetry::render` returns the page")
                }
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
            let path = file::shown(textfile.path());
            tracing::info!(target: "botticelli_obs", "textfile: the run's totals are added to {path} at its end");
        }
        if let Some(metrics) = metrics {
            // The push pipeline publishes its own state, unless it could not start: its endpoint may not support metrics.
            let configured =
                [("metrics", true), ("traces", traces.is_some()), ("push", false), ("textfile", textfile.is_some())];
            for (pipeline, _) in configured.into_iter().filter(|&(pipeline, is_on)| is_on || !is_up(pipeline)) {
                metrics.publish_up(pipeline, is_up(pipeline));
            }
        }
    }
}
