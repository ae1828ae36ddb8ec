//! The series of a provider and model with a recorder that is not this crate's.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Key, NoopRecorder, Recorder, SharedString};

#[cfg(feature = "install")]
use super::PriceGauge;
use super::{
    CallEnd, CostCounter, Fact, Finished, LazyHistogram, LimitGauge, PairCounter, PairSeries, TOKEN_PARTS, TraceIds,
    is_plausible, unix_time,
};
use crate::catalog::{self, METADATA, Metric};
use crate::cost::CallCost;
use crate::error_type::ErrorType;
use crate::operation::Operation;
use crate::usage::Usage;

/// The handles of a provider and model, each registered when it is first needed.
///
/// A handle is registered before the cell that keeps it is touched: a recorder may record something itself when it is asked for
/// one, and may ask for the same one. Two threads can register it both, which gives the same series twice.
pub(crate) struct Handles {
    provider: Arc<str>,
    model: Arc<str>,
    counters: [OnceLock<Counter>; PairCounter::COUNT],
    in_flight: OnceLock<Gauge>,
    last_success: OnceLock<Gauge>,
    duration: OnceLock<Histogram>,
    lazy: [OnceLock<Histogram>; LazyHistogram::ALL.len()],
    rate_limits: OnceLock<Box<[OnceLock<Gauge>; LimitGauge::COUNT]>>,
    costs: OnceLock<Box<CostHandles>>,
}

#[derive(Default)]
struct CostHandles {
    counters: [OnceLock<Counter>; CostCounter::COUNT],
    #[cfg(feature = "install")]
    prices: [OnceLock<Gauge>; PriceGauge::COUNT],
}

impl Handles {
    pub(crate) fn new(provider: Arc<str>, model: Arc<str>) -> Self {
        Self {
            provider,
            model,
            counters: std::array::from_fn(|_| OnceLock::new()),
            in_flight: OnceLock::new(),
            last_success: OnceLock::new(),
            duration: OnceLock::new(),
            lazy: [const { OnceLock::new() }; _],
            rate_limits: OnceLock::new(),
            costs: OnceLock::new(),
        }
    }

    /// Registers every handle now, for a recorder that can't be reached later: `metrics` only gives out references.
    pub(crate) fn complete(recorder: &dyn Recorder, provider: &str, model: &str) -> Self {
        let handles = Self::new(Arc::from(provider), Arc::from(model));
        for counter in PairCounter::all() {
            handles.counter(recorder, counter);
        }
        handles.in_flight(recorder);
        handles.last_success(recorder);
        handles.durations(recorder);
        for histogram in LazyHistogram::ALL {
            handles.lazy(recorder, histogram);
        }
        handles
    }

    pub(crate) fn declare(&self, recorder: &dyn Recorder) {
        PairCounter::of_calls().for_each(|counter| self.counter(recorder, counter).increment(0));
        self.in_flight(recorder).increment(0.0);
        // A histogram without samples is on a page with 0 in each bucket.
        self.durations(recorder);
        for histogram in LazyHistogram::OF_STREAMS {
            self.lazy(recorder, histogram);
        }
    }

    /// Registers what is on the page from a pair's first call.
    #[cfg(feature = "install")]
    pub(crate) fn open(&self, recorder: &dyn Recorder) {
        PairCounter::plain().for_each(|counter| self.counter(recorder, counter).increment(0));
        self.in_flight(recorder).increment(0.0);
        self.durations(recorder);
    }

    pub(crate) fn start(&self, recorder: &dyn Recorder) {
        self.in_flight(recorder).increment(1.0);
    }

