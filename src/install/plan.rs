//! What to install: code before environment before default.

#[cfg(any(feature = "otlp-grpc", feature = "otlp-http"))]
mod otlp;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::PathBuf;

use super::builder::{Builder, FailurePolicy, Listen, TraceExporter};
use super::environment::Environment;
use super::error::InstallError;
use super::setting;
use crate::scrape::{self, Listener};
use crate::spans::logs::{self, LogFormat};
use crate::spans::{self, Backend, Batch, Limits, Propagator, Sampler};
use crate::store;

const DEFAULT_LISTEN: &str = "127.0.0.1:9464";

/// Each pipeline's configuration, `None` where it is off; what is wrong with one says nothing about the others.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) metrics: Result<Option<scrape::Config>, InstallError>,
    pub(crate) traces: Result<Option<spans::Config>, InstallError>,
    pub(crate) logs: Result<logs::Config, InstallError>,
    #[cfg(all(feature = "otlp-metrics", any(feature = "otlp-grpc", feature = "otlp-http")))]
    pub(crate) push: Result<Option<crate::push::Config>, InstallError>,
    pub(crate) textfile: Result<Option<PathBuf>, InstallError>,
    pub(crate) policy: FailurePolicy,
}

impl Plan {
    /// Resolves everything.
    ///
    /// # Errors
    ///
    /// When the failure policy itself can't be used: nothing says then what to do about it.
    pub(crate) fn resolve(builder: &Builder, environment: &Environment) -> Result<Self, InstallError> {
        let instance = instance_id();
        let resolver = Resolver { builder, environment, instance: &instance };
        Ok(Self {
            policy: resolver.policy()?,
            metrics: resolver.metrics(),
            traces: resolver.traces(),
            logs: resolver.logs(),
            #[cfg(all(feature = "otlp-metrics", any(feature = "otlp-grpc", feature = "otlp-http")))]
            push: resolver.push(),
            textfile: resolver.textfile(),
        })
    }
}

struct Resolver<'a> {
    builder: &'a Builder,
    environment: &'a Environment,
    instance: &'a str,
}

