//! Wakes the tasks of calls whose time is over: one that hangs is polled by nobody else.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard};
use std::task::Waker;
use std::thread;
use std::time::Instant;

use crate::lock::unpoisoned;

/// When to wake, and a number that makes it unique.
type Key = (Instant, u64);

#[derive(Default)]
struct Clock {
    waiting: Mutex<BTreeMap<Key, Waker>>,
    changed: Condvar,
}

/// The clock with its thread; where the system gives none, calls end when they are polled or dropped.
static CLOCK: LazyLock<Option<&'static Clock>> = LazyLock::new(|| {
    let clock: &'static Clock = Box::leak(Box::default());
    let thread = thread::Builder::new().name("botticelli-obs-alarm".to_owned()).spawn(|| clock.run());
    thread.is_ok().then_some(clock)
});

impl Clock {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Waker>> {
        unpoisoned(self.waiting.lock())
    }

    fn run(&self) {
        let mut waiting = self.lock();
        loop {
            let now = Instant::now();
            waiting = match waiting.first_entry() {
                None => unpoisoned(self.changed.wait(waiting)),
                Some(first) if first.key().0 <= now => {
                    let waker = first.remove();
                    // Wakers are the code of executors, which may set alarms in turn, or panic.
                    drop(waiting);
                    let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
                    self.lock()
                }
                Some(first) => {
                    let pause = first.key().0 - now;
                    unpoisoned(self.changed.wait_timeout(waiting, pause)).0
                }
            };
        }
    }
}

/// Wakes a task at a point in time, unless it is dropped before.
pub(super) struct Alarm {
    clock: &'static Clock,
    key: Key,
    waker: Waker,
}

impl Alarm {
    /// Makes the alarm wake this task at that time.
    pub(super) fn set(alarm: &mut Option<Self>, at: Instant, waker: &Waker) {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        if alarm.as_ref().is_some_and(|alarm| alarm.waker.will_wake(waker)) {
            return;
        }
        let Some(clock) = *CLOCK else { return };
        let new = || Self { clock, key: (at, NUMBER.fetch_add(1, Ordering::Relaxed)), waker: waker.clone() };
        let alarm = alarm.get_or_insert_with(new);
        alarm.waker.clone_from(waker);
        let mut waiting = clock.lock();
        let replaced = waiting.insert(alarm.key, waker.clone());
        let is_first = waiting.first_key_value().is_some_and(|(first, _)| *first == alarm.key);
        drop(waiting);
        // Outside of the lock, as above.
        drop(replaced);
        if is_first {
            clock.changed.notify_one();
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let removed = self.clock.lock().remove(&self.key);
        drop(removed);
    }
}
