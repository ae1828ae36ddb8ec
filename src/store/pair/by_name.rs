//! Handles of `metrics` for the series of a pair, for call sites that register a metric of the catalogue by its name.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use metrics::{Counter, CounterFn, Gauge, GaugeFn, HistogramFn, Recorder};

use super::read::value;
use super::{LAST_SUCCESS_IS_SET, Pair, is_duration};
use crate::catalog::{self, Metric};
use crate::series::{CostCounter, Handles, LazyHistogram, LimitGauge, PairCounter, PriceGauge};
use crate::store::count::{Number, add_saturating};
use crate::store::fanout::MOST_SAMPLES;

/// A series of a pair, registered by its name in code.
pub(in crate::store) struct ByName<S> {
    pub(in crate::store) pair: Arc<Pair>,
    pub(in crate::store) series: S,
}

/// The gauges of a pair.
#[derive(Clone, Copy)]
pub(in crate::store) enum PairGauge {
    InFlight,
    LastSuccess,
    RateLimit(LimitGauge),
    Price(PriceGauge),
}

/// The histograms of a pair.
#[derive(Clone, Copy)]
pub(in crate::store) enum PairHistogram {
    Duration,
    Lazy(LazyHistogram),
}

impl ByName<PairCounter> {
    pub(in crate::store) fn open(self) -> Counter {
        self.pair.show(self.series);
        self.pair.each_extra(|handles, recorder| handles.counter(recorder, self.series).increment(0));
        Counter::from_arc(Arc::new(self))
    }
}

impl CounterFn for ByName<PairCounter> {
    fn increment(&self, value: u64) {
        self.pair.add(self.series, value);
        self.pair.each_extra(|handles, recorder| handles.counter(recorder, self.series).increment(value));
    }

    fn absolute(&self, absolute: u64) {
        // Inside `read`, because its lock keeps other threads that set this counter from adding the same difference again.
        self.pair.calls.read(|totals| {
            let missing = absolute.saturating_sub(value(totals, self.series));
            if missing > 0 {
                self.pair.add(self.series, missing);
            }
        });
        self.pair.each_extra(|handles, recorder| handles.counter(recorder, self.series).absolute(absolute));
    }
}

impl ByName<CostCounter> {
    pub(in crate::store) fn open(self) -> Counter {
        self.pair.costs().show(self.series);
        self.pair.each_extra(|handles, recorder| handles.cost_counter(recorder, self.series).increment(0));
        Counter::from_arc(Arc::new(self))
    }
}

impl CounterFn for ByName<CostCounter> {
    fn increment(&self, value: u64) {
        self.pair.costs().add(self.series, value);
        self.pair.each_extra(|handles, recorder| handles.cost_counter(recorder, self.series).increment(value));
    }

    fn absolute(&self, absolute: u64) {
        self.pair.costs().raise(self.series, absolute);
        self.pair.each_extra(|handles, recorder| handles.cost_counter(recorder, self.series).absolute(absolute));
    }
}

impl ByName<PairGauge> {
    pub(in crate::store) fn open(self) -> Gauge {
        Gauge::from_arc(Arc::new(self))
    }

    fn each(&self, own: impl Fn(&Number), extra: impl Fn(&Gauge)) {
        match self.series {
            PairGauge::InFlight => {
                own(&self.pair.in_flight);
                self.pair.each_extra(|handles, recorder| extra(handles.in_flight(recorder)));
            }
            PairGauge::LastSuccess => {
                own(&self.pair.last_success);
                self.pair.shown.fetch_or(LAST_SUCCESS_IS_SET, Ordering::Release);
                self.pair.each_extra(|handles, recorder| extra(handles.last_success(recorder)));
            }
            PairGauge::RateLimit(limit) => {
                own(self.pair.rate_limit_gauge(limit));
                self.pair.each_extra(|handles, recorder| extra(handles.rate_limit(recorder, limit)));
            }
            PairGauge::Price(price) => {
                own(self.pair.costs().price(price));
                self.pair.each_extra(|handles, recorder| extra(handles.price(recorder, price)));
            }
        }
    }
}