    /// Records the end of a call at this time: the request first, so that a reader never sees more errors than requests.
    pub(crate) fn end(&self, recorder: &dyn Recorder, end: &CallEnd<'_>, unix_time: f64) {
        self.counter(recorder, PairCounter::REQUESTS).increment(1);
        self.durations(recorder).record(end.elapsed);
        if let Some(usage) = end.usage {
            self.tokens(recorder, &usage);
        }
        for (reason, &count) in end.finished.iter().enumerate().filter(|(_, count)| **count > 0) {
            self.counter(recorder, PairCounter::finish(reason)).increment(count.into());
        }
        match end.error {
            Some(error) => self.counter(recorder, PairCounter::error(error)).increment(1),
            None => {
                self.last_success(recorder).set(unix_time);
                if end.usage.is_none() {
                    self.counter(recorder, PairCounter::USAGE_MISSING).increment(1);
                }
            }
        }
        if end.waited > Duration::ZERO {
            self.lazy(recorder, LazyHistogram::Wait).record(end.waited);
        }
        self.in_flight(recorder).decrement(1.0);
    }

    pub(crate) fn attempt(&self, recorder: &dyn Recorder, elapsed: Duration, error: Option<ErrorType>) {
        self.counter(recorder, PairCounter::ATTEMPTS).increment(1);
        self.lazy(recorder, LazyHistogram::AttemptDuration).record(elapsed);
        if let Some(error) = error {
            self.counter(recorder, PairCounter::attempt_error(error)).increment(1);
        }
    }

    pub(crate) fn record(&self, recorder: &dyn Recorder, fact: &Fact) {
        match *fact {
            Fact::Request => self.counter(recorder, PairCounter::REQUESTS).increment(1),
            Fact::Error(error) => self.counter(recorder, PairCounter::error(error)).increment(1),
            Fact::Duration(seconds) => self.duration(recorder, seconds),
            Fact::Tokens(usage) => self.tokens(recorder, &usage),
        }
    }

    pub(crate) fn finished(&self, recorder: &dyn Recorder, call: &Finished<'_>) {
        self.counter(recorder, PairCounter::REQUESTS).increment(1);
        self.duration(recorder, call.seconds);
        self.tokens(recorder, &Usage::new(call.prompt, call.completion));
    }

    fn duration(&self, recorder: &dyn Recorder, seconds: f64) {
        if seconds.is_finite() && seconds >= 0.0 {
            self.durations(recorder).record(seconds);
        }
    }

    fn tokens(&self, recorder: &dyn Recorder, usage: &Usage) {
        if !is_plausible(usage) {
            return;
        }
        // Most calls have neither cached nor reasoning tokens.
        let parts = if usage.has_parts() { &TOKEN_PARTS[..] } else { &TOKEN_PARTS[..3] };
        for (counter, part) in parts {
            self.counter(recorder, *counter).increment(part(usage));
        }
    }

    pub(crate) fn counter(&self, recorder: &dyn Recorder, counter: PairCounter) -> &Counter {
        get_or_register(&self.counters[counter.index()], || {
            recorder.register_counter(&self.key(&counter.metric(), counter.third().map(|(_, value)| *value)), &METADATA)
        })
    }

    pub(crate) fn in_flight(&self, recorder: &dyn Recorder) -> &Gauge {
        self.gauge(recorder, &self.in_flight, &catalog::IN_FLIGHT)
    }

    pub(crate) fn last_success(&self, recorder: &dyn Recorder) -> &Gauge {
        self.gauge(recorder, &self.last_success, &catalog::LAST_SUCCESS)
    }

    pub(crate) fn durations(&self, recorder: &dyn Recorder) -> &Histogram {
        self.histogram(recorder, &self.duration, &catalog::DURATION)
    }

    pub(crate) fn lazy(&self, recorder: &dyn Recorder, histogram: LazyHistogram) -> &Histogram {
        self.histogram(recorder, &self.lazy[histogram as usize], &histogram.metric())
    }

    pub(crate) fn rate_limit(&self, recorder: &dyn Recorder, limit: LimitGauge) -> &Gauge {
        let cells = self.rate_limits.get_or_init(|| Box::new([const { OnceLock::new() }; _]));
        get_or_register(&cells[limit.index()], || {
            recorder.register_gauge(&self.key(&limit.metric(), Some(limit.third().1)), &METADATA)
        })
    }

