//! Reports of trouble that may last: one at once, then one a minute at most.

use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_secs(60);

/// When the last report was made. It stays when the trouble is over, since a peer that comes and goes is no reason for a line
/// each time.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    reported: Option<Instant>,
}

impl Throttle {
    /// Whether to make a report now. If so, the next one is due in a minute.
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
