//! What this process has spent, today and in all, and its budgets.

mod budget;

use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use humantime::format_rfc3339_seconds;
use metrics::{Recorder, SharedString};

use crate::catalog::{self, METADATA};
use crate::cost::usd;
use crate::lock::unpoisoned;
pub use budget::{Budget, BudgetExceeded, BudgetStatus};

const SECONDS_OF_A_DAY: u64 = 24 * 3600;

/// Returns the number of the current day since 1970, in UTC.
fn today() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / SECONDS_OF_A_DAY)
}

/// Returns when the count of a day began: with the day, or with this process if that was later.
fn counted_since(day: u64, started: SystemTime) -> SystemTime {
    (UNIX_EPOCH + Duration::from_secs(day * SECONDS_OF_A_DAY)).max(started)
}

/// What the calls of this process have cost; returned by [`Telemetry::spend`](crate::Telemetry::spend).
///
/// `Display` writes one line, such as `0.25 USD since 2026-11-28T18:30:00Z, unknown for 3 calls`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Spend {
    /// What was spent today (UTC), in US dollars.
    pub today: f64,
    /// What was spent since the start of the process, in US dollars.
    pub total: f64,
    /// Since when `today` counts: the start of the day, or that of the process if it was later. What an earlier process has spent
    /// today is not in it.
    pub since: SystemTime,
    /// The calls of today whose cost is unknown, and not in `today`.
    pub unknown_calls: u64,
    /// The calls of today whose cost is known in part.
    pub partial_calls: u64,
    /// The budgets, in the order in which they were added.
    pub budgets: Vec<BudgetStatus>,
}

impl fmt::Display for Spend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} USD since {}", self.today, format_rfc3339_seconds(self.since))?;
        for (calls, what) in [(self.unknown_calls, "unknown"), (self.partial_calls, "partly known")] {
            if calls > 0 {
                write!(f, ", {what} for {calls} {}", if calls == 1 { "call" } else { "calls" })?;
            }
        }
        Ok(())
    }
}

/// Adds up what the calls of a store have cost.
pub(crate) struct Ledger {
    started: SystemTime,
    budgets: Vec<Budget>,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Default)]
struct State {
    day: u64,
    today: u64,
    total: u64,
    unknown_calls: u64,
    partial_calls: u64,
}

impl State {
    /// Begins a new day if there is one.
    fn turn(&mut self, day: u64) {
        if self.day != day {
            *self = Self { day, total: self.total, ..Self::default() };
        }
    }
}

impl Ledger {
    pub(crate) fn new(budgets: Vec<Budget>) -> Self {
        Self { started: SystemTime::now(), budgets, state: Mutex::default() }
    }

    /// Adds the cost of a call; `None` if it is unknown.
    pub(crate) fn add(&self, nano_usd: Option<u64>, is_partial: bool) {
        let day = today();
        {
            let mut state = unpoisoned(self.state.lock());
            state.turn(day);
            state.partial_calls += u64::from(is_partial);
            match nano_usd {
                Some(nano_usd) => {
                    state.today = state.today.saturating_add(nano_usd);
                    state.total = state.total.saturating_add(nano_usd);
                }
                None => state.unknown_calls += 1,
            }
        }
        if let Some(nano_usd) = nano_usd.filter(|nano_usd| *nano_usd > 0) {
            self.budgets.iter().for_each(|budget| budget.add(nano_usd, day));
        }
    }

    pub(crate) fn spend(&self) -> Spend {
        let day = today();
        let state = {
            let mut state = unpoisoned(self.state.lock());
            state.turn(day);
            *state
        };
        Spend {
            today: usd(state.today),
            total: usd(state.total),
            since: counted_since(day, self.started),
            unknown_calls: state.unknown_calls,
            partial_calls: state.partial_calls,
            budgets: self.budgets.iter().map(Budget::status).collect(),
        }
    }

    /// Sets the gauges of the budgets.
    pub(crate) fn publish(&self, recorder: &dyn Recorder) {
        for budget in self.budgets.iter().map(Budget::status) {
            for (metric, value) in [(catalog::BUDGET_LIMIT, budget.limit), (catalog::BUDGET_SPENT, budget.spent)] {
                let key = metric.key([SharedString::from(budget.name.clone())]);
                recorder.register_gauge(&key, &METADATA).set(value);
            }
        }
    }

    /// Takes the callbacks that are due, to be called on a thread where they may block.
    pub(crate) fn take_due(&self) -> Vec<budget::Due> {
        self.budgets.iter().flat_map(Budget::take_due).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        let mut spend = Ledger::new(Vec::new()).spend();
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_890_600, "2026-11-28T18:30:00Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            spend.since = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(spend.to_string(), format!("0 USD since {text}"));
        }
    }

    #[test]
    fn a_new_day_begins_at_zero_and_keeps_the_total() {
        let mut state = State { day: 1, today: 5, total: 9, unknown_calls: 2, partial_calls: 1 };
        state.turn(1);
        assert_eq!((state.today, state.total, state.unknown_calls), (5, 9, 2));
        state.turn(2);
        assert_eq!((state.today, state.total, state.unknown_calls, state.partial_calls), (0, 9, 0, 0));
    }
}
