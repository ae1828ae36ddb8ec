//! What a program may choose.

use std::fmt;

use metrics::Recorder;
use tracing_subscriber::{Layer, Registry};

use crate::otlp::OtlpProtocol;
use crate::spans::Sampler;
use crate::spans::logs::LogFormat;
use crate::store::ExtraRecorder;
use crate::word::words;

/// Where spans go.
///
/// Parsed from the words the OpenTelemetry specification has for `OTEL_TRACES_EXPORTER`, `otlp`, `console` and `none` in any case,
/// and displayed as them.
///
/// ```
/// use botticelli_obs::TraceExporter;
///
/// assert_eq!("console".parse(), Ok(TraceExporter::Stdout));
/// assert_eq!(TraceExporter::Otlp.to_string(), "otlp");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TraceExporter {
    /// To a backend such as Jaeger, by OTLP.
    Otlp,
    /// To standard output, a line a span: for a look without any backend.
    Stdout,
    /// Nowhere.
    None,
}

words! { TraceExporter: "otlp" = Otlp, "console" = Stdout, "none" = None }

/// What happens when a pipeline can't start.
///
/// Parsed from the words of `BOTTICELLI_OBS_ON_FAILURE`, `fail` and `degrade` in any case, and displayed as them.
///
/// ```
/// use botticelli_obs::FailurePolicy;
///
/// assert_eq!("degrade".parse(), Ok(FailurePolicy::Degrade));
/// assert_eq!(FailurePolicy::Fail.to_string(), "fail");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailurePolicy {
    /// Nothing is installed, and `install` returns the error.
    #[default]
    Fail,
    /// The pipeline stays off, with one line of level ERROR and `botticelli_obs_pipeline_up{pipeline} 0`.
    Degrade,
}

words! { FailurePolicy: "fail" = Fail, "degrade" = Degrade }

/// Where the page is served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Listen {
    #[default]
    ByEnvironment,
    At(String),
    Off,
}

/// Everything [`install`](crate::install) can be told in code; what is not set comes from the environment.
///
/// ```
/// use botticelli_obs::{Builder, LogFormat};
///
/// let telemetry = Builder::new()
///     .with_service_name("bot-server")
///     .with_prometheus_endpoint("127.0.0.1:0")
///     .with_log_format(LogFormat::Json)
///     .add_model("gemini", "gemini-2.5-flash")
///     .install()?;
/// assert!(telemetry.render().contains(r#"llm_requests_total{provider="gemini",model="gemini-2.5-flash"} 0"#));
/// # Ok::<(), botticelli_obs::InstallError>(())
/// ```
#[derive(Default)]
#[must_use = "a builder does nothing until `install` is called"]
pub struct Builder {
    pub(super) service_name: Option<String>,
    pub(super) listen: Listen,
    pub(super) without_subscriber: bool,
    pub(super) trace_exporter: Option<TraceExporter>,
    pub(super) otlp_endpoint: Option<String>,
    pub(super) otlp_protocol: Option<OtlpProtocol>,
    pub(super) sampler: Option<Sampler>,
    pub(super) log_filter: Option<String>,
    pub(super) span_filter: Option<String>,
    pub(super) log_format: Option<LogFormat>,
    pub(super) buckets: Vec<(String, Vec<f64>)>,
    pub(super) max_series: Option<usize>,
    pub(super) failure_policy: Option<FailurePolicy>,
    pub(super) networks: Vec<String>,
    pub(super) page_token: Option<String>,
    pub(super) exporter_listener: bool,
    pub(super) exclude: Vec<String>,
    pub(super) global_labels: Vec<(String, String)>,
    pub(super) models: Vec<(String, String)>,
    pub(super) layers: Vec<Box<dyn Layer<Registry> + Send + Sync>>,
    pub(super) recorders: Vec<ExtraRecorder>,
}

impl Builder {
    /// Creates a builder that leaves everything to the environment.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the name of the service, on spans and in `target_info`. Defaults to `OTEL_SERVICE_NAME`, then the name of the
    /// executable.
    pub fn with_service_name(mut self, name: impl Into<String>) -> Self {
        self.service_name = Some(name.into());
        self
    }