impl Resolver<'_> {
    fn policy(&self) -> Result<FailurePolicy, InstallError> {
        let words = [("fail", FailurePolicy::Fail), ("degrade", FailurePolicy::Degrade)];
        match self.builder.failure_policy {
            Some(policy) => Ok(policy),
            None => Ok(self
                .variable("BOTTICELLI_OBS_ON_FAILURE", |name, value| setting::word(name, value, &words))?
                .unwrap_or_default()),
        }
    }

    fn metrics(&self) -> Result<Option<scrape::Config>, InstallError> {
        if self.disabled()? {
            return Ok(None);
        }
        let exporters = self.metrics_exporters()?;
        let builder = self.builder;
        let allowed = match builder.networks.as_slice() {
            [] => self.variable("BOTTICELLI_OBS_ALLOWED_NETWORKS", |name, value| {
                let networks = setting::list(name, value)?.into_iter();
                networks.map(|network| setting::network(name, network)).collect::<Result<Vec<_>, _>>()
            })?,
            networks => {
                Some(networks.iter().map(|network| setting::network("add_allowed_network", network)).collect::<Result<
                    Vec<_>,
                    _,
                >>(
                )?)
            }
        };
        let buckets = builder.buckets.iter();
        let labels = builder.global_labels.iter();
        // Checked even when there is no page: a typing error must not wait for the day somebody switches it on.
        let config = scrape::Config {
            listen: self.listen()?.filter(|_| exporters.prometheus),
            allowed: allowed.unwrap_or_default(),
            store: store::Config {
                buckets: buckets
                    .map(|(metric, bounds)| Ok((metric.clone(), setting::bounds(metric, bounds)?)))
                    .collect::<Result<_, InstallError>>()?,
                global_labels: labels
                    .map(|(name, value)| setting::global_label(name, value))
                    .collect::<Result<_, _>>()?,
                max_series: setting::max_series(builder.max_series)?,
                exclude: Vec::new(),
            },
            models: builder.models.clone(),
            target: self.resource()?,
            listener: self.listener()?,
        };
        Ok((exporters.prometheus || exporters.otlp).then_some(config))
    }

    /// Where metrics go, by `OTEL_METRICS_EXPORTER`.
    fn metrics_exporters(&self) -> Result<MetricsExporters, InstallError> {
        let name = "OTEL_METRICS_EXPORTER";
        let Some(value) = self.environment.get(name)? else { return Ok(MetricsExporters::default()) };
        let words = [("prometheus", "prometheus"), ("none", "none"), ("otlp", "otlp")];
        let items = setting::list(name, value)?.into_iter();
        let listed: Vec<&str> = items.map(|item| setting::word(name, item, &words)).collect::<Result<_, _>>()?;
        let exporters = MetricsExporters { prometheus: listed.contains(&"prometheus"), otlp: listed.contains(&"otlp") };
        if exporters.otlp && !CAN_PUSH {
            let why = "`otlp` needs the feature `otlp-metrics` of botticelli_obs, and `otlp-grpc` or `otlp-http`, which are not \
                       compiled in: add them, or let Prometheus scrape the program, with `prometheus`";
            return Err(InstallError::invalid(name, value, why));
        }
        if listed.contains(&"none") && listed.len() > 1 {
            return Err(InstallError::invalid(name, value, "`none` stands alone"));
        }
        let endpoint = self.environment.get("PROMETHEUS_ENDPOINT")?;
        if !exporters.prometheus && endpoint.is_some_and(|endpoint| !endpoint.eq_ignore_ascii_case("off")) {
            let why = "PROMETHEUS_ENDPOINT is set, but `prometheus` is not in this list: unset one of the two";
            return Err(InstallError::invalid(name, value, why));
        }
        Ok(exporters)
    }

    /// Who serves the page.
    fn listener(&self) -> Result<Listener, InstallError> {
        if self.builder.exporter_listener {
            check_exporter().map_err(|why| InstallError::invalid_secret("with_exporter_listener", why))?;
            return Ok(Listener::Exporter);
        }
        let words = [("own", Listener::Own), ("exporter", Listener::Exporter)];
        let listener = self.variable("BOTTICELLI_OBS_LISTENER", |name, value| {
            let listener = setting::word(name, value, &words)?;
            if listener == Listener::Exporter {
                check_exporter().map_err(|why| InstallError::invalid(name, value, why))?;
            }
            Ok(listener)
        })?;
        Ok(listener.unwrap_or_default())
    }

    fn listen(&self) -> Result<Option<String>, InstallError> {
        match &self.builder.listen {
            Listen::Off => return Ok(None),
            Listen::At(endpoint) => return setting::listen("with_prometheus_endpoint", endpoint.trim()),
            Listen::ByEnvironment => {}
        }
        if let Some(listen) = self.variable("PROMETHEUS_ENDPOINT", setting::listen)? {
            return Ok(listen);
        }
        let host = self.variable("OTEL_EXPORTER_PROMETHEUS_HOST", setting::listen_host)?;
        let port = self.variable("OTEL_EXPORTER_PROMETHEUS_PORT", setting::count::<u16>)?;
        Ok(Some(match (host, port) {
            (None, None) => DEFAULT_LISTEN.to_owned(),
            (host, port) => format!("{}:{}", host.as_deref().unwrap_or("127.0.0.1"), port.unwrap_or(9464)),
        }))
    }

    fn traces(&self) -> Result<Option<spans::Config>, InstallError> {
        if self.disabled()? {
            return Ok(None);
        }
        let resource = self.resource()?;
        let (asked_by, exporter) = self.trace_exporter()?;
        // Checked even when nothing is exported, as the settings of the page are.
        let filter = match &self.builder.span_filter {
            Some(filter) => setting::directives("with_span_filter", filter)?,
            None => {
                self.variable("BOTTICELLI_OBS_SPAN_FILTER", setting::directives)?.unwrap_or_else(|| "info".to_owned())
            }
        };
        let sampler = self.sampler()?;
        let (limits, batch, propagators) = (self.limits()?, self.batch()?, self.propagators()?);
        let backend = match exporter {
            TraceExporter::None => return Ok(None),
            TraceExporter::Stdout => Backend::Stdout,
            TraceExporter::Otlp => self.otlp(asked_by)?,
        };
        Ok(Some(spans::Config { backend, filter, sampler, limits, batch, propagators, resource }))
    }

    /// Where spans go, and the name of the setting that says so.
    fn trace_exporter(&self) -> Result<(&'static str, TraceExporter), InstallError> {
        const SPECIFIED: &[(&str, TraceExporter)] =
            &[("otlp", TraceExporter::Otlp), ("console", TraceExporter::Stdout), ("none", TraceExporter::None)];
        const OWNERS: &[(&str, TraceExporter)] =
            &[("otlp", TraceExporter::Otlp), ("stdout", TraceExporter::Stdout), ("none", TraceExporter::None)];
        if let Some(exporter) = self.builder.trace_exporter {
            return Ok(("with_trace_exporter", exporter));
        }
        for (name, words) in [("OTEL_TRACES_EXPORTER", SPECIFIED), ("OTEL_EXPORTER", OWNERS)] {
            if let Some(exporter) = self.variable(name, |name, value| setting::word(name, value, words))? {
                return Ok((name, exporter));
            }
        }
        if self.builder.otlp_endpoint.is_some() {
            return Ok(("with_otlp_endpoint", TraceExporter::Otlp));
        }
        let endpoint = self.environment.first(TRACES_ENDPOINTS)?;
        Ok(endpoint.map_or(("default", TraceExporter::None), |(name, _)| (name, TraceExporter::Otlp)))
    }

    fn sampler(&self) -> Result<Sampler, InstallError> {
        if let Some(sampler) = self.builder.sampler {
            return match sampler {
                Sampler::TraceIdRatio(ratio) | Sampler::ParentBasedTraceIdRatio(ratio)
                    if !(0.0..=1.0).contains(&ratio) =>
                {
                    Err(InstallError::invalid("with_sampler", &ratio.to_string(), "not a ratio from 0.0 to 1.0"))
                }
                sampler => Ok(sampler),
            };
        }
        let argument =
            self.variable("OTEL_TRACES_SAMPLER_ARG", |name, value| Ok((name.to_owned(), value.to_owned())))?;
        let ratio = || argument.as_ref().map_or(Ok(1.0), |(name, value)| setting::ratio(name, value));
        let sampler =
            self.variable("OTEL_TRACES_SAMPLER", |name, value| setting::word(name, value, setting::SAMPLERS))?;
        Ok(match sampler {
            Some(Sampler::TraceIdRatio(_)) => Sampler::TraceIdRatio(ratio()?),
            Some(Sampler::ParentBasedTraceIdRatio(_)) => Sampler::ParentBasedTraceIdRatio(ratio()?),
            Some(sampler) => sampler,
            None => Sampler::ParentBasedAlwaysOn,
        })
    }

    fn limits(&self) -> Result<Limits, InstallError> {
        let default = Limits::default();
        Ok(Limits {
            attributes: self.variable("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", setting::count)?.unwrap_or(default.attributes),
            events: self.variable("OTEL_SPAN_EVENT_COUNT_LIMIT", setting::count)?.unwrap_or(default.events),
            links: self.variable("OTEL_SPAN_LINK_COUNT_LIMIT", setting::count)?.unwrap_or(default.links),
            value_length: self.variable("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", setting::count)?,
        })
    }

    fn batch(&self) -> Result<Batch, InstallError> {
        let default = Batch::default();
        let size_name = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE";
        let queue = self.variable("OTEL_BSP_MAX_QUEUE_SIZE", setting::positive)?.unwrap_or(default.queue);
        let size = match self.variable(size_name, setting::positive)? {
            Some(size) if size > queue => {
                let why = format!("larger than the queue of {queue} spans (OTEL_BSP_MAX_QUEUE_SIZE)");
                return Err(InstallError::invalid(size_name, &size.to_string(), why));
            }
            Some(size) => size,
            None => default.size.min(queue),
        };
        Ok(Batch {
            delay: self.variable("OTEL_BSP_SCHEDULE_DELAY", setting::milliseconds)?.unwrap_or(default.delay),
            export_timeout: self
                .variable("OTEL_BSP_EXPORT_TIMEOUT", setting::milliseconds)?
                .unwrap_or(default.export_timeout),
            queue,
            size,
        })
    }

    fn propagators(&self) -> Result<Vec<Propagator>, InstallError> {
        let words =
            [("tracecontext", Some(Propagator::TraceContext)), ("baggage", Some(Propagator::Baggage)), ("none", None)];
        let listed = self.variable("OTEL_PROPAGATORS", |name, value| {
            let items = setting::list(name, value)?.into_iter();
            let listed: Vec<Option<Propagator>> =
                items.map(|item| setting::word(name, item, &words)).collect::<Result<_, _>>()?;
            if listed.contains(&None) && listed.len() > 1 {
                return Err(InstallError::invalid(name, value, "`none` stands alone"));
            }
            let mut propagators = Vec::new();
            for propagator in listed.into_iter().flatten() {
                if !propagators.contains(&propagator) {
                    propagators.push(propagator);
                }
            }
            Ok(propagators)
        })?;
        Ok(listed.unwrap_or_else(|| vec![Propagator::TraceContext, Propagator::Baggage]))
    }

    #[cfg(not(any(feature = "otlp-grpc", feature = "otlp-http")))]
    fn otlp(&self, asked_by: &str) -> Result<Backend, InstallError> {
        let why = "OTLP needs the feature `otlp-grpc` or `otlp-http` of botticelli_obs, and neither is compiled in";
        // Not shown: an endpoint may hold a password.
        Err(InstallError::invalid_secret(asked_by, why))
    }

    fn logs(&self) -> Result<logs::Config, InstallError> {
        let formats = [("text", LogFormat::Text), ("json", LogFormat::Json), ("off", LogFormat::Off)];
        let default = logs::Config::default();
        let format = match self.builder.log_format {
            Some(format) => Some(format),
            None => self.variable("BOTTICELLI_OBS_LOG_FORMAT", |name, value| setting::word(name, value, &formats))?,
        };
        let filter = match &self.builder.log_filter {
            Some(filter) => Some(setting::directives("with_log_filter", filter)?),
            None => self.variable("RUST_LOG", setting::directives)?,
        };
        Ok(logs::Config { format: format.unwrap_or(default.format), filter: filter.unwrap_or(default.filter) })
    }

    /// Where the totals of the run are added at its end.
    fn textfile(&self) -> Result<Option<PathBuf>, InstallError> {
        let name = "BOTTICELLI_OBS_TEXTFILE";
        let Some(path) = self.environment.get(name)? else { return Ok(None) };
        if self.disabled()? {
            return Ok(None);
        }
        if self.environment.get("OTEL_METRICS_EXPORTER")?.is_some_and(|value| value.eq_ignore_ascii_case("none")) {
            let why = "there are no metrics to write, OTEL_METRICS_EXPORTER is `none`: unset one of the two";
            return Err(InstallError::invalid(name, path, why));
        }
        Ok(Some(PathBuf::from(path)))
    }

    fn disabled(&self) -> Result<bool, InstallError> {
        Ok(self.variable("OTEL_SDK_DISABLED", setting::boolean)?.unwrap_or(false))
    }

    /// Resource attributes of the spans and labels of `target_info`; `service.name` comes first.
    fn resource(&self) -> Result<Vec<(String, String)>, InstallError> {
        let mut attributes: Vec<(String, String)> = Vec::new();
        // The last one of a key counts, on the page as in the spans.
        for (key, value) in self.variable("OTEL_RESOURCE_ATTRIBUTES", setting::pairs)?.unwrap_or_default() {
            attributes.retain(|(earlier, _)| *earlier != key);
            attributes.push((key, value));
        }
        let mut take = |wanted: &str| {
            let found = attributes.iter().position(|(key, _)| key == wanted)?;
            Some(attributes.remove(found).1).filter(|value| !value.trim().is_empty())
        };
        let (listed_name, listed_instance) = (take("service.name"), take("service.instance.id"));
        let name = match &self.builder.service_name {
            Some(name) if name.trim().is_empty() => {
                return Err(InstallError::invalid("with_service_name", name, "the name is blank"));
            }
            Some(name) => name.clone(),
            None => match self.environment.get("OTEL_SERVICE_NAME")? {
                Some(name) => name.to_owned(),
                None => listed_name.unwrap_or_else(executable_name),
            },
        };
        let instance = listed_instance.unwrap_or_else(|| self.instance.to_owned());
        let own = [("service.name", name), ("service.instance.id", instance)];
        Ok(own.into_iter().map(|(key, value)| (key.to_owned(), value)).chain(attributes).collect())
    }

    fn variable<T>(
        &self,
        name: &'static str,
        parse: impl FnOnce(&str, &str) -> Result<T, InstallError>,
    ) -> Result<Option<T>, InstallError> {
        self.first(&[name], parse)
    }

    fn first<T>(
        &self,
        names: &[&'static str],
        parse: impl FnOnce(&str, &str) -> Result<T, InstallError>,
    ) -> Result<Option<T>, InstallError> {
        self.environment.first(names)?.map(|(name, value)| parse(name, value)).transpose()
    }
}

