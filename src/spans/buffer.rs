//! The spans that have ended and wait for their export.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use opentelemetry_sdk::trace::SpanData;
use tokio::sync::Notify;
use tokio::time;

use crate::lock::unpoisoned;

/// Keeps spans in the order in which they ended. If it is full, the oldest one makes room for the newest.
///
/// One task takes batches out of it, and puts a batch back that is to be tried again. Each span has a number, so that a flush knows
/// when all spans are gone that had ended when it began.
#[derive(Debug)]
pub(super) struct Buffer {
    state: Mutex<State>,
    /// A full batch waits, a flush has begun, or the buffer was closed.
    wake: Notify,
    /// A flush has begun, or the buffer was closed.
    hurry: Notify,
    /// Spans were displaced that are not counted yet.
    displaced: Notify,
    /// The task has finished a batch, or the buffer was closed.
    finished: Condvar,
    capacity: usize,
    batch: usize,
}

#[derive(Debug, Default)]
struct State {
    spans: VecDeque<Numbered>,
    /// The number of the next span.
    next: u64,
    taken: Taken,
    /// Spans that made room for newer ones, or came after the end, and are not counted yet.
    uncounted: Uncounted,
    /// Spans with a lower number are to be exported now.
    flush_to: u64,
    is_closed: bool,
}

/// The batch that the task has.
#[derive(Debug, Default)]
struct Taken {
    /// The number of its first span.
    first: u64,
    spans: usize,
    /// Whether it has been counted as exported or dropped.
    is_counted: bool,
}

/// Spans that were dropped where they ended, and are counted elsewhere.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Uncounted {
    /// Those that a full buffer has dropped.
    pub(super) displaced: u64,
    /// Those that came after the end.
    pub(super) late: u64,
}

/// A span and its number.
pub(super) type Numbered = (u64, SpanData);

impl State {
    fn pending(&self) -> usize {
        self.spans.len() + if self.taken.is_counted { 0 } else { self.taken.spans }
    }

    /// The number of the oldest span that is neither exported nor dropped.
    fn oldest(&self) -> u64 {
        let waiting = self.spans.front().map_or(self.next, |(number, _)| *number);
        if self.taken.spans > 0 { waiting.min(self.taken.first) } else { waiting }
    }
}

