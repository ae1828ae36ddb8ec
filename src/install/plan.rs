//! Resolves what to install. Code takes precedence over the environment, and the environment over the default.

#[cfg(feature = "console")]
mod console;
mod metrics;
mod otlp;
mod proxy;
mod resource;
mod traces;

use std::path::PathBuf;

use super::builder::{Builder, FailurePolicy};
use super::environment::Environment;
use super::error::InstallError;
use super::fault::Faults;
use super::push;
use super::setting::Setting;
use crate::spans::logs;
use crate::{scrape, spans};
use metrics::MetricsExporters;

/// The configuration of each pipeline; `None` if it is off or stopped by a fault.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) metrics: Option<scrape::Config>,
    pub(crate) traces: Option<spans::Config>,
    /// The default one if a setting of the logs is invalid.
    pub(crate) logs: logs::Config,
    pub(crate) push: Option<push::Config>,
    pub(crate) textfile: Option<PathBuf>,
    pub(crate) policy: FailurePolicy,
    /// Settings that are valid but hardly meant so, as lines of the log.
    pub(crate) oddities: Vec<String>,
    /// The invalid settings. A fault stops only the pipelines that use the setting.
    pub(crate) faults: Faults,
}

impl Plan {
    /// Resolves and checks all settings.
    ///
    /// # Errors
    ///
    /// When the failure policy itself is invalid, since it decides how other errors are handled.
    pub(crate) fn resolve(builder: &Builder, environment: &Environment) -> Result<Self, InstallError> {
        let resolver = Resolver { builder, environment };
        let policy = resolver.policy()?;
        let mut faults = Faults::default();
        let logs = faults.keep(&["logs"], resolver.logs()).unwrap_or_default();
        let oddities = Vec::new();
        let mut plan = Self { metrics: None, traces: None, logs, push: None, textfile: None, policy, oddities, faults };
        if plan.faults.keep(ALL, resolver.disabled()) == Some(false) {
            plan.add_pipelines(&resolver);
        }
        Ok(plan)
    }

    /// Resolves the settings that several pipelines use, then the configuration of each pipeline.
    fn add_pipelines(&mut self, resolver: &Resolver<'_>) {
        let faults = &mut self.faults;
        let shared = Shared {
            exporters: faults.keep(METRICS, resolver.metrics_exporters()).unwrap_or_default(),
            resource: faults.keep(ALL, resolver.resource()).unwrap_or_default(),
        };
        self.metrics = faults.keep_pipeline("metrics", resolver.metrics(&shared));
        self.traces = faults.keep_pipeline("traces", resolver.traces(&shared));
        self.textfile = faults.keep_pipeline("textfile", resolver.textfile(&shared));
        self.push = faults.keep_pipeline("push", resolver.push(&shared));
        let unread = resolver.environment.unread();
        self.oddities.extend(unread.map(|name| format!("{name} is set, but not read by this crate")));
        let endpoint = self.traces.as_ref().and_then(|traces| traces.backend.endpoint());
        self.oddities.extend(endpoint.and_then(|otlp| resolver.oddity_of_traces(otlp)));
        self.oddities.extend(self.push.as_ref().and_then(|push| resolver.oddity_of_push(push)));
    }
}

/// The pipelines that use the settings of the metrics.
const METRICS: &[&str] = if CAN_PUSH { &["metrics", "push"] } else { &["metrics"] };

/// The pipelines that use the settings of the process.
const ALL: &[&str] = if CAN_PUSH { &["metrics", "traces", "push"] } else { &["metrics", "traces"] };

const CAN_PUSH: bool = cfg!(feature = "otlp-metrics");

/// The settings that several pipelines use.
#[derive(Debug)]
struct Shared {
    exporters: MetricsExporters,
    /// Resource attributes of the spans and labels of `target_info`; `service.name` comes first.
    resource: Vec<(String, String)>,
}

struct Resolver<'a> {
    builder: &'a Builder,
    environment: &'a Environment,
}

impl Resolver<'_> {
    fn policy(&self) -> Result<FailurePolicy, InstallError> {
        match self.builder.failure_policy {
            Some(policy) => Ok(policy),
            None => Ok(self.variable("BOTTICELLI_OBS_ON_FAILURE", Setting::parse)?.unwrap_or_default()),
        }
    }

    fn disabled(&self) -> Result<bool, InstallError> {
        Ok(self.variable("OTEL_SDK_DISABLED", Setting::boolean)?.unwrap_or(false))
    }

    fn logs(&self) -> Result<logs::Config, InstallError> {
        let default = logs::Config::default();
        let format = match self.builder.log_format {
            Some(format) => Some(format),
            None => self.variable("BOTTICELLI_OBS_LOG_FORMAT", Setting::parse)?,
        };
        let filter = match &self.builder.log_filter {
            Some(filter) => Some(Setting::new("with_log_filter", filter).directives()?),
            None => self.variable("RUST_LOG", Setting::directives)?,
        };
        Ok(logs::Config { format: format.unwrap_or(default.format), filter: filter.unwrap_or(default.filter) })
    }

    fn variable<'s, T>(
        &'s self,
        name: &'static str,
        parse: impl FnOnce(Setting<'s>) -> Result<T, InstallError>,
    ) -> Result<Option<T>, InstallError> {
        self.first(&[name], parse)
    }

    fn first<'s, T>(
        &'s self,
        names: &[&'static str],
        parse: impl FnOnce(Setting<'s>) -> Result<T, InstallError>,
    ) -> Result<Option<T>, InstallError> {
        self.environment.first(names)?.map(parse).transpose()
    }
}

#[cfg(test)]
mod tests;
