//! The series of one provider and model in the store.
//!
//! All that a call records when it ends is one update of one group of counts, so that readers see it as a whole. Some families are
//! computed from the counts of others: a call adds to a bucket of durations and to its tokens, and a reader computes the number of
//! requests and the sum of all tokens. Facts that are recorded without a call have counts of their own.

mod by_name;
mod cost;
mod genai;
mod read;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use metrics::{GaugeFn, Recorder};

use super::Store;
use super::bounds::Bounds;
use super::count::{Number, add_saturating};
use super::exemplars::{Exemplars, Of};
use super::fanout::Extras;
use super::halves::{Halves, Update};
use super::histogram::Histogram;
#[cfg(feature = "console")]
use super::recent::RecentCalls;
use crate::catalog::GenAiMetrics;
#[cfg(feature = "prices")]
use crate::cost::Bill;
use crate::cost::CallCost;
use crate::error_type::ErrorType;
use crate::finish::FINISH_REASONS;
use crate::operation::Operation;
#[cfg(feature = "prices")]
use crate::price::PriceBook;
use crate::series::{
    CallEnd, Fact, Finished, Handles, LazyHistogram, LimitGauge, PairCounter, PairSeries, TraceIds, is_plausible,
    unix_time,
};
use crate::snapshot::LabelSet;
use crate::spend::Ledger;
use crate::usage::Usage;
pub(super) use by_name::ByName;
use cost::Costs;
use genai::{End, GenAi};

/// The data that all pairs of a store share.
pub(super) struct Shared {
    pub(super) durations: About,
    pub(super) lazy: [About; LazyHistogram::ALL.len()],
    /// The number of implausible usages.
    pub(super) invalid_tokens: Arc<AtomicU64>,
    /// The number of costs that are none.
    pub(super) invalid_costs: Arc<AtomicU64>,
    pub(super) ledger: Arc<Ledger>,
    #[cfg(feature = "prices")]
    pub(super) prices: Option<Arc<PriceBook>>,
    pub(super) extras: Extras,
    pub(super) has_exemplars: bool,
    pub(super) genai: Box<[GenAiMetrics]>,
    /// The calls that have ended lately, if they are kept.
    #[cfg(feature = "console")]
    pub(super) recent: Option<Arc<RecentCalls>>,
    /// Whose pairs they are.
    pub(super) store: Weak<Store>,
}

/// A histogram that every pair has.
pub(super) struct About {
    pub(super) bounds: Bounds,
    /// The number of invalid samples of the whole family.
    pub(super) invalid: Arc<AtomicU64>,
    /// Whether the histogram is excluded: no reader gets it, and it takes no memory.
    pub(super) is_excluded: bool,
}

// The indexes of counts in the group. The first ones are those of `PairCounter::index`: facts that are recorded without a call, and
// counters that are not computed from others. Excluded metrics keep their counts, which take 24 bytes each.
const CALL_PROMPT: usize = PairCounter::COUNT;
const CALL_COMPLETION: usize = CALL_PROMPT + 1;
/// The number of durations that were recorded without a call. They don't count as requests.
const SINGLE_DURATIONS: usize = CALL_COMPLETION + 1;
const COUNTS: usize = SINGLE_DURATIONS + 1;

/// A bit of `shown` besides those of the counters.
const LAST_SUCCESS_IS_SET: u64 = 1 << 62;

/// The rate limits that answers have told.
#[derive(Default)]
struct RateLimits {
    gauges: [Number; LimitGauge::COUNT],
    /// A bit for each gauge that readers get.
    shown: AtomicU32,
}

pub(crate) struct Pair {
    pub(super) provider: Arc<str>,
    pub(super) model: Arc<str>,
    labels: Arc<LabelSet>,
    shared: Arc<Shared>,
    /// Counts, the buckets of the durations, and their sum.
    calls: Halves<COUNTS>,
    in_flight: Number,
    last_success: Number,
    lazy: [OnceLock<Histogram>; LazyHistogram::ALL.len()],
    rate_limits: OnceLock<Box<RateLimits>>,
    costs: OnceLock<Box<Costs>>,
    /// A bit for each counter that readers get even if it is 0.
    shown: AtomicU64,
    exemplars: Mutex<Exemplars>,
    /// The handles of each added recorder.
    extras: Box<[Handles]>,
    genai: Option<Box<GenAi>>,
    lasting: OnceLock<&'static Self>,
}

