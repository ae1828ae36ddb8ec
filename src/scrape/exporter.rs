//! The listener of `metrics-exporter-prometheus`. It gets the metrics as an added recorder, and is bounded from outside.
//!
//! The exporter accepts any number of connections, never closes an idle one, and retries a failed `accept` without a pause. It
//! spawns its connections on the runtime that is current while it is polled. Therefore it is polled inside a second runtime,
//! which has only these connections. While this runtime has too many connections, the exporter is not polled, and new connections
//! wait in the backlog of the kernel. If it has too many for too long, it is dropped with its connections, and replaced by a new
//! one.

use std::borrow::Cow;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use ipnet::{IpNet, Ipv6Net};
use metrics::{Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use metrics_exporter_prometheus::{ExporterFuture, Matcher, PrometheusBuilder, PrometheusRecorder};
use tokio::runtime::Builder;
use tokio::time::{Sleep, sleep};

use super::Config;
use crate::catalog::{self, DEFAULT_BUCKETS, MetricKind};
use crate::fork::Origin;
use crate::label::clean_value;
use crate::store::{self, ExtraRecorder};
use crate::throttle::Throttle;
use crate::worker::Worker;

/// How many connections may be open before new ones must wait. One poll of the exporter may accept up to 128 more.
const MAX_CONNECTIONS: usize = 32;

/// How long all connections may be in use before they are closed. It is longer than a scrape takes.
const PATIENCE: Duration = Duration::from_secs(3);

/// The same for some time after connections were closed, so that a scrape that waits in the backlog is answered during a flood.
const PATIENCE_IN_FLOOD: Duration = Duration::from_millis(250);

/// How long after connections were closed [`PATIENCE_IN_FLOOD`] applies.
const FLOOD: Duration = Duration::from_secs(10);

/// The pause before it is checked again whether there is room.
const PAUSE: Duration = Duration::from_millis(50);

/// The pause after [`FRUITLESS_POLLS`], such as when the process has no free descriptor.
const BACK_OFF: Duration = Duration::from_millis(100);

/// How many polls in a row without a new connection are reported.
const FRUITLESS_POLLS: u32 = 8;

/// How often to try if another program takes a port between the test of the port and its use.
const ATTEMPTS: u32 = 5;

/// The interval in which the exporter adds new samples to its histograms. Until then each sample takes 16 bytes.
const UPKEEP: Duration = Duration::from_secs(1);

/// The exporter's page. When it is dropped, its recorder stops recording samples.
pub(super) struct Server {
    addr: SocketAddr,
    is_closed: Arc<AtomicBool>,
}

impl Server {
    /// Binds the first available address of `host:port`, and serves the page there while the worker lives. Returns the recorder
    /// whose metrics are on the page.
    ///
    /// # Errors
    ///
    /// When the host has no address, its addresses can't be bound, or the system can't create a thread.
    pub(super) fn start(worker: &Worker, listen: &str, config: &Config) -> io::Result<(Self, ExtraRecorder)> {
        let mut last_error = io::Error::new(io::ErrorKind::InvalidInput, "no address to listen on");
        let mut addresses: Vec<SocketAddr> = listen.to_socket_addrs()?.collect();
        // IPv4 first: `localhost` has addresses of both kinds, and configurations of Prometheus mostly name 127.0.0.1.
        addresses.sort_by_key(SocketAddr::is_ipv6);
        for wanted in addresses {
            for _ in 0..ATTEMPTS {
                // The exporter reports neither the port that it has bound nor why it could not, so the address is tested before.
                let addr = match TcpListener::bind(wanted).and_then(|probe| probe.local_addr()) {
                    Ok(addr) => addr,
                    Err(error) => {
                        last_error = error;
                        break;
                    }
                };
                let connections = Connections::new()?;
                let built = {
                    let _entered = worker.handle().enter();
                    builder(config).with_http_listener(addr).build()
                };
                match built {
                    Ok((recorder, exporter)) => {
                        worker.handle().spawn(Bounded::new(exporter, connections, addr));
                        let is_closed = Arc::new(AtomicBool::new(false));
                        let page = OnPage { recorder, is_closed: Arc::clone(&is_closed) };
                        return Ok((Self { addr, is_closed }, ExtraRecorder::with_page_names(page)));
                    }
                    Err(error) => last_error = io::Error::new(io::ErrorKind::AddrInUse, error),
                }
            }
        }
        Err(last_error)
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }
}

/// Returns the builder of the exporter with the settings of the page.
fn builder(config: &Config) -> PrometheusBuilder {
    let mut builder = PrometheusBuilder::new().with_recommended_naming(true).upkeep_timeout(UPKEEP);
    for (name, value) in &config.store.global_labels {
        builder = builder.add_global_label(name, clean_value(value));
    }
    for network in config.allowed.iter().flat_map(as_seen) {
        builder = builder.add_allowed_address(network.to_string()).expect("a network in CIDR notation");
    }
    // Bounds can be set unless the list is empty, and no list here is.
    builder = builder.set_buckets(DEFAULT_BUCKETS).expect("bounds are not empty");
    for (name, bounds) in bounds(&config.store) {
        builder = builder.set_buckets_for_metric(Matcher::Full(name), &bounds).expect("bounds are not empty");
    }
    builder
}

/// Returns a network in all forms in which a listener may see its peers. On `[::]`, IPv4 peers have addresses such as
/// `::ffff:10.0.0.1`.
fn as_seen(network: &IpNet) -> impl Iterator<Item = IpNet> + use<> {
    let mapped = match network {
        IpNet::V4(v4) => Ipv6Net::new(v4.addr().to_ipv6_mapped(), 96 + v4.prefix_len()).ok(),
        IpNet::V6(_) => None,
    };
    [*network].into_iter().chain(mapped.map(IpNet::V6))
}

/// Returns the bounds of histograms by their names on the page. The name of a program's metric may get any unit there, so it is
/// listed with each. Names without a unit are last, so that they take precedence over equal names with one.
fn bounds(config: &store::Config) -> Vec<(String, Arc<[f64]>)> {
    let (mut with_unit, mut plain) = (Vec::new(), Vec::new());
    for (name, bounds) in config.bounds() {
        if let Some(metric) = store::own(&name) {
            plain.push((metric.prometheus.to_owned(), bounds));
            continue;
        }
        let on_page = |unit| (store::exposed(&name, MetricKind::Histogram, unit), Arc::clone(&bounds));
        with_unit.extend(UNITS.iter().map(|unit| on_page(Some(*unit))));
        plain.push(on_page(None));
    }
    with_unit.append(&mut plain);
    with_unit
}

/// Every unit that a description may have.
const UNITS: [Unit; 17] = [
    Unit::Count,
    Unit::Percent,
    Unit::Seconds,
    Unit::Milliseconds,
    Unit::Microseconds,
    Unit::Nanoseconds,
    Unit::Tebibytes,
    Unit::Gibibytes,
    Unit::Mebibytes,
    Unit::Kibibytes,
    Unit::Bytes,
    Unit::TerabitsPerSecond,
    Unit::GigabitsPerSecond,
    Unit::MegabitsPerSecond,
    Unit::KilobitsPerSecond,
    Unit::BitsPerSecond,
    Unit::CountPerSecond,
];

/// The exporter's recorder. It gets every family by its name on the page, which the exporter does not change.
struct OnPage {
    recorder: PrometheusRecorder,
    is_closed: Arc<AtomicBool>,
}

/// Returns the name on the page for a metric of the catalogue. All other names are already those of the page.
fn on_page(name: &str) -> Option<&'static str> {
    catalog::find(name).map(|metric| metric.whole_number_family())
}

