//! The metrics pipeline: call sites, through the recorder, to the page that Prometheus scrapes.

mod family;
mod label;
mod label_set;
mod ledger;
mod listener;
mod overflow;
mod page;
mod pairs;
mod pattern;
mod recorder;
mod sink;
mod token;
mod turn;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use metrics::{Key, Label, Recorder};
use metrics_exporter_prometheus::PrometheusBuilder;
use metrics_util::layers::{Fanout, FanoutBuilder};

use crate::catalog::{self, METRICS};
use crate::series::METADATA;
use crate::word::words;
use crate::worker::Worker;

pub(crate) use label::is_label_name;
use page::{Bounds, Page};
pub(crate) use pattern::Pattern;
pub use recorder::PageRecorder;
pub(crate) use token::Token;

/// How often the exporter is handed what the histograms have counted, so that a scrape finds little left to do.
const UPKEEP: Duration = Duration::from_millis(500);

/// How many providers and models, and how many label sets of any other metric, have series of their own, if it is not said.
pub(crate) const MAX_SERIES: usize = 1_000;

/// What the pipeline is built from; every value is valid.
#[derive(Debug)]
pub(crate) struct Config {
    /// Where to listen, as `host:port`, or `None` for no listener.
    pub(crate) listen: Option<String>,
    /// Networks that may scrape, in CIDR notation; empty for all.
    pub(crate) allowed: Vec<String>,
    /// Bucket bounds by metric name, ascending and finite.
    pub(crate) buckets: Vec<(String, Vec<f64>)>,
    pub(crate) global_labels: Vec<(String, String)>,
    pub(crate) max_series: usize,
    /// Provider and model of the series that exist from the start.
    pub(crate) models: Vec<(String, String)>,
    /// Labels of `target_info`.
    pub(crate) target: Vec<(String, String)>,
    /// The metrics that are left out, by their names in code or on the page.
    #[cfg_attr(not(test), expect(dead_code, reason = "the metrics engine leaves nothing out yet"))]
    pub(crate) exclude: Vec<Pattern>,
    /// What a peer must know to see the page.
    #[cfg_attr(not(test), expect(dead_code, reason = "the listener asks for no token yet"))]
    pub(crate) token: Option<Token>,
    #[cfg_attr(not(test), expect(dead_code, reason = "there is one listener as yet"))]
    pub(crate) listener: Listener,
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

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: None,
            allowed: Vec::new(),
            buckets: Vec::new(),
            global_labels: Vec::new(),
            max_series: MAX_SERIES,
            models: Vec::new(),
            target: Vec::new(),
            exclude: Vec::new(),
            token: None,
            listener: Listener::default(),
        }
    }
}

/// A recorder that a program adds beside the page.
pub(crate) type ExtraRecorder = Box<dyn Recorder + Send + Sync>;

/// The running pipeline; dropping it stops the listener and makes the recorder inert.
pub(crate) struct Pipeline {
    recorder: PageRecorder,
    page: Arc<Page>,
    addr: Option<SocketAddr>,
    // Stops the listener and the upkeep.
    _worker: Worker,
}

impl Pipeline {
    /// Builds the recorder, binds the listener and starts upkeep; takes the extra recorders if it succeeds.
    ///
    /// # Errors
    ///
    /// The system's error when no thread can be had, or none of the addresses can be bound.
    pub(crate) fn start(config: &Config, extra: &mut Vec<ExtraRecorder>) -> io::Result<Self> {
        let worker = Worker::start("botticelli-obs-metrics")?;
        let bounds = Arc::new(bounds(config));
        let exporter = || exporter(config, &bounds);
        let (page, addr) = match &config.listen {
            None => (Arc::new(Page::new(exporter().build_recorder(), Arc::clone(&bounds))), None),
            Some(listen) => {
                let (page, addr) = listener::start(&worker, listen, exporter, &bounds)?;
                (page, Some(addr))
            }
        };
        for metric in METRICS {
            metric.describe(&*page);
        }
        let recorder = if extra.is_empty() {
            PageRecorder::new(Box::new(Arc::clone(&page)), config.max_series)
        } else {
            let fanout =
                extra.drain(..).fold(FanoutBuilder::default().add_recorder(Arc::clone(&page)), |fanout, extra| {
                    for metric in METRICS {
                        metric.describe(&*extra);
                    }
                    fanout.add_recorder(extra)
                });
            // Leaked as the process' recorder always is: the fan-out can't be sent between threads, a reference to it can.
            let fanout: &'static Fanout = Box::leak(Box::new(fanout.build()));
            PageRecorder::new(Box::new(fanout), config.max_series)
        };
        let (upkeep_of_page, upkeep_of_recorder) = (Arc::clone(&page), recorder.clone());
        worker.handle().spawn(async move {
            loop {
                tokio::time::sleep(UPKEEP).await;
                upkeep_of_page.run_upkeep();
                upkeep_of_recorder.report_overflow();
            }
        });
        let pipeline = Self { recorder, page, addr, _worker: worker };
        pipeline.publish_constants(config);
        Ok(pipeline)
    }