impl Pair {
    /// Creates the series of a pair, whose names must be clean. They are not yet registered with the added recorders.
    pub(super) fn new(provider: &str, model: &str, labels: LabelSet, shared: &Arc<Shared>) -> Self {
        let (provider, model): (Arc<str>, Arc<str>) = (provider.into(), model.into());
        let handles = |_| Handles::new(Arc::clone(&provider), Arc::clone(&model));
        Self {
            extras: shared.extras.iter().map(handles).collect(),
            genai: GenAi::new(&shared.genai, &shared.store, [&provider, &model]),
            labels: Arc::new(labels),
            calls: Halves::new(shared.durations.bounds.len() + 1),
            in_flight: Number::default(),
            last_success: Number::default(),
            lazy: [const { OnceLock::new() }; _],
            rate_limits: OnceLock::new(),
            costs: shared.zero_costs(),
            lasting: OnceLock::new(),
            shown: AtomicU64::new(PairCounter::plain().map(bit).sum()),
            exemplars: Mutex::default(),
            shared: Arc::clone(shared),
            provider,
            model,
        }
    }

    /// Returns the pair of a store that is never dropped.
    pub(super) fn lasting(self: &Arc<Self>) -> &'static Self {
        self.lasting.get_or_init(|| Box::leak(Box::new(Arc::clone(self))))
    }

    /// Registers what a pair has from its first call with the added recorders.
    pub(super) fn open_extras(&self) {
        self.each_extra(|handles, recorder| handles.open(recorder));
        self.open_costs_of_extras();
    }

    /// Calls the function with the handles of each added recorder. No lock may be held, because they may record metrics themselves.
    #[inline]
    fn each_extra(&self, record: impl Fn(&Handles, &dyn Recorder)) {
        for (handles, recorder) in self.extras.iter().zip(self.shared.extras.iter()) {
            record(handles, recorder);
        }
    }

    #[inline(always)]
    fn bucket(&self, seconds: f64) -> usize {
        self.shared.durations.bounds.bucket(seconds)
    }

    /// Adds the duration of a call, in seconds, to a bucket.
    #[inline(always)]
    fn add_duration(&self, update: &Update<'_, COUNTS>, bucket: usize, seconds: f64) {
        update.add_to_bucket(bucket, 1);
        if !update.add_to_sum(seconds) {
            self.count_invalid_durations(1);
        }
    }

    /// Records a duration without a call, `count` times.
    fn single_durations(&self, seconds: f64, count: u64) {
        if !is_duration(seconds) {
            return self.count_invalid_durations(count);
        }
        let update = self.calls.update();
        update.add(SINGLE_DURATIONS, count);
        update.add_to_bucket(self.bucket(seconds), count);
        if !update.add_to_sum(seconds * count as f64) {
            self.count_invalid_durations(count);
        }
    }

    #[inline]
    fn add_tokens(&self, update: &Update<'_, COUNTS>, usage: &Usage) {
        update.add(CALL_PROMPT, usage.prompt());
        update.add(CALL_COMPLETION, usage.completion());
        // Most calls have neither cached nor reasoning tokens.
        if usage.has_parts() {
            update.add(PairCounter::CACHE_READ.index(), usage.cache_read());
            update.add(PairCounter::CACHE_WRITE.index(), usage.cache_write());
            update.add(PairCounter::REASONING.index(), usage.reasoning());
        }
    }

    /// Returns the usage if it is plausible. Otherwise counts it as invalid.
    #[inline]
    fn checked(&self, usage: Usage) -> Option<Usage> {
        if is_plausible(&usage) {
            return Some(usage);
        }
        add_saturating(&self.shared.invalid_tokens, 1);
        None
    }

    #[cold]
    #[inline(never)]
    fn count_invalid_durations(&self, count: u64) {
        add_saturating(&self.shared.durations.invalid, count);
    }

    /// Adds to one counter.
    fn add(&self, counter: PairCounter, more: u64) {
        self.calls.update().add(counter.index(), more);
    }

    /// Makes readers get a counter even if it is 0.
    fn show(&self, counter: PairCounter) {
        self.shown.fetch_or(bit(counter), Ordering::Relaxed);
    }

    fn set_last_success(&self, time: f64) {
        self.last_success.set(time);
        // The bit is set once: an atomic write costs more than a read.
        if self.shown.load(Ordering::Relaxed) & LAST_SUCCESS_IS_SET == 0 {
            self.shown.fetch_or(LAST_SUCCESS_IS_SET, Ordering::Release);
        }
    }

    /// Returns a histogram, and makes it first if need be; `None` if it is excluded.
    #[inline]
    fn lazy(&self, histogram: LazyHistogram) -> Option<&Histogram> {
        self.lazy[histogram as usize].get().or_else(|| self.make_lazy(histogram))
    }

    #[cold]
    fn make_lazy(&self, histogram: LazyHistogram) -> Option<&Histogram> {
        let about = &self.shared.lazy[histogram as usize];
        if about.is_excluded {
            return None;
        }
        let make = || Histogram::new(about.bounds.clone(), 0.0, Arc::clone(&about.invalid));
        Some(self.lazy[histogram as usize].get_or_init(make))
    }

    /// Records a gap for those who are not always there; apart, since a stream has thousands of them.
    #[cold]
    fn chunk_gap_elsewhere(&self, operation: Operation, gap: Duration) {
        if let Some(genai) = &self.genai {
            genai.chunk_gap(operation, gap);
        }
        self.each_extra(|handles, recorder| handles.lazy(recorder, LazyHistogram::ChunkGap).record(gap));
    }

    #[inline]
    fn add_lazy(&self, histogram: LazyHistogram, value: Duration) {
        if let Some(samples) = self.lazy(histogram) {
            samples.add(value.as_secs_f64(), 1);
        }
    }

    /// Returns the gauge of a rate limit, which readers get from now on.
    fn rate_limit_gauge(&self, limit: LimitGauge) -> &Number {
        let limits = self.rate_limits.get_or_init(Box::default);
        limits.shown.fetch_or(1 << limit.index(), Ordering::Relaxed);
        &limits.gauges[limit.index()]
    }

    /// Keeps a sample as an exemplar, unless another thread holds the lock of the exemplars.
    fn keep(&self, trace: Option<TraceIds>, value: f64, of: impl FnOnce() -> Of) {
        if let Some(ids) = trace.filter(|_| self.shared.has_exemplars)
            && let Ok(mut exemplars) = self.exemplars.try_lock()
        {
            exemplars.keep(of(), ids, value);
        }
    }

    /// Records a call where no recorders are added; `false` if its numbers have to be looked at.
    #[inline(always)]
    pub(super) fn finished_plain(&self, call: &Finished<'_>) -> bool {
        let bounds = &self.shared.durations.bounds;
        let bucket = match bounds.quick_bucket(call.seconds) {
            Some(bucket) => bucket,
            None if is_duration(call.seconds) => bounds.search(call.seconds),
            None => return false,
        };
        if !call.is_plausible() {
            return false;
        }
        let update = self.calls.update();
        update.add(CALL_PROMPT, call.prompt);
        update.add(CALL_COMPLETION, call.completion);
        self.add_duration(&update, bucket, call.seconds);
        true
    }

    pub(super) fn labels(&self) -> &LabelSet {
        &self.labels
    }
}

