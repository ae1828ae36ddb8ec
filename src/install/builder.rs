//! The options that a program can set in code.

use std::fmt;

use metrics::Recorder;
use tracing_subscriber::{Layer, Registry};

use crate::catalog::GenAiMetrics;
use crate::otlp::OtlpProtocol;
#[cfg(feature = "prices")]
use crate::price::PriceBook;
use crate::spans::Sampler;
use crate::spans::logs::LogFormat;
use crate::spend::Budget;
use crate::store::ExtraRecorder;
use crate::word::words;

/// Selects where spans are exported.
///
/// `FromStr` and `Display` use the words of `OTEL_TRACES_EXPORTER` in the OpenTelemetry specification: `otlp`, `console` and `none`.
/// `FromStr` ignores ASCII case.
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
    /// Exports to a backend such as Jaeger, by OTLP.
    Otlp,
    /// Writes each span as one line to standard output. This needs no backend.
    Stdout,
    /// Exports nothing.
    None,
}

words! { TraceExporter: "otlp" = Otlp, "console" = Stdout, "none" = None }

/// Selects what `install` does when a pipeline can't start.
///
/// `FromStr` and `Display` use the words of `BOTTICELLI_OBS_ON_FAILURE`: `fail` and `degrade`. `FromStr` ignores ASCII case.
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
    /// Installs nothing and returns the error.
    #[default]
    Fail,
    /// Installs the other pipelines, logs one line at level ERROR, and sets `botticelli_obs_pipeline_up{pipeline}` to 0.
    Degrade,
}

words! { FailurePolicy: "fail" = Fail, "degrade" = Degrade }

/// The option for the address of the page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Listen {
    #[default]
    ByEnvironment,
    At(String),
    Off,
}

/// Configures and installs the pipelines.
///
/// Each option that is not set is read from the environment. An option in code takes precedence over its environment variable. A
/// method that is called again replaces the value, except for `add_*`, `with_buckets` and `without_metrics`, which add to it.
/// Values are checked by [`install`](Self::install).
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
    pub(super) message_content: bool,
    pub(super) span_aliases: bool,
    pub(super) log_format: Option<LogFormat>,
    pub(super) buckets: Vec<(String, Vec<f64>)>,
    pub(super) max_series: Option<usize>,
    pub(super) failure_policy: Option<FailurePolicy>,
    pub(super) networks: Vec<String>,
    pub(super) page_token: Option<String>,
    pub(super) exporter_listener: bool,
    #[cfg(feature = "console")]
    pub(super) console: bool,
    pub(super) exclude: Vec<String>,
    pub(super) genai: Vec<GenAiMetrics>,
    #[cfg(feature = "prices")]
    pub(super) prices: Option<PriceBook>,
    pub(super) budgets: Vec<Budget>,
    pub(super) global_labels: Vec<(String, String)>,
    pub(super) models: Vec<(String, String)>,
    #[cfg(feature = "span-metrics")]
    pub(super) span_metrics: bool,
    pub(super) layers: Vec<Box<dyn Layer<Registry> + Send + Sync>>,
    pub(super) recorders: Vec<ExtraRecorder>,
}

impl Builder {
    /// Creates a builder without any option in code.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the name of the service, which is on spans and in `target_info`. It must not be blank. Defaults to
    /// `OTEL_SERVICE_NAME`, then `service.name` in `OTEL_RESOURCE_ATTRIBUTES`, then the name of the executable.
    pub fn with_service_name(mut self, name: impl Into<String>) -> Self {
        self.service_name = Some(name.into());
        self
    }

    /// Sets the address of the page: `ip:port`, `host:port`, `[v6]:port` or a `SocketAddr`; `:port` or only a port for 127.0.0.1;
    /// or `off`. For port 0 the system chooses a free port, which [`Telemetry::metrics_addr`](crate::Telemetry::metrics_addr)
    /// returns. Defaults to `PROMETHEUS_ENDPOINT`, then `OTEL_EXPORTER_PROMETHEUS_HOST` and `_PORT`, then `127.0.0.1:9464`.
    pub fn with_prometheus_endpoint(mut self, endpoint: impl fmt::Display) -> Self {
        self.listen = Listen::At(endpoint.to_string());
        self
    }

    /// Opens no port. Only [`Telemetry::render`](crate::Telemetry::render) returns the page.
    pub fn without_listener(mut self) -> Self {
        self.listen = Listen::Off;
        self
    }

    /// Does not set the global subscriber. Then there is no log output, no export of spans, and added layers are not used. A
    /// program with its own subscriber can add the layer of [`trace_layer`](Self::trace_layer).
    pub fn without_subscriber(mut self) -> Self {
        self.without_subscriber = true;
        self
    }

