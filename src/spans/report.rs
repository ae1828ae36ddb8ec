//! The log lines about exports that fail.

use std::mem;
use std::time::{Duration, Instant};

use crate::throttle::Throttle;

/// A backend that has not taken spans for this long is reported. A shorter interruption loses nothing.
const DELAY: Duration = Duration::from_secs(1);

/// Logs that the backend takes no spans, at most once a minute, and once that it takes spans again.
#[derive(Debug)]
pub(super) struct Report {
    /// The backend, as log lines name it.
    target: String,
    throttle: Throttle,
    /// Lost spans that no line has told.
    lost: u64,
    /// Spans that a full queue had dropped at the last line.
    displaced: u64,
    /// Since when the backend has taken nothing.
    failing_since: Option<Instant>,
    /// Whether a failure was logged and no success after it.
    is_reported: bool,
}

/// An export that is tried again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delay<'a> {
    /// When it began.
    pub(super) started: Instant,
    pub(super) why: &'a str,
    /// The spans that wait.
    pub(super) pending: u64,
    /// The spans that a full queue has dropped until now.
    pub(super) displaced: u64,
}

/// How spans were lost.
#[derive(Clone, Copy, Debug)]
pub(super) enum Loss {
    /// The backend takes nothing.
    All,
    /// The backend takes spans, but not these.
    Some,
}

impl Loss {
    fn as_str(self) -> &'static str {
        match self {
            Self::All => "takes no spans",
            Self::Some => "does not take some spans",
        }
    }
}

impl Report {
    pub(super) fn new(target: String) -> Self {
        Self { target, throttle: Throttle::default(), lost: 0, displaced: 0, failing_since: None, is_reported: false }
    }

    pub(super) fn add_success(&mut self) {
        self.failing_since = None;
        if mem::take(&mut self.is_reported) {
            tracing::info!(target: "botticelli_obs", "traces: {} takes spans again", self.target);
        }
    }

    /// Adds spans that were lost.
    pub(super) fn add_loss(&mut self, loss: Loss, spans: u64, why: &str) {
        // The shutdown has reported these spans already.
        if spans == 0 {
            return;
        }
        if let Some(lost) = self.lost_to_report(spans, Instant::now()) {
            tracing::warn!(
                target: "botticelli_obs",
                "traces: {} {}, {lost} lost: {why}; the program goes on, later spans are still sent",
                self.target,
                loss.as_str()
            );
        }
    }

    /// Adds an export that is tried again.
    pub(super) fn add_delay(&mut self, delay: Delay<'_>) {
        if !self.is_delay_to_report(delay.started, Instant::now()) {
            return;
        }
        let Delay { why, pending, displaced, .. } = delay;
        let lost = match displaced - mem::replace(&mut self.displaced, displaced) {
            0 => String::new(),
            lost => format!(", {lost} lost"),
        };
        tracing::warn!(
            target: "botticelli_obs",
            "traces: {} takes no spans, {pending} wait{lost}: {why}; the program goes on, they are tried again while the queue has room",
            self.target
        );
    }

    /// Returns how many lost spans to log now, those since the last report included.
    fn lost_to_report(&mut self, spans: u64, now: Instant) -> Option<u64> {
        self.lost += spans;
        if !self.throttle.allow(now) {
            return None;
        }
        self.is_reported = true;
        Some(mem::take(&mut self.lost))
    }

    fn is_delay_to_report(&mut self, started: Instant, now: Instant) -> bool {
        let since = *self.failing_since.get_or_insert(started);
        let is_due = now.duration_since(since) >= DELAY && self.throttle.allow(now);
        self.is_reported |= is_due;
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_reported_at_once_and_then_once_a_minute_in_sum() {
        let mut report = Report::new(String::new());
        let start = Instant::now();
        let mut add = |second, spans| report.lost_to_report(spans, start + Duration::from_secs(second));
        assert_eq!(add(0, 5), Some(5));
        assert_eq!((add(1, 1), add(30, 2), add(59, 3)), (None, None, None));
        assert_eq!(add(60, 4), Some(10));
        assert_eq!(add(119, 1), None);
        assert_eq!(add(1_000, 1), Some(2));
    }

    #[test]
    fn a_delay_is_reported_after_a_second_and_then_once_a_minute() {
        let mut report = Report::new(String::new());
        let start = Instant::now();
        let mut add = |millis| report.is_delay_to_report(start, start + Duration::from_millis(millis));
        assert_eq!(
            [0, 300, 999, 1_000, 2_000, 60_999, 61_000].map(&mut add),
            [false, false, false, true, false, false, true]
        );
        report.add_success();
        let later = start + Duration::from_secs(200);
        assert!(!report.is_delay_to_report(later, later));
    }
}