impl PairSeries for Pair {
    fn names(&self) -> [&str; 2] {
        [&self.provider, &self.model]
    }

    fn declare(&self) {
        self.shown.fetch_or(PairCounter::of_calls().map(bit).sum(), Ordering::Relaxed);
        for histogram in LazyHistogram::OF_STREAMS {
            self.lazy(histogram);
        }
        self.each_extra(|handles, recorder| handles.declare(recorder));
    }

    fn start(&self) {
        self.in_flight.add(1.0);
        self.each_extra(|handles, recorder| handles.start(recorder));
    }

    fn end(&self, end: &CallEnd<'_>) {
        let seconds = end.elapsed.as_secs_f64();
        let usage = end.usage.and_then(|usage| self.checked(usage));
        {
            let update = self.calls.update();
            if let Some(usage) = &usage {
                self.add_tokens(&update, usage);
            }
            if end.finished != [0; FINISH_REASONS.len()] {
                for (reason, &count) in end.finished.iter().enumerate().filter(|(_, count)| **count > 0) {
                    update.add(PairCounter::finish(reason).index(), count.into());
                }
            }
            match end.error {
                Some(error) => update.add(PairCounter::error(error).index(), 1),
                None if end.usage.is_none() => update.add(PairCounter::USAGE_MISSING.index(), 1),
                None => {}
            }
            self.add_duration(&update, self.bucket(seconds), seconds);
        }
        if end.waited > Duration::ZERO {
            self.add_lazy(LazyHistogram::Wait, end.waited);
        }
        let now = unix_time();
        if end.error.is_none() {
            self.set_last_success(now);
        }
        if end.trace.is_some() {
            self.keep(end.trace, seconds, || Of::Duration(self.bucket(seconds)));
            if let Some(error) = end.error {
                self.keep(end.trace, 1.0, || Of::Counter(PairCounter::error(error)));
            }
        }
        self.in_flight.add(-1.0);
        if !self.extras.is_empty() {
            self.each_extra(|handles, recorder| handles.end(recorder, end, now));
        }
        #[cfg(feature = "console")]
        if let Some(recent) = &self.shared.recent {
            recent.keep(&self.provider, &self.model, end, now);
        }
        if let Some(genai) = &self.genai {
            genai.end(&End { operation: end.operation, seconds, error: end.error, usage });
        }
    }

