//! The calls that have ended lately, for readers that list them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::error_type::ErrorType;
use crate::lock::unpoisoned;
use crate::operation::Operation;
use crate::series::{CallDetails, CallEnd, TraceIds};
use crate::usage::Usage;

/// How many calls are kept.
pub(crate) const KEPT: usize = 200;

/// A call that has ended. It has what its span has, and no contents.
#[derive(Clone, Debug)]
pub(crate) struct RecentCall {
    /// The place in the order of all calls, from 0.
    pub(crate) number: u64,
    pub(crate) provider: Arc<str>,
    pub(crate) model: Arc<str>,
    pub(crate) operation: Operation,
    /// When it ended, in seconds since 1970.
    pub(crate) ended: f64,
    pub(crate) elapsed: Duration,
    pub(crate) waited: Duration,
    pub(crate) error: Option<ErrorType>,
    pub(crate) usage: Option<Usage>,
    pub(crate) trace: Option<TraceIds>,
    pub(crate) details: CallDetails,
}

/// The last [`KEPT`] calls.
pub(crate) struct RecentCalls {
    /// How many calls there were.
    count: AtomicU64,
    /// The call with number `n` is at `n % KEPT`.
    slots: Box<[Mutex<Option<RecentCall>>]>,
}

impl Default for RecentCalls {
    fn default() -> Self {
        Self { count: AtomicU64::new(0), slots: std::iter::repeat_with(Mutex::default).take(KEPT).collect() }
    }
}

impl RecentCalls {
    /// Keeps a call in place of the oldest one. It never waits: if the slot is in use at this moment, the call is left out.
    pub(super) fn keep(&self, provider: &Arc<str>, model: &Arc<str>, end: &CallEnd<'_>, ended: f64) {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let call = RecentCall {
            number,
            provider: Arc::clone(provider),
            model: Arc::clone(model),
            operation: end.operation,
            ended,
            elapsed: end.elapsed,
            waited: end.waited,
            error: end.error,
            usage: end.usage,
            trace: end.trace,
            details: (end.details)(),
        };
        let slot = &self.slots[(number % KEPT as u64) as usize];
        // What was there is dropped after the lock is released.
        let _earlier = slot.try_lock().ok().map(|mut slot| slot.replace(call));
    }

    /// Returns the calls from this number on, the earliest first.
    pub(crate) fn from(&self, number: u64) -> Vec<RecentCall> {
        let kept = self.slots.iter().filter_map(|slot| unpoisoned(slot.lock()).clone());
        let mut calls: Vec<RecentCall> = kept.filter(|call| call.number >= number).collect();
        calls.sort_unstable_by_key(|call| call.number);
        calls
    }
}