fn key_on_page(key: &Key) -> Cow<'_, Key> {
    match on_page(key.name()) {
        Some(name) if name != key.name() => {
            Cow::Owned(Key::from_parts(name, key.labels().cloned().collect::<Vec<_>>()))
        }
        _ => Cow::Borrowed(key),
    }
}

fn name_on_page(name: KeyName) -> KeyName {
    on_page(name.as_str()).map_or(name, KeyName::from_const_str)
}

/// Units are not passed on, because the names already have them.
impl Recorder for OnPage {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, text: SharedString) {
        self.recorder.describe_counter(name_on_page(name), None, text);
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, text: SharedString) {
        self.recorder.describe_gauge(name_on_page(name), None, text);
    }

    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, text: SharedString) {
        self.recorder.describe_histogram(name_on_page(name), None, text);
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        self.recorder.register_counter(&key_on_page(key), metadata)
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        self.recorder.register_gauge(&key_on_page(key), metadata)
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        let samples = self.recorder.register_histogram(&key_on_page(key), metadata);
        let is_closed = Arc::clone(&self.is_closed);
        Histogram::from_arc(Arc::new(Samples { samples, is_closed, origin: Origin::here() }))
    }
}

/// A histogram that takes nothing after the upkeep has ended, nor in the child of a fork: its samples would pile up.
struct Samples {
    samples: Histogram,
    is_closed: Arc<AtomicBool>,
    origin: Origin,
}

