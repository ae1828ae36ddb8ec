//! Decides when an endpoint is taken for one that stores traces only.

use std::time::{Duration, Instant};

/// How often metrics must have been refused. One refusal says little: during a roll-out, or from an ingress without a route, every
/// request is refused.
const TIMES: u32 = 3;

/// How long refusals must have gone on.
const SPAN: Duration = Duration::from_secs(60);

/// How long nothing is sent to an endpoint that stores traces only.
pub(super) const PAUSE: Duration = Duration::from_secs(600);

/// The refusals since metrics were accepted last.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    first: Option<Instant>,
    count: u32,
    paused_until: Option<Instant>,
}

impl Refusals {
    /// Counts a refusal. Returns whether they suffice to ask the endpoint for traces, and to pause if it takes them.
    pub(super) fn add(&mut self, now: Instant) -> bool {
        let first = *self.first.get_or_insert(now);
        self.count = self.count.saturating_add(1);
        self.count >= TIMES && now.duration_since(first) >= SPAN
    }

    /// Sends nothing for a while. Returns whether that is new: after a pause one refusal is enough for the next.
    pub(super) fn pause(&mut self, now: Instant) -> bool {
        self.paused_until.replace(now + PAUSE).is_none()
    }

    /// Whether nothing is sent now.
    pub(super) fn is_paused(&self, now: Instant) -> bool {
        self.paused_until.is_some_and(|until| now < until)
    }

    /// Forgets all of them, after metrics were accepted or failed otherwise. Returns whether there was a pause.
    pub(super) fn clear(&mut self) -> bool {
        std::mem::take(self).paused_until.is_some()
    }

    /// Refusals that go on since then.
    #[cfg(all(test, feature = "otlp-http"))]
    pub(super) fn since(first: Instant) -> Self {
        Self { first: Some(first), count: TIMES, paused_until: None }
    }

    /// How many there were, and for how long.
    pub(super) fn seen(&self, now: Instant) -> (u32, Duration) {
        (self.count, self.first.map_or(Duration::ZERO, |first| now.duration_since(first)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_refusals_over_a_minute_are_enough_and_fewer_or_faster_ones_are_not() {
        let start = Instant::now();
        let enough = |seconds: &[u64]| {
            let mut refusals = Refusals::default();
            let added = seconds.iter().map(|second| refusals.add(start + Duration::from_secs(*second)));
            added.collect::<Vec<_>>()
        };
        assert_eq!(enough(&[0, 30, 60]), [false, false, true]);
        assert_eq!(enough(&[0, 1, 2, 3, 59]), [false; 5]);
        assert_eq!(enough(&[0, 1000]), [false; 2]);
        assert_eq!(enough(&[0, 1, 2, 60, 61]), [false, false, false, true, true]);
    }

    #[test]
    fn a_pause_lasts_ten_minutes_and_one_more_refusal_renews_it() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let mut refusals = Refusals::default();
        assert_eq!([0, 30, 60].map(|second| refusals.add(at(second))), [false, false, true]);
        assert!(!refusals.is_paused(at(60)));
        assert!(refusals.pause(at(60)), "it is new");
        assert!(refusals.is_paused(at(659)) && !refusals.is_paused(at(660)));
        assert!(refusals.add(at(660)));
        assert!(!refusals.pause(at(660)), "it goes on");
        assert!(refusals.is_paused(at(1259)) && !refusals.is_paused(at(1260)));
    }

    #[test]
    fn after_an_acceptance_refusals_count_anew() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let mut refusals = Refusals::default();
        assert_eq!([0, 30].map(|second| refusals.add(at(second))), [false; 2]);
        assert!(!refusals.clear());
        assert_eq!([60, 61, 62].map(|second| refusals.add(at(second))), [false; 3]);
        assert!(refusals.add(at(120)) && refusals.pause(at(120)));
        assert!(refusals.clear(), "there was a pause");
        assert!(!refusals.is_paused(at(121)));
    }
}