    fn first_chunk(&self, operation: Operation, elapsed: Duration, trace: Option<TraceIds>) {
        let seconds = elapsed.as_secs_f64();
        if let Some(first_chunks) = self.lazy(LazyHistogram::FirstChunk) {
            first_chunks.add(seconds, 1);
            self.keep(trace, seconds, || Of::FirstChunk(first_chunks.bucket(seconds)));
        }
        self.each_extra(|handles, recorder| handles.lazy(recorder, LazyHistogram::FirstChunk).record(elapsed));
        if let Some(genai) = &self.genai {
            genai.first_chunk(operation, elapsed);
        }
    }

    fn chunk_gap(&self, operation: Operation, gap: Duration) {
        self.add_lazy(LazyHistogram::ChunkGap, gap);
        if self.genai.is_some() || !self.extras.is_empty() {
            self.chunk_gap_elsewhere(operation, gap);
        }
    }

    fn attempt(&self, elapsed: Duration, error: Option<ErrorType>) {
        {
            let update = self.calls.update();
            update.add(PairCounter::ATTEMPTS.index(), 1);
            if let Some(error) = error {
                update.add(PairCounter::attempt_error(error).index(), 1);
            }
        }
        self.add_lazy(LazyHistogram::AttemptDuration, elapsed);
        self.each_extra(|handles, recorder| handles.attempt(recorder, elapsed, error));
    }

    fn rate_limit(&self, limit: LimitGauge, value: f64) {
        self.rate_limit_gauge(limit).set(value);
        self.each_extra(|handles, recorder| handles.rate_limit(recorder, limit).set(value));
    }

    #[cfg(feature = "prices")]
    fn price(&self, bill: &Bill<'_>) -> Option<CallCost> {
        self.price_by(self.shared.prices.as_ref()?, bill)
    }

    fn cost(&self, cost: &CallCost) {
        self.add_cost(cost);
    }

    fn record(&self, fact: &Fact) {
        match *fact {
            Fact::Request => self.add(PairCounter::REQUESTS, 1),
            Fact::Error(error) => self.add(PairCounter::error(error), 1),
            Fact::Duration(seconds) => self.single_durations(seconds, 1),
            Fact::Tokens(usage) => {
                if let Some(usage) = self.checked(usage) {
                    self.add_tokens(&self.calls.update(), &usage);
                }
            }
        }
        self.each_extra(|handles, recorder| handles.record(recorder, fact));
        if let Some(genai) = &self.genai {
            match *fact {
                Fact::Duration(seconds) if is_duration(seconds) => genai.single_duration(seconds),
                Fact::Tokens(usage) if is_plausible(&usage) => genai.single_usage(&usage),
                _ => {}
            }
        }
    }

    fn finished(&self, call: &Finished<'_>) {
        let usage = self.checked(Usage::new(call.prompt, call.completion));
        let update = self.calls.update();
        if let Some(usage) = &usage {
            self.add_tokens(&update, usage);
        }
        if is_duration(call.seconds) {
            self.add_duration(&update, self.bucket(call.seconds), call.seconds);
        } else {
            update.add(PairCounter::REQUESTS.index(), 1);
            self.count_invalid_durations(1);
        }
        drop(update);
        self.each_extra(|handles, recorder| handles.finished(recorder, call));
        #[cfg(feature = "prices")]
        if let Some(cost) = self.price(&Bill::of(usage)) {
            self.add_cost(&cost);
        }
        if let Some(genai) = self.genai.as_ref().filter(|_| is_duration(call.seconds)) {
            genai.end(&End { operation: Operation::Chat, seconds: call.seconds, error: None, usage });
        }
    }
}

fn is_duration(seconds: f64) -> bool {
    (0.0..=f64::MAX).contains(&seconds)
}

const fn bit(counter: PairCounter) -> u64 {
    1 << counter.index()
}