impl GaugeFn for ByName<PairGauge> {
    fn increment(&self, value: f64) {
        self.each(|gauge| gauge.increment(value), |gauge| gauge.increment(value));
    }

    fn decrement(&self, value: f64) {
        self.each(|gauge| gauge.decrement(value), |gauge| gauge.decrement(value));
    }

    fn set(&self, value: f64) {
        self.each(|gauge| gauge.set(value), |gauge| gauge.set(value));
    }
}

impl ByName<PairHistogram> {
    pub(in crate::store) fn open(self) -> metrics::Histogram {
        let pair = &self.pair;
        if let PairHistogram::Lazy(histogram) = self.series {
            pair.lazy(histogram);
        }
        pair.each_extra(|handles, recorder| _ = self.handle(handles, recorder));
        metrics::Histogram::from_arc(Arc::new(self))
    }

    fn handle<'a>(&self, handles: &'a Handles, recorder: &dyn Recorder) -> &'a metrics::Histogram {
        match self.series {
            PairHistogram::Duration => handles.durations(recorder),
            PairHistogram::Lazy(histogram) => handles.lazy(recorder, histogram),
        }
    }
}

impl HistogramFn for ByName<PairHistogram> {
    fn record(&self, value: f64) {
        self.record_many(value, 1);
    }

    fn record_many(&self, value: f64, count: usize) {
        let pair = &self.pair;
        match self.series {
            PairHistogram::Duration => pair.single_durations(value, count as u64),
            PairHistogram::Lazy(histogram) => {
                if let Some(samples) = pair.lazy(histogram) {
                    samples.add(value, count as u64);
                }
            }
        }
        if is_duration(value) && !pair.extras.is_empty() {
            pair.each_extra(|handles, recorder| {
                self.handle(handles, recorder).record_many(value, count.min(MOST_SAMPLES));
            });
            let about = match self.series {
                PairHistogram::Duration => &pair.shared.durations,
                PairHistogram::Lazy(histogram) => &pair.shared.lazy[histogram as usize],
            };
            add_saturating(&about.invalid, count.saturating_sub(MOST_SAMPLES) as u64);
        }
    }
}

impl Metric {
    /// Returns the gauge of a pair for this metric and the value of its third label, if it has one; `None` for an unknown value.
    pub(in crate::store) fn pair_gauge(&self, third: Option<&str>) -> Option<PairGauge> {
        match self.name {
            name if name == catalog::IN_FLIGHT.name => Some(PairGauge::InFlight),
            name if name == catalog::LAST_SUCCESS.name => Some(PairGauge::LastSuccess),
            name if name == catalog::PRICE.name => PriceGauge::of(third?).map(PairGauge::Price),
            name if name == catalog::RATE_LIMIT.name => LimitGauge::limit(third?).map(PairGauge::RateLimit),
            _ => LimitGauge::remaining(third?).map(PairGauge::RateLimit),
        }
    }

    /// Returns the histogram of a pair for this metric.
    pub(in crate::store) fn pair_histogram(&self) -> PairHistogram {
        let lazy = LazyHistogram::ALL.into_iter().find(|histogram| histogram.metric().name == self.name);
        lazy.map_or(PairHistogram::Duration, PairHistogram::Lazy)
    }

    /// Returns the counter of cost for this metric and the value of its third label; `None` if the metric is none of cost.
    pub(in crate::store) fn cost_counter(&self, third: Option<&str>) -> Option<CostCounter> {
        let of_metric = || CostCounter::all().filter(|counter| counter.metric().name == self.name);
        of_metric().find(|counter| Some(counter.third().1) == third).or_else(|| of_metric().last())
    }

    /// Returns the counter of a pair for this metric and the value of its third label, if it has one. For an unknown value it is
    /// the last counter of the metric, which stands for all other values.
    pub(in crate::store) fn pair_counter(&self, third: Option<&str>) -> PairCounter {
        let of_metric = |counter: &PairCounter| counter.metric().name == self.name;
        let mut last = PairCounter::REQUESTS;
        for counter in PairCounter::all().filter(of_metric) {
            last = counter;
            if counter.third().map(|(_, value)| *value) == third {
                break;
            }
        }
        last
    }
}
