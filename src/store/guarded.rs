//! An added recorder that may record something itself while it is called.
//!
//! What it records then is given to the store and to the other recorders, and not to itself: each of its records would lead to the
//! next, without an end.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

use crate::catalog::METADATA;

/// How many recorders may be called inside each other on one thread.
const MAX_DEPTH: usize = 4;

thread_local! {
    /// The recorders that this thread is inside of, by their ids. There is no destructor, so that it is there until a thread ends.
    static INSIDE: Cell<[u64; MAX_DEPTH]> = const { Cell::new([0; MAX_DEPTH]) };
}

/// A call into a recorder, which ends when it is dropped.
struct Entered {
    place: usize,
}

impl Entered {
    /// Begins a call; `None` inside another one into the same recorder.
    fn new(id: u64) -> Option<Self> {
        let mut inside = INSIDE.get();
        if inside.contains(&id) {
            return None;
        }
        let place = inside.iter().position(|other| *other == 0)?;
        inside[place] = id;
        INSIDE.set(inside);
        Some(Self { place })
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut inside = INSIDE.get();
        inside[self.place] = 0;
        INSIDE.set(inside);
    }
}

/// The recorder.
pub(super) struct Guarded {
    recorder: Arc<dyn Recorder + Send + Sync>,
    /// Never 0.
    id: u64,
}

impl Guarded {
    pub(super) fn new(recorder: impl Recorder + Send + Sync + 'static) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self { recorder: Arc::new(recorder), id: NEXT.fetch_add(1, Ordering::Relaxed) }
    }

    fn describe(&self, to: impl FnOnce(&dyn Recorder)) {
        if let Some(_entered) = Entered::new(self.id) {
            to(&*self.recorder);
        }
    }

    fn handle<H>(&self, key: &Key, register: Register<H>) -> Arc<Handle<H>> {
        let recorder = Arc::clone(&self.recorder);
        let handle = Handle { recorder, id: self.id, key: key.clone(), register, registered: OnceLock::new() };
        handle.with(|_| ());
        Arc::new(handle)
    }
}

type Register<H> = fn(&dyn Recorder, &Key) -> H;

/// A handle of the recorder. If the recorder asks for it while it is called, it is registered when it is first used outside.
struct Handle<H> {
    recorder: Arc<dyn Recorder + Send + Sync>,
    id: u64,
    key: Key,
    register: Register<H>,
    registered: OnceLock<H>,
}

impl<H> Handle<H> {
    fn with(&self, then: impl FnOnce(&H)) {
        let Some(_entered) = Entered::new(self.id) else { return };
        if let Some(handle) = self.registered.get() {
            return then(handle);
        }
        // Before the cell is touched: this is code of another crate.
        let handle = (self.register)(&*self.recorder, &self.key);
        then(self.registered.get_or_init(|| handle));
    }
}

impl Recorder for Guarded {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
        self.describe(|recorder| recorder.describe_counter(name, unit, text));
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
        self.describe(|recorder| recorder.describe_gauge(name, unit, text));
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
        self.describe(|recorder| recorder.describe_histogram(name, unit, text));
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.handle(key, |recorder, key| recorder.register_counter(key, &METADATA)))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.handle(key, |recorder, key| recorder.register_gauge(key, &METADATA)))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.handle(key, |recorder, key| recorder.register_histogram(key, &METADATA)))
    }
}

impl CounterFn for Handle<Counter> {
    fn increment(&self, value: u64) {
        self.with(|counter| counter.increment(value));
    }

    fn absolute(&self, value: u64) {
        self.with(|counter| counter.absolute(value));
    }
}

impl GaugeFn for Handle<Gauge> {
    fn increment(&self, value: f64) {
        self.with(|gauge| gauge.increment(value));
    }

    fn decrement(&self, value: f64) {
        self.with(|gauge| gauge.decrement(value));
    }

    fn set(&self, value: f64) {
        self.with(|gauge| gauge.set(value));
    }
}

impl HistogramFn for Handle<Histogram> {
    fn record(&self, value: f64) {
        self.with(|histogram| histogram.record(value));
    }

    fn record_many(&self, value: f64, count: usize) {
        self.with(|histogram| histogram.record_many(value, count));
    }
}
