//! What the exporter shows, and what is handed to it just before it does.
//!
//! Calls count where they are, see [`super::ledger`], and the exporter is told later: as many samples of the same mean as there
//! were, for a histogram. It may lose a sample that it is told while it renders, so only whoever has the turn tells or renders.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use metrics_exporter_prometheus::formatting::sanitize_metric_name;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use super::ledger::{Bucketed, Counted, Ledger};
use super::turn::Turn;
use crate::buckets::Buckets;
use crate::catalog::{DEFAULT_BUCKETS, METRICS, MetricKind};

/// How many samples the exporter is told before it has to fold them in; until then each takes 16 bytes.
const BATCH: u64 = 1 << 16;

/// How many samples upkeep hands over each time. That is every sample of half a million a second, for 3 % of a core; of
/// more, the rest waits as numbers until the page is rendered.
const SAMPLES_PER_UPKEEP: u64 = 1 << 18;

/// The upper bounds of the buckets of every histogram.
#[derive(Debug)]
pub(super) struct Bounds {
    default: Arc<[f64]>,
    /// By the name as the exporter spells it.
    by_metric: HashMap<String, Arc<[f64]>>,
}

impl Bounds {
    /// Takes the bounds of the catalogue, overruled by a program's own.
    pub(super) fn new<'a>(own: impl Iterator<Item = (&'a str, &'a [f64])>) -> Self {
        let catalogue = METRICS.iter().filter(|metric| metric.kind == MetricKind::Histogram);
        let all = catalogue.map(|metric| (metric.name, metric.buckets)).chain(own);
        let by_metric = all.map(|(name, bounds)| (sanitize_metric_name(name), Arc::from(bounds))).collect();
        Self { default: Arc::from(DEFAULT_BUCKETS), by_metric }
    }

    /// Tells the exporter the same.
    pub(super) fn tell(&self, exporter: PrometheusBuilder) -> PrometheusBuilder {
        // Setting bounds fails on an empty list only, and no list here is empty.
        let exporter = exporter.set_buckets(&self.default).expect("bounds are not empty");
        self.by_metric.iter().fold(exporter, |exporter, (name, bounds)| {
            exporter.set_buckets_for_metric(Matcher::Full(name.clone()), bounds).expect("bounds are not empty")
        })
    }

    fn of(&self, name: &str) -> &Arc<[f64]> {
        self.by_metric.get(&sanitize_metric_name(name)).unwrap_or(&self.default)
    }
}

/// The page; as a recorder, the way to it.
pub(super) struct Page {
    recorder: PrometheusRecorder,
    exporter: PrometheusHandle,
    bounds: Arc<Bounds>,
    counters: Ledger<Counted>,
    histograms: Ledger<Bucketed>,
    turn: Turn,
}

impl Page {
    pub(super) fn new(recorder: PrometheusRecorder, bounds: Arc<Bounds>) -> Self {
        Self {
            exporter: recorder.handle(),
            recorder,
            bounds,
            counters: Ledger::default(),
            histograms: Ledger::default(),
            turn: Turn::default(),
        }
    }

    pub(super) fn render(&self) -> String {
        let _turn = self.turn.hold();
        self.hand_over(u64::MAX);
        self.exporter.render()
    }

    /// Takes the turn and hands over what was recorded, before its listener has the exporter render.
    pub(super) fn begin(&self) {
        self.turn.take();
        self.hand_over(u64::MAX);
    }

    /// Gives back the turn, after that.
    pub(super) fn end(&self) {
        self.turn.give_back();
    }

    /// Waits until nobody has the turn.
    pub(super) fn wait(&self) {
        self.turn.wait();
    }

    /// Hands over what was recorded, unless somebody else is at it.
    pub(super) fn run_upkeep(&self) {
        if let Some(_turn) = self.turn.try_hold() {
            self.hand_over(SAMPLES_PER_UPKEEP);
            self.exporter.run_upkeep();
        }
    }

    /// Tells the exporter what was recorded, the latest series first: a call's errors come after its requests, and its duration
    /// too, so that the page never has more of them.
    fn hand_over(&self, samples: u64) {
        let mut told = 0;
        let mut each = || {
            if told == samples {
                return ControlFlow::Break(());
            }
            told += 1;
            if told % BATCH == 0 {
                self.exporter.run_upkeep();
            }
            ControlFlow::Continue(())
        };
        // Broken off or not: what is left is handed over the next time.
        let _ = self.histograms.latest_first().try_for_each(|histogram| histogram.hand_over(&mut each));
        self.counters.latest_first().for_each(|counter| counter.hand_over());
    }
}

impl Recorder for Page {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.recorder.describe_counter(key, unit, description);
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.recorder.describe_gauge(key, unit, description);
    }

    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.recorder.describe_histogram(key, unit, description);
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        let open = |key: &Key| Counted::new(self.recorder.register_counter(key, metadata));
        Counter::from_arc(self.counters.series(key, open))
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        self.recorder.register_gauge(key, metadata)
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.histograms.series(key, |key| {
            let buckets = Buckets::new(Arc::clone(self.bounds.of(key.name())));
            Bucketed::new(buckets, self.recorder.register_histogram(key, metadata))
        }))
    }
}