    pub(crate) fn cost(&self, recorder: &dyn Recorder, cost: &CallCost) {
        self.cost_counter(recorder, CostCounter::lookups(cost.status)).increment(1);
        if let Some(nano_usd) = cost.known() {
            self.cost_counter(recorder, CostCounter::cost(cost.outcome)).increment(nano_usd);
        }
    }

    pub(crate) fn cost_counter(&self, recorder: &dyn Recorder, counter: CostCounter) -> &Counter {
        let cells = self.costs.get_or_init(Box::default);
        get_or_register(&cells.counters[counter.index()], || {
            recorder.register_counter(&self.key(&counter.metric(), Some(counter.third().1)), &METADATA)
        })
    }

    #[cfg(feature = "install")]
    pub(crate) fn price(&self, recorder: &dyn Recorder, price: PriceGauge) -> &Gauge {
        let cells = self.costs.get_or_init(Box::default);
        get_or_register(&cells.prices[price.index()], || {
            recorder.register_gauge(&self.key(&catalog::PRICE, Some(price.third().1)), &METADATA)
        })
    }

    fn gauge<'a>(&self, recorder: &dyn Recorder, cell: &'a OnceLock<Gauge>, metric: &Metric) -> &'a Gauge {
        get_or_register(cell, || recorder.register_gauge(&self.key(metric, None), &METADATA))
    }

    fn histogram<'a>(&self, recorder: &dyn Recorder, cell: &'a OnceLock<Histogram>, metric: &Metric) -> &'a Histogram {
        get_or_register(cell, || recorder.register_histogram(&self.key(metric, None), &METADATA))
    }

    fn key(&self, metric: &Metric, third: Option<&'static str>) -> Key {
        let [provider, model] = [&self.provider, &self.model].map(|name| SharedString::from_shared(Arc::clone(name)));
        match third {
            Some(third) => metric.key([provider, model, SharedString::const_str(third)]),
            None => metric.key([provider, model]),
        }
    }
}

fn get_or_register<T>(cell: &OnceLock<T>, register: impl FnOnce() -> T) -> &T {
    match cell.get() {
        Some(handle) => handle,
        None => {
            let registered = register();
            cell.get_or_init(|| registered)
        }
    }
}

/// The handles of [`Handles::complete`], which have to ask nobody.
impl PairSeries for Handles {
    fn names(&self) -> [&str; 2] {
        [&self.provider, &self.model]
    }

    fn declare(&self) {
        self.declare(&NoopRecorder);
    }

    fn start(&self) {
        self.start(&NoopRecorder);
    }

    fn end(&self, end: &CallEnd<'_>) {
        self.end(&NoopRecorder, end, unix_time());
    }

    fn first_chunk(&self, _: Operation, elapsed: Duration, _: Option<TraceIds>) {
        self.lazy(&NoopRecorder, LazyHistogram::FirstChunk).record(elapsed);
    }

    fn chunk_gap(&self, _: Operation, gap: Duration) {
        self.lazy(&NoopRecorder, LazyHistogram::ChunkGap).record(gap);
    }

    fn attempt(&self, elapsed: Duration, error: Option<ErrorType>) {
        self.attempt(&NoopRecorder, elapsed, error);
    }

    /// Registered only now, since most programs never have one, with the recorder that is current now.
    fn rate_limit(&self, limit: LimitGauge, value: f64) {
        metrics::with_recorder(|recorder| self.rate_limit(recorder, limit).set(value));
    }

    /// Registered only now, likewise.
    fn cost(&self, cost: &CallCost) {
        metrics::with_recorder(|recorder| self.cost(recorder, cost));
    }

    fn record(&self, fact: &Fact) {
        self.record(&NoopRecorder, fact);
    }

    fn finished(&self, call: &Finished<'_>) {
        self.finished(&NoopRecorder, call);
    }
}