    /// Sets where the page is served: `ip:port`, `host:port`, `[v6]:port`, `:port` or a port (on 127.0.0.1), `off`, or a
    /// `SocketAddr`. Port 0 takes any free one, see [`Telemetry::metrics_addr`](crate::Telemetry::metrics_addr). Defaults to `PROMETHEUS_ENDPOINT`, then
    /// `OTEL_EXPORTER_PROMETHEUS_HOST` and `_PORT`, then `127.0.0.1:9464`.
    pub fn with_prometheus_endpoint(mut self, endpoint: impl fmt::Display) -> Self {
        self.listen = Listen::At(endpoint.to_string());
        self
    }

    /// Opens no port: the page is only in [`Telemetry::render`](crate::Telemetry::render).
    pub fn without_listener(mut self) -> Self {
        self.listen = Listen::Off;
        self
    }

    /// Leaves the global subscriber to the program: no log output, no spans, and no use for layers that are added here. See
    /// [`trace_layer`](Self::trace_layer).
    pub fn without_subscriber(mut self) -> Self {
        self.without_subscriber = true;
        self
    }

    /// Sets where spans go. Defaults to `OTEL_TRACES_EXPORTER`, then `OTEL_EXPORTER`, then `Otlp` if an endpoint is set,
    /// else `None`.
    pub fn with_trace_exporter(mut self, exporter: TraceExporter) -> Self {
        self.trace_exporter = Some(exporter);
        self
    }