    /// Sets where spans are exported. Defaults to `OTEL_TRACES_EXPORTER`, which may list several, then `OTEL_EXPORTER`, then `Otlp` if an OTLP endpoint is
    /// set, else `None`.
    pub fn with_trace_exporter(mut self, exporter: TraceExporter) -> Self {
        self.trace_exporter = Some(exporter);
        self
    }

    /// Sets the OTLP endpoint, such as `http://localhost:4317`, or `off`. Over gRPC without a port it means port 4317. For OTLP/HTTP,
    /// `/v1/traces` or `/v1/metrics` is appended, so that a URL that ends so is an error. Metrics are pushed to the same endpoint, unless `OTEL_EXPORTER_OTLP_METRICS_ENDPOINT` is set. Defaults to
    /// `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, then `OTEL_EXPORTER_OTLP_ENDPOINT`, then port 4317 (gRPC) or 4318 (HTTP) of
    /// localhost.
    pub fn with_otlp_endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.otlp_endpoint = Some(endpoint.into());
        self
    }

    /// Sets the transport of OTLP. Defaults to `OTEL_EXPORTER_OTLP_TRACES_PROTOCOL`, then `OTEL_EXPORTER_OTLP_PROTOCOL`, then
    /// gRPC, or HTTP in a build with the feature `otlp-http` and without `otlp-grpc`.
    pub fn with_otlp_protocol(mut self, protocol: OtlpProtocol) -> Self {
        self.otlp_protocol = Some(protocol);
        self
    }

    /// Sets which traces are exported. A ratio is from 0.0 to 1.0. Defaults to `OTEL_TRACES_SAMPLER`, then `ParentBasedAlwaysOn`.
    pub fn with_sampler(mut self, sampler: Sampler) -> Self {
        self.sampler = Some(sampler);
        self
    }

    /// Sets which events are logged, as directives such as `info,hyper=warn`. Defaults to `RUST_LOG`, then `info`.
    pub fn with_log_filter(mut self, directives: impl Into<String>) -> Self {
        self.log_filter = Some(directives.into());
        self
    }

    /// Sets which spans and events are exported, as directives such as `info,hyper=warn`. Call spans are always exported. Defaults
    /// to `BOTTICELLI_OBS_SPAN_FILTER`, then `info`. Lower levels may export prompts, which client crates have in fields of DEBUG
    /// spans.
    pub fn with_span_filter(mut self, directives: impl Into<String>) -> Self {
        self.span_filter = Some(directives.into());
        self
    }

    /// Exports what people and models say, if a library has put it on a span or an event: messages, instructions, arguments and results of
    /// tools, in the attributes of the GenAI conventions and of their older versions. This crate puts none there. Defaults to
    /// `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=true`, then such attributes and events are removed.
    pub fn with_message_content(mut self) -> Self {
        self.message_content = true;
        self
    }

    /// Adds attributes under older names to exported spans, for backends that ask for those: `gen_ai.system`, which is the provider as on
    /// labels, `gen_ai.usage.total_tokens`, `gen_ai.usage.reasoning_tokens` and `llm.token_count.completion_details.reasoning`. Defaults
    /// to `BOTTICELLI_OBS_SPAN_ALIASES` (`on`, `off`), then to none. They are not for Langfuse, which
    /// takes each number under `gen_ai.usage` for tokens of their own.
    pub fn with_span_aliases(mut self) -> Self {
        self.span_aliases = true;
        self
    }

    /// Sets the format of log lines, or turns them off. Defaults to `BOTTICELLI_OBS_LOG_FORMAT`, then `Text`.
    pub fn with_log_format(mut self, format: LogFormat) -> Self {
        self.log_format = Some(format);
        self
    }

    /// Sets the upper bounds of a histogram's buckets, in the unit of the metric, for a metric by its name in code. There must be
    /// one finite bound at least, and the bucket up to infinity is added. Defaults to [`METRICS`](crate::METRICS) for the metrics
    /// of this crate, and to 22 bounds from 0.001 to 10,000 for others.
    pub fn with_buckets(mut self, metric: impl Into<String>, bounds: impl Into<Vec<f64>>) -> Self {
        self.buckets.push((metric.into(), bounds.into()));
        self
    }

    /// Sets how many pairs of provider and model have their own series, and how many label sets each other metric may have. It
    /// must be at least 1. Further models are recorded as the model `other` of their provider, and further label sets with the
    /// value `other` in every label. Both are counted in `botticelli_obs_label_overflow_total`. Defaults to 1,000.
    pub fn with_max_series(mut self, series: usize) -> Self {
        self.max_series = Some(series);
        self
    }

    /// Sets what [`install`](Self::install) does when a pipeline can't start. Defaults to `BOTTICELLI_OBS_ON_FAILURE`, then
    /// `Fail`.
    pub fn with_failure_policy(mut self, policy: FailurePolicy) -> Self {
        self.failure_policy = Some(policy);
        self
    }

    /// Adds a network that may scrape the page, such as `10.0.0.0/8` or `::1`. Peers in no such network get status 403. Defaults
    /// to `BOTTICELLI_OBS_ALLOWED_NETWORKS`, then all networks.
    pub fn add_allowed_network(mut self, network: impl fmt::Display) -> Self {
        self.networks.push(network.to_string());
        self
    }

    /// Sets the token that peers must send as `Authorization: Bearer <token>` to get the page. Others get status 401. The token
    /// must have at least 8 characters, all of them visible ASCII. No error and no log line contains it. Defaults to the content
    /// of the file named by `BOTTICELLI_OBS_TOKEN_FILE`, which must be a regular file of at most 4 KiB, then to no token.
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

    /// Serves the console at `/` of the listener: a live page of calls, errors, times, tokens and costs, with the last 200 calls. Defaults to
    /// `BOTTICELLI_OBS_CONSOLE` (`on`, `off`), then to none.
    ///
    /// It is for the machine of the program. On any other address than loopback it needs the token of
    /// [`with_page_token`](Self::with_page_token); without one, a token is generated and printed if standard error is a terminal, and
    /// `install` fails if it is not. `JAEGER_URL` makes each call a link to its trace.
    ///
    /// ```
    /// use botticelli_obs::Builder;
    ///
    /// let telemetry = Builder::new().with_prometheus_endpoint("127.0.0.1:0").with_console().install()?;
    /// println!("http://{}/", telemetry.metrics_addr().unwrap());
    /// # Ok::<(), botticelli_obs::InstallError>(())
    /// ```
    #[cfg(feature = "console")]
    pub fn with_console(mut self) -> Self {
        self.console = true;
        self
    }

    /// Serves the page with the listener of `metrics-exporter-prometheus` instead of this crate's own. It needs the feature
    /// `exporter` and does not support a token. Defaults to `BOTTICELLI_OBS_LISTENER` (`own`, `exporter`), then to this crate's
    /// listener.
    pub fn with_exporter_listener(mut self) -> Self {
        self.exporter_listener = true;
        self
    }

    /// Records calls under the names of a version of the GenAI conventions, too, for dashboards made for those; again adds a version.
    /// Defaults to `BOTTICELLI_OBS_GENAI_METRICS` (`1.41`, `genai-0.1`, or both separated by a comma), then to none.
    pub fn with_genai_metrics(mut self, version: GenAiMetrics) -> Self {
        self.genai.push(version);
        self
    }

    /// Sets the prices by which calls are priced. Defaults to `BOTTICELLI_OBS_PRICES`, which is `builtin`, `off` or the path of a file
    /// as for [`PriceBook::from_file`], then to none: calls have a cost only where the provider's answer says it.
    ///
    /// The built-in table is decoded here once, which takes some 30 ms.
    #[cfg(feature = "prices")]
    pub fn with_prices(mut self, prices: PriceBook) -> Self {
        self.prices = Some(prices);
        self
    }

    /// Adds a budget, which counts the cost of all calls from now on and is on the page.
    pub fn add_budget(mut self, budget: &Budget) -> Self {
        self.budgets.push(budget.clone());
        self
    }

    /// Leaves out the metrics whose name matches a pattern, in which `*` stands for any text. They use no memory and are on no
    /// page, in no push and in no text file. The pattern is compared with the name in code and with the name on the page.
    /// Defaults to `BOTTICELLI_OBS_METRICS_EXCLUDE`, which has patterns separated by commas, then to none.
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

    /// Adds a label to every series. If a series has a label of this name already, that one is kept. The name must be a valid
    /// Prometheus label name other than `le` and `quantile`.
    pub fn add_global_label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.global_labels.push((name.into(), value.into()));
        self
    }

    /// Adds a provider and model whose series exist from the start with the value 0; see [`declare`](crate::declare).
    pub fn add_model(mut self, provider: impl AsRef<str>, model: impl AsRef<str>) -> Self {
        self.models.push((provider.as_ref().to_owned(), model.as_ref().to_owned()));
        self
    }

    /// Counts the calls of libraries that have them on their spans, such as rig and genai; see [`SpanMetrics`](crate::SpanMetrics).
    /// Defaults to no such calls.
    #[cfg(feature = "span-metrics")]
    pub fn with_span_metrics(mut self) -> Self {
        self.span_metrics = true;
        self
    }

    /// Adds a layer to the subscriber that [`install`](Self::install) sets; see [`subscriber`](crate::subscriber).
    pub fn add_layer(mut self, layer: impl Layer<Registry> + Send + Sync) -> Self {
        self.layers.push(layer.boxed());
        self
    }

    /// Adds a recorder that gets everything that is recorded, with the same names and labels. It may record metrics itself; what
    /// it records while it is called is on the page, and is not given to it again. It gets at most 1,000 samples of one
    /// `record_many`.
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
