//! Counters of a traces pipeline that may be started before the recorder of the process is there.

use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use metrics::{Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

use crate::catalog::METADATA;
use crate::current;
use crate::lock::unpoisoned;
use crate::store::{MetricsRecorder, WeakRecorder};
use crate::worker::is_own_thread;

static PROCESS: Mutex<Process> = Mutex::new(Process { recorder: None, waiting: Vec::new() });

/// What was made first waits here for the other.
struct Process {
    /// The recorder of this crate that was built last.
    recorder: Option<WeakRecorder>,
    waiting: Vec<Weak<LateRecorder>>,
}

/// Connects the pipelines that wait to this recorder, and later ones while no recorder is current.
pub(super) fn announce(recorder: &MetricsRecorder) {
    let waiting = {
        let mut process = unpoisoned(PROCESS.lock());
        process.recorder = Some(recorder.downgrade());
        mem::take(&mut process.waiting)
    };
    waiting.iter().filter_map(Weak::upgrade).for_each(|late| late.connect(recorder));
}

/// A recorder whose counters count for themselves until they are connected to those of another one.
pub(super) struct LateRecorder {
    counters: Mutex<Vec<Arc<LateCounter>>>,
    this: Weak<Self>,
}

impl LateRecorder {
    pub(super) fn new() -> Arc<Self> {
        Arc::new_cyclic(|this| Self { counters: Mutex::default(), this: Weak::clone(this) })
    }

    /// Connects the counters to the current recorder, or else to the one of this crate that was built last, or else to the first one
    /// from now on.
    pub(super) fn connect_to_process(&self) {
        if self.connect_to_current() {
            return;
        }
        let recorder = {
            let mut process = unpoisoned(PROCESS.lock());
            process.waiting.retain(|late| late.strong_count() > 0);
            process.waiting.push(Weak::clone(&self.this));
            process.recorder.clone()
        };
        if let Some(recorder) = recorder.and_then(|recorder| recorder.upgrade()) {
            self.connect(&recorder);
        }
    }

    /// Returns whether any recorder is current.
    fn connect_to_current(&self) -> bool {
        let is_any = !current::is_none();
        if is_any {
            metrics::with_recorder(|recorder| self.connect(recorder));
        }
        is_any
    }

    fn connect(&self, recorder: &dyn Recorder) {
        // No lock is held while a recorder of another crate runs.
        let counters = unpoisoned(self.counters.lock()).clone();
        counters.iter().for_each(|counter| counter.connect(recorder));
    }
}

impl Recorder for LateRecorder {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let late = Weak::clone(&self.this);
        let counter =
            Arc::new(LateCounter { key: key.clone(), early: AtomicU64::new(0), target: OnceLock::new(), late });
        unpoisoned(self.counters.lock()).push(Arc::clone(&counter));
        Counter::from_arc(counter)
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

impl fmt::Debug for LateRecorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LateRecorder").finish_non_exhaustive()
    }
}

struct LateCounter {
    key: Key,
    /// What was counted before there was a target.
    early: AtomicU64,
    target: OnceLock<Counter>,
    late: Weak<LateRecorder>,
}

impl LateCounter {
    /// Registers the counter with a recorder, unless it is registered already.
    fn connect(&self, recorder: &dyn Recorder) {
        if self.target.get().is_none() {
            // Not inside the initialisation, which would wait for itself if the recorder counted a span meanwhile.
            let _ = self.target.set(recorder.register_counter(&self.key, &METADATA));
        }
        self.move_early();
    }

    fn move_early(&self) {
        if let Some(target) = self.target.get() {
            target.increment(self.early.swap(0, Ordering::AcqRel));
        }
    }
}

impl CounterFn for LateCounter {
    fn increment(&self, value: u64) {
        if self.target.get().is_none() && is_own_thread() {
            // A recorder of another crate may have become current. On threads of this crate it is that of the process.
            if let Some(late) = self.late.upgrade() {
                late.connect_to_current();
            }
        }
        match self.target.get() {
            Some(target) => target.increment(value),
            None => {
                self.early.fetch_add(value, Ordering::AcqRel);
                // It may have been connected meanwhile.
                self.move_early();
            }
        }
    }

    fn absolute(&self, _: u64) {}
}