    /// Sets the OTLP endpoint, such as `http://localhost:4317`; the path of the signal is appended for OTLP/HTTP. Metrics
    /// that are pushed go there too, unless `OTEL_EXPORTER_OTLP_METRICS_ENDPOINT` is set. Defaults to
    /// `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, then `OTEL_EXPORTER_OTLP_ENDPOINT`, then port 4317 (gRPC) or 4318 (HTTP) of
    /// localhost.
    pub fn with_otlp_endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.otlp_endpoint = Some(endpoint.into());
        self
    }

    /// Sets the transport of OTLP. Defaults to `OTEL_EXPORTER_OTLP_PROTOCOL`, then gRPC; in a build with the
    /// feature `otlp-http` and without `otlp-grpc`, HTTP.
    pub fn with_otlp_protocol(mut self, protocol: OtlpProtocol) -> Self {
        self.otlp_protocol = Some(protocol);
        self
    }

    /// Sets which traces are exported. Defaults to `OTEL_TRACES_SAMPLER`, then `ParentBasedAlwaysOn`.
    pub fn with_sampler(mut self, sampler: Sampler) -> Self {
        self.sampler = Some(sampler);
        self
    }

    /// Sets what is logged, as directives such as `info,hyper=warn`. Defaults to `RUST_LOG`, then `info`.
    pub fn with_log_filter(mut self, directives: impl Into<String>) -> Self {
        self.log_filter = Some(directives.into());
        self
    }

    /// Sets which spans and events are exported, as directives; spans of calls always are. Defaults to
    /// `BOTTICELLI_OBS_SPAN_FILTER`, then `info`: client crates put prompts into the fields of DEBUG spans.
    pub fn with_span_filter(mut self, directives: impl Into<String>) -> Self {
        self.span_filter = Some(directives.into());
        self
    }

    /// Sets how log lines look. Defaults to `BOTTICELLI_OBS_LOG_FORMAT`, then `Text`.
    pub fn with_log_format(mut self, format: LogFormat) -> Self {
        self.log_format = Some(format);
        self
    }

    /// Sets the upper bounds of a histogram's buckets, in the metric's unit; the metric by its name in code. Defaults to the
    /// bounds of the table for the crate's own metrics, and to bounds from 1 ms to 10,000 for others.
    pub fn with_buckets(mut self, metric: impl Into<String>, bounds: impl Into<Vec<f64>>) -> Self {
        self.buckets.push((metric.into(), bounds.into()));
        self
    }

    /// Sets how many pairs of provider and model have series of their own, and how many label sets any other metric may have:
    /// 1 or more. Models beyond it are recorded as the model `other` of their provider, label sets beyond it with the value `other`
    /// in every label; both count in `botticelli_obs_label_overflow_total`. Defaults to 1,000.
    pub fn with_max_series(mut self, series: usize) -> Self {
        self.max_series = Some(series);
        self
    }

    /// Sets what happens when a pipeline can't start. Defaults to `BOTTICELLI_OBS_ON_FAILURE`, then `Fail`.
    pub fn with_failure_policy(mut self, policy: FailurePolicy) -> Self {
        self.failure_policy = Some(policy);
        self
    }

    /// Adds a network that may scrape the page, such as `10.0.0.0/8`; others get status 403. Defaults to
    /// `BOTTICELLI_OBS_ALLOWED_NETWORKS`, then every network.
    pub fn add_allowed_network(mut self, network: impl fmt::Display) -> Self {
        self.networks.push(network.to_string());
        self
    }

    /// Sets what a peer must send to see the page, as `Authorization: Bearer <token>`; others get status 401. The token has 8
    /// visible ASCII characters at least, and is in no error and no log line. Defaults to what is in the file that
    /// `BOTTICELLI_OBS_TOKEN_FILE` names, a regular one of at most 4 KiB, then to a page that everybody may see.
    ///
    /// ```
    /// use botticelli_obs::Builder;
    ///
    /// let error = Builder::new().with_page_token("s3cret").install().unwrap_err();
    /// assert_eq!(error.to_string(), "with_page_token: the token is too short: it needs 8 characters at least");
    /// ```
    pub fn with_page_token(mut self, token: impl Into<String>) -> Self {
        self.page_token = Some(token.into());
        self
    }

    /// Has the page served by the listener of `metrics-exporter-prometheus` instead of this crate's own; needs the feature
    /// `exporter`, and knows no token. Defaults to `BOTTICELLI_OBS_LISTENER` (`own`, `exporter`), then to the own one.
    pub fn with_exporter_listener(mut self) -> Self {
        self.exporter_listener = true;
        self
    }

    /// Leaves out the metrics of a name, or of several with `*` for any text: no reader gets them, and no memory is kept for
    /// them. The name is that in code or that on the page. Defaults to `BOTTICELLI_OBS_METRICS_EXCLUDE`, patterns separated by
    /// commas, then to none.
    ///
    /// ```
    /// use botticelli_obs::Builder;
    ///
    /// let builder = Builder::new().without_metrics("llm.time_*").without_metrics("llm_finish_total");
    /// # drop(builder);
    /// let error = Builder::new().without_metrics("llm finish").install().unwrap_err();
    /// assert!(error.to_string().starts_with(r#"without_metrics="llm finish": not the name of a metric"#));
    /// ```
    pub fn without_metrics(mut self, pattern: impl Into<String>) -> Self {
        self.exclude.push(pattern.into());
        self
    }

    /// Adds a label to every series of the page; the label of a series wins over one of that name.
    pub fn add_global_label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.global_labels.push((name.into(), value.into()));
        self
    }

    /// Adds a provider and model whose series are on the page from the start, see [`declare`](crate::declare).
    pub fn add_model(mut self, provider: impl AsRef<str>, model: impl AsRef<str>) -> Self {
        self.models.push((provider.as_ref().to_owned(), model.as_ref().to_owned()));
        self
    }

    /// Adds a layer to the subscriber.
    pub fn add_layer(mut self, layer: impl Layer<Registry> + Send + Sync) -> Self {
        self.layers.push(layer.boxed());
        self
    }

    /// Adds a recorder beside the page: it is given everything that is recorded, with the same names and labels.
    pub fn add_recorder(mut self, recorder: impl Recorder + Send + Sync + 'static) -> Self {
        self.recorders.push(ExtraRecorder::added(recorder));
        self
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("service_name", &self.service_name).finish_non_exhaustive()
    }
}