    fn publish_constants(&self, config: &Config) {
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        self.recorder.register_gauge(&key(&catalog::BUILD_INFO, version), &METADATA).set(1.0);
        self.recorder.register_gauge(&key(&catalog::TARGET_INFO, config.target.clone()), &METADATA).set(1.0);
        self.recorder.publish_zeros();
        let recorder = self.recorder.shared();
        for (provider, model) in &config.models {
            recorder.with_pair(provider, model, &mut |series| series.declare());
        }
    }

    /// Publishes whether a pipeline works as configured.
    pub(crate) fn publish_up(&self, pipeline: &'static str, up: bool) {
        let key = key(&catalog::PIPELINE_UP, [("pipeline", pipeline)]);
        self.recorder.register_gauge(&key, &METADATA).set(f64::from(u8::from(up)));
    }

    pub(crate) fn recorder(&self) -> &PageRecorder {
        &self.recorder
    }

    pub(crate) fn addr(&self) -> Option<SocketAddr> {
        self.addr
    }

    pub(crate) fn render(&self) -> String {
        self.page.render()
    }

    /// Returns what renders the page for another pipeline.
    #[cfg(feature = "otlp-metrics")]
    pub(crate) fn renderer(&self) -> impl Fn() -> String + Send + use<> {
        let page = Arc::clone(&self.page);
        move || page.render()
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.recorder.close();
    }
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline").field("addr", &self.addr).finish_non_exhaustive()
    }
}

/// The `Content-Type` of what [`Pipeline::render`] returns.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

fn key<K, V>(metric: &catalog::Metric, labels: impl IntoIterator<Item = (K, V)>) -> Key
where
    K: Into<metrics::SharedString>,
    V: Into<metrics::SharedString>,
{
    let labels: Vec<Label> = labels.into_iter().map(|(name, value)| Label::new(name, value)).collect();
    Key::from_parts(metric.name, labels)
}

/// Whether the exporter takes this as a network that may scrape.
pub(crate) fn is_network(cidr: &str) -> bool {
    PrometheusBuilder::new().add_allowed_address(cidr).is_ok()
}

/// The bounds of the catalogue, overruled by the program's own.
fn bounds(config: &Config) -> Bounds {
    Bounds::new(
        config
            .buckets
            .iter()
            .map(|(name, bounds)| (recorder::own(name).map_or(name.as_str(), |metric| metric.name), bounds.as_slice())),
    )
}

fn exporter(config: &Config, bounds: &Bounds) -> PrometheusBuilder {
    // Upkeep of its own would run while samples are handed over.
    let builder = PrometheusBuilder::new().with_recommended_naming(true).upkeep_timeout(Duration::MAX);
    let builder = config
        .global_labels
        .iter()
        .fold(builder, |builder, (name, value)| builder.add_global_label(name, label::clean_value(value)));
    // A listener on `[::]` sees IPv4 peers at addresses such as `::ffff:10.0.0.1`.
    let mapped = config.allowed.iter().filter_map(|network| {
        let (ip, prefix) = network.split_once('/')?;
        let ip: Ipv4Addr = ip.parse().ok()?;
        Some(format!("{}/{}", ip.to_ipv6_mapped(), 96 + prefix.parse::<u8>().ok()?))
    });
    let builder =
        config.allowed.iter().cloned().chain(mapped).fold(builder, |builder, network| {
            builder.add_allowed_address(network).expect("the network has been checked")
        });
    bounds.tell(builder)
}
