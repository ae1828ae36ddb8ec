//! Wakes tasks at the deadline of their call.
//!
//! A future that hangs is not polled any more; without a wake-up its call would not end. A thread of the crate does it,
//! because a call works in any runtime.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard};
use std::task::Waker;
use std::thread;
use std::time::Instant;

use crate::fork::Origin;
use crate::lock::unpoisoned;

/// The time to wake, and a number that makes the key unique.
type Key = (Instant, u64);

struct Timer {
    waiting: Mutex<BTreeMap<Key, Waker>>,
    changed: Condvar,
    origin: Origin,
}

/// The timer, with its thread. `None` if the thread could not be started: then calls end only when they are polled or dropped.
static TIMER: LazyLock<Option<&'static Timer>> = LazyLock::new(|| {
    let timer = Timer { waiting: Mutex::default(), changed: Condvar::new(), origin: Origin::here() };
    let timer: &'static Timer = Box::leak(Box::new(timer));
    let thread = thread::Builder::new().name("botticelli-obs-alarm".to_owned()).spawn(|| timer.run());
    thread.is_ok().then_some(timer)
});

impl Timer {
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
                    // A waker is code of an executor: it may set another alarm, so the lock is released; and it may panic, which
                    // must not end this thread.
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

/// Wakes a task at a point in time. Dropping it cancels the wake-up.
pub(super) struct Alarm {
    timer: &'static Timer,
    key: Key,
    waker: Waker,
}

impl Alarm {
    /// Sets the alarm to wake this task at `at`. An alarm that is set already keeps its time and changes its task.
    pub(super) fn set(alarm: &mut Option<Self>, at: Instant, waker: &Waker) {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        if alarm.as_ref().is_some_and(|alarm| alarm.waker.will_wake(waker)) {
            return;
        }
        // The child of a fork has no such thread, which may have held the lock.
        let Some(timer) = TIMER.filter(|timer| !timer.origin.is_forked()) else { return };
        let new = || Self { timer, key: (at, NUMBER.fetch_add(1, Ordering::Relaxed)), waker: waker.clone() };
        let alarm = alarm.get_or_insert_with(new);
        alarm.waker.clone_from(waker);
        let mut waiting = timer.lock();
        let replaced = waiting.insert(alarm.key, waker.clone());
        let is_first = waiting.first_key_value().is_some_and(|(first, _)| *first == alarm.key);
        drop(waiting);
        // Outside the lock: dropping a waker is code of an executor too.
        drop(replaced);
        if is_first {
            timer.changed.notify_one();
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if self.timer.origin.is_forked() {
            return;
        }
        // A statement of its own, so that the waker is dropped outside the lock.
        let removed = self.timer.lock().remove(&self.key);
        drop(removed);
    }
}