impl HistogramFn for Samples {
    fn record(&self, value: f64) {
        if !self.is_closed.load(Ordering::Relaxed) && !self.origin.is_forked() {
            self.samples.record(value);
        }
    }
}

/// The runtime of the open connections. Each connection is one task.
struct Connections(Worker);

impl Connections {
    fn new() -> io::Result<Self> {
        let mut runtime = Builder::new_current_thread();
        // Where the exporter renders.
        runtime.max_blocking_threads(2);
        Ok(Self(Worker::run("botticelli-obs-scrape", runtime)?))
    }

    fn open(&self) -> usize {
        self.0.handle().metrics().num_alive_tasks()
    }

    fn poll(&self, exporter: &mut ExporterFuture, cx: &mut Context<'_>) -> bool {
        let _entered = self.0.handle().enter();
        exporter.as_mut().poll(cx).is_ready()
    }
}

/// The exporter's accept loop. When it is dropped, the listener and all connections are closed.
struct Bounded {
    exporter: ExporterFuture,
    connections: Connections,
    addr: SocketAddr,
    full_since: Option<Instant>,
    closed_at: Option<Instant>,
    fruitless: u32,
    throttle: Throttle,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Bounded {
    fn new(exporter: ExporterFuture, connections: Connections, addr: SocketAddr) -> Self {
        Self {
            exporter,
            connections,
            addr,
            full_since: None,
            closed_at: None,
            fruitless: 0,
            throttle: Throttle::default(),
            pause: None,
        }
    }

    /// Returns whether there is room for new connections. If there was none for too long, all connections are closed.
    fn has_room(&mut self) -> bool {
        if self.connections.open() < MAX_CONNECTIONS {
            self.full_since = None;
            return true;
        }
        let is_flooded = self.closed_at.is_some_and(|at| at.elapsed() < FLOOD);
        let patience = if is_flooded { PATIENCE_IN_FLOOD } else { PATIENCE };
        if self.full_since.get_or_insert_with(Instant::now).elapsed() < patience {
            return false;
        }
        // If the system has no thread for a new runtime, the old one is kept, and the next poll tries again.
        let Ok(fresh) = Connections::new() else { return false };
        self.connections = fresh;
        self.full_since = None;
        self.closed_at = Some(Instant::now());
        true
    }

    fn report_trouble(&mut self) {
        if self.throttle.allow(Instant::now()) {
            tracing::warn!(
                target: "botticelli_obs",
                "metrics: {} accepts no connections, as when the program has run out of file descriptors; trying on",
                self.addr
            );
        }
    }
}

impl Future for Bounded {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        loop {
            if let Some(pause) = &mut this.pause {
                std::task::ready!(pause.as_mut().poll(cx));
                this.pause = None;
            }
            if !this.has_room() {
                this.pause = Some(Box::pin(sleep(PAUSE)));
                continue;
            }
            let before = this.connections.open();
            if this.connections.poll(&mut this.exporter, cx) {
                return Poll::Ready(());
            }
            this.fruitless = if this.connections.open() > before { 0 } else { this.fruitless + 1 };
            if this.fruitless < FRUITLESS_POLLS {
                return Poll::Pending;
            }
            this.fruitless = 0;
            this.report_trouble();
            this.pause = Some(Box::pin(sleep(BACK_OFF)));
        }
    }
}