fn check_exporter() -> Result<(), &'static str> {
    if cfg!(feature = "exporter") {
        Ok(())
    } else {
        Err("needs the feature `exporter` of botticelli_obs, which is not compiled in")
    }
}

/// Where metrics go.
struct MetricsExporters {
    prometheus: bool,
    otlp: bool,
}

impl Default for MetricsExporters {
    fn default() -> Self {
        Self { prometheus: true, otlp: false }
    }
}

const CAN_PUSH: bool = cfg!(all(feature = "otlp-metrics", any(feature = "otlp-grpc", feature = "otlp-http")));

const TRACES_ENDPOINTS: &[&str] = &["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

fn executable_name() -> String {
    let path = std::env::current_exe().ok();
    let name = path.as_ref().and_then(|path| path.file_name()).map(|name| name.to_string_lossy());
    // Not the file's stem: `bot-1.2` would lose its end.
    let name = name.as_ref().map(|name| name.strip_suffix(std::env::consts::EXE_SUFFIX).unwrap_or(name));
    name.filter(|name| !name.is_empty()).unwrap_or("unknown_service").to_owned()
}

/// A random UUID (version 4), by the random keys of the standard library's hash maps.
fn instance_id() -> String {
    let random = || RandomState::new().build_hasher().finish();
    let (high, low) = (random(), random());
    let (high, low) = ((high & !0xf000) | 0x4000, (low & !(0b11 << 62)) | (0b10 << 62));
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests;
