//! A copy of the environment variables.

use std::collections::HashMap;
use std::ffi::OsString;

use super::error::InstallError;
use super::setting::Setting;

/// A copy of the environment variables. All settings of one install are read from the same copy.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    variables: HashMap<String, OsString>,
}

impl Environment {
    /// All variables that this crate reads, including those of the doctor.
    pub(crate) const READ: &[&str] = &[
        "ALL_PROXY",
        "BOTTICELLI_OBS_ALLOWED_NETWORKS",
        "BOTTICELLI_OBS_CONSOLE",
        "BOTTICELLI_OBS_CONSOLE_HOSTS",
        "BOTTICELLI_OBS_GENAI_METRICS",
        "BOTTICELLI_OBS_LISTENER",
        "BOTTICELLI_OBS_LOG_FORMAT",
        "BOTTICELLI_OBS_METRICS_EXCLUDE",
        "BOTTICELLI_OBS_ON_FAILURE",
        "BOTTICELLI_OBS_PRICES",
        "BOTTICELLI_OBS_SPAN_ALIASES",
        "BOTTICELLI_OBS_SPAN_FILTER",
        "BOTTICELLI_OBS_TEXTFILE",
        "BOTTICELLI_OBS_TOKEN_FILE",
        "GRAFANA_URL",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "JAEGER_URL",
        "NO_PROXY",
        "OTEL_ATTRIBUTE_COUNT_LIMIT",
        "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
        "OTEL_BSP_EXPORT_TIMEOUT",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
        "OTEL_BSP_MAX_QUEUE_SIZE",
        "OTEL_BSP_SCHEDULE_DELAY",
        "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
        "OTEL_EXPORTER",
        "OTEL_EXPORTER_OTLP_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_CLIENT_KEY",
        "OTEL_EXPORTER_OTLP_COMPRESSION",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_HEADERS",
        "OTEL_EXPORTER_OTLP_INSECURE",
        "OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY",
        "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION",
        "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
        "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
        "OTEL_EXPORTER_OTLP_METRICS_INSECURE",
        "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
        "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT",
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        "OTEL_EXPORTER_OTLP_TIMEOUT",
        "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
        "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
        "OTEL_EXPORTER_OTLP_TRACES_INSECURE",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
        "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
        "OTEL_EXPORTER_PROMETHEUS_HOST",
        "OTEL_EXPORTER_PROMETHEUS_PORT",
        "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT",
        "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
        "OTEL_METRICS_EXEMPLAR_FILTER",
        "OTEL_METRICS_EXPORTER",
        "OTEL_METRIC_EXPORT_INTERVAL",
        "OTEL_METRIC_EXPORT_TIMEOUT",
        "OTEL_PROPAGATORS",
        "OTEL_RESOURCE_ATTRIBUTES",
        "OTEL_SDK_DISABLED",
        "OTEL_SERVICE_NAME",
        "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
        "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
        "OTEL_SPAN_EVENT_COUNT_LIMIT",
        "OTEL_SPAN_LINK_COUNT_LIMIT",
        "OTEL_TRACES_EXPORTER",
        "OTEL_TRACES_SAMPLER",
        "OTEL_TRACES_SAMPLER_ARG",
        "PROMETHEUS_ENDPOINT",
        "PROMETHEUS_URL",
        "REQUEST_METHOD",
        "RUST_LOG",
        "all_proxy",
        "http_proxy",
        "https_proxy",
        "no_proxy",
    ];

    /// Variables of the OpenTelemetry specification for spans and metrics that this crate does not read. `install` tells of them.
    pub(crate) const UNREAD: &[&str] = &[
        "OTEL_CONFIG_FILE",
        "OTEL_ENTITIES",
        "OTEL_EXPERIMENTAL_CONFIG_FILE",
        "OTEL_EXPORTER_OTLP_METRIC_INSECURE",
        "OTEL_EXPORTER_OTLP_SPAN_INSECURE",
    ];

    /// Returns the names of [`UNREAD`](Self::UNREAD) that are set.
    pub(super) fn unread(&self) -> impl Iterator<Item = &'static str> {
        Self::UNREAD.iter().copied().filter(|name| self.variables.get(*name).is_some_and(|value| !value.is_empty()))
    }

    /// Returns all variables that are set.
    #[cfg(feature = "cli")]
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&str, &std::ffi::OsStr)> {
        self.variables.iter().map(|(name, value)| (name.as_str(), value.as_os_str()))
    }

    pub(crate) fn of_process() -> Self {
        Self::from_iter(std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))))
    }

    /// Returns the trimmed value of a variable, or `None` if it is unset or blank.
    ///
    /// # Errors
    ///
    /// When the value is not Unicode.
    pub(crate) fn get(&self, name: &str) -> Result<Option<&str>, InstallError> {
        debug_assert!(Self::READ.contains(&name), "{name} is missing in `READ`");
        let Some(value) = self.variables.get(name) else { return Ok(None) };
        match value.to_str() {
            Some(value) => Ok(Some(value.trim()).filter(|value| !value.is_empty())),
            // The value is not shown, since it may be a header with a key.
            None => Err(InstallError::invalid_secret(&format!("{name}=…"), "the value is not valid Unicode")),
        }
    }

    /// Returns a variable with its name, or `None` if it is unset or blank.
    ///
    /// # Errors
    ///
    /// When its value is not Unicode.
    pub(crate) fn setting<'a>(&'a self, name: &'static str) -> Result<Option<Setting<'a>>, InstallError> {
        Ok(self.get(name)?.map(|value| Setting { name, value }))
    }

    /// Returns the first of several variables that is set, with its name.
    ///
    /// # Errors
    ///
    /// When its value is not Unicode.
    pub(crate) fn first<'a>(&'a self, names: &[&'static str]) -> Result<Option<Setting<'a>>, InstallError> {
        for &name in names {
            if let Some(setting) = self.setting(name)? {
                return Ok(Some(setting));
            }
        }
        Ok(None)
    }
}

impl<K: Into<String>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        Self { variables: variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect() }
    }
}