impl Buffer {
    /// Creates a buffer for at most `capacity` spans, from which at most `batch` are taken at once.
    pub(super) fn new(capacity: usize, batch: usize) -> Self {
        Self {
            state: Mutex::default(),
            wake: Notify::new(),
            hurry: Notify::new(),
            displaced: Notify::new(),
            finished: Condvar::new(),
            capacity,
            batch,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        unpoisoned(self.state.lock())
    }

    /// Adds a span that has ended. Never blocks longer than another thread takes to add or take spans.
    pub(super) fn push(&self, span: SpanData) {
        let mut state = self.state();
        // The span that makes room is dropped after the lock is released.
        let _displaced;
        if state.is_closed {
            state.uncounted.late += 1;
            return;
        }
        let is_full = state.pending() >= self.capacity;
        if is_full {
            state.uncounted.displaced += 1;
            match state.spans.pop_front() {
                Some(oldest) => _displaced = oldest,
                // The task has all of them.
                None => {
                    drop(state);
                    self.displaced.notify_one();
                    return;
                }
            }
        }
        let number = state.next;
        state.next += 1;
        state.spans.push_back((number, span));
        let is_due = state.spans.len() >= self.batch;
        drop(state);
        if is_due {
            self.wake.notify_one();
        }
        if is_full {
            self.displaced.notify_one();
        }
    }

    /// Returns the spans that are neither exported nor dropped.
    pub(super) fn pending(&self) -> u64 {
        self.state().pending() as u64
    }

    /// Waits until spans were dropped where they ended, and returns how many.
    pub(super) async fn uncounted(&self) -> Uncounted {
        loop {
            self.displaced.notified().await;
            let uncounted = self.take_uncounted();
            if uncounted.displaced > 0 {
                return uncounted;
            }
        }
    }

    /// Returns the spans that were dropped where they ended. Each is returned once.
    pub(super) fn take_uncounted(&self) -> Uncounted {
        mem::take(&mut self.state().uncounted)
    }

    /// Waits until spans are due: a full batch, a flush, or any spans after `delay`. Returns the number up to which they are due.
    pub(super) async fn due(&self, delay: Duration) -> u64 {
        let mut deadline = time::Instant::now() + delay;
        loop {
            let is_late = time::timeout_at(deadline, self.wake.notified()).await.is_err();
            let state = self.state();
            if state.spans.len() >= self.batch || is_late && !state.spans.is_empty() {
                return state.next;
            }
            if state.flush_to > state.oldest() {
                return state.flush_to;
            }
            if is_late {
                deadline = time::Instant::now() + delay;
            }
        }
    }

    /// Takes the oldest spans with a number below `until`, at most a batch. `None` if there are none.
    pub(super) fn take(&self, until: u64) -> Option<Vec<Numbered>> {
        let mut state = self.state();
        let most = state.spans.len().min(self.batch);
        let due = state.spans.range(..most).take_while(|(number, _)| *number < until).count();
        let first = state.spans.front().filter(|_| due > 0)?.0;
        state.taken = Taken { first, spans: due, is_counted: false };
        Some(state.spans.drain(..due).collect())
    }

    /// Puts spans of the batch back in front of all others.
    pub(super) fn put_back(&self, spans: Vec<Numbered>) {
        let mut state = self.state();
        // They are counted as lost.
        if state.is_closed {
            return;
        }
        state.taken.spans -= spans.len();
        for span in spans.into_iter().rev() {
            state.spans.push_front(span);
        }
    }

    /// Notes that the batch is counted now. Returns how many spans it has, or 0 if the end has counted them as lost.
    pub(super) fn settle(&self) -> u64 {
        let mut state = self.state();
        if state.is_closed {
            return 0;
        }
        state.taken.is_counted = true;
        state.taken.spans as u64
    }

    /// Ends the batch, after its spans were counted.
    pub(super) fn finish(&self) {
        self.state().taken = Taken::default();
        self.finished.notify_all();
    }

    /// Waits for a pause between two tries. A flush that begins meanwhile cuts it short, unless the pause was asked for.
    pub(super) async fn pause(&self, pause: Pause) {
        match pause {
            Pause::Requested(length) => time::sleep(length).await,
            Pause::Own(length) => {
                let shortest = SHORTEST_PAUSE.min(length);
                time::sleep(shortest).await;
                // An error means that the pause is over.
                let _ = time::timeout(length - shortest, self.hurry.notified()).await;
            }
        }
    }

    /// Whether somebody waits for spans to be exported.
    pub(super) fn is_flushed(&self) -> bool {
        let state = self.state();
        state.flush_to > state.oldest()
    }

    /// Has all spans exported that have ended, and waits for it until the deadline. Returns whether they are all gone.
    pub(super) fn flush(&self, deadline: Instant) -> bool {
        let mut state = self.state();
        let until = state.next;
        if state.oldest() >= until {
            return true;
        }
        state.flush_to = until;
        self.wake.notify_one();
        self.hurry.notify_one();
        let is_waiting = |state: &mut State| state.oldest() < until && !state.is_closed;
        let remaining = deadline.saturating_duration_since(Instant::now());
        let (state, _) = unpoisoned(self.finished.wait_timeout_while(state, remaining, is_waiting));
        state.oldest() >= until
    }

    /// Accepts no more spans. Returns how many were neither exported nor dropped before.
    pub(super) fn close(&self) -> u64 {
        let mut state = self.state();
        if mem::replace(&mut state.is_closed, true) {
            return 0;
        }
        let abandoned = state.pending();
        let spans = mem::take(&mut state.spans);
        drop(state);
        self.finished.notify_all();
        drop(spans);
        abandoned as u64
    }
}

/// A flush does not cut a pause shorter than this, so that a program that flushes again and again does not occupy a core.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);

/// A pause between two tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// The backend has asked for it.
    Requested(Duration),
    Own(Duration),
}
