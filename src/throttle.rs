//! Limits repeated log lines about a lasting failure: the first at once, then at most one a minute.

use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_secs(60);

/// Remembers when the last report was made, also after the failure is over: a peer that fails and recovers often must not cause a
/// line each time.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    reported: Option<Instant>,
}

impl Throttle {
    /// Returns whether to report now. If it returns `true`, the next report is due one minute later.
    pub(crate) fn allow(&mut self, now: Instant) -> bool {
        let is_due = self.reported.is_none_or(|reported| now.duration_since(reported) >= INTERVAL);
        if is_due {
            self.reported = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_made_at_once_and_then_once_a_minute() {
        let mut throttle = Throttle::default();
        let start = Instant::now();
        let mut allowed = |second| throttle.allow(start + Duration::from_secs(second));
        assert_eq!([0, 1, 59, 60, 119, 1_000, 1_001].map(&mut allowed), [true, false, false, true, false, true, false]);
    }
}
