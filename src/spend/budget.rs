//! What a process may spend in a day.

use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use humantime::format_rfc3339_seconds;

use super::{counted_since, today};
use crate::cost::{nano_usd, usd};
use crate::lock::unpoisoned;

type Callback = Arc<dyn Fn(&BudgetStatus) + Send + Sync>;

/// What this process may spend in a day, from midnight to midnight in UTC.
///
/// It counts the cost of every call that this process records, as far as it is known. It stops nothing by itself: code that spends asks
/// [`check`](Self::check) before. What other processes spend, or an earlier run of this one, is not in it; budgets of a month or of
/// several processes are queries over `llm_cost_usd_total`.
///
/// ```
/// use botticelli_obs::{Budget, Builder, LlmCall};
///
/// let budget = Budget::daily("bot", 0.10).with_callback(0.8, |status| {
///     println!("{} of {} USD are spent", status.spent, status.limit);
/// });
/// let telemetry = Builder::new().without_listener().add_budget(&budget).install()?;
///
/// assert!(budget.check().is_ok());
/// let mut call = LlmCall::start("openrouter", "openai/gpt-4o-mini");
/// call.record_cost(0.12); // as the provider says
/// call.finish();
/// assert!(budget.check().is_err());
/// assert_eq!(telemetry.spend().today, 0.12);
/// # Ok::<(), botticelli_obs::InstallError>(())
/// ```
#[derive(Clone)]
#[must_use = "a budget counts nothing until it is given to `Builder::add_budget`"]
pub struct Budget {
    shared: Arc<Shared>,
}

struct Shared {
    name: String,
    limit: f64,
    started: SystemTime,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    day: u64,
    /// In nano-USD.
    spent: u64,
    thresholds: Vec<Threshold>,
}

struct Threshold {
    fraction: f64,
    callback: Callback,
    /// The last day on which it was reached.
    reached: Option<u64>,
    /// The state when it was reached, until the callback is called.
    due: Option<BudgetStatus>,
}

/// A callback with what it is told.
pub(crate) struct Due {
    callback: Callback,
    status: BudgetStatus,
}

impl Due {
    pub(crate) fn call(&self) {
        (self.callback)(&self.status);
    }
}

impl Budget {
    /// Creates a budget of so many US dollars a day. The name becomes a label.
    pub fn daily(name: impl Into<String>, usd: f64) -> Self {
        let (name, started) = (name.into(), SystemTime::now());
        Self { shared: Arc::new(Shared { name, limit: usd, started, state: Mutex::default() }) }
    }

    /// Calls a function when this part of the budget is spent: 0.8 for 80 %, 1.0 for all of it.
    ///
    /// It is called on a thread of this crate within a second after the call that has reached the threshold, and not again for this
    /// threshold on the same day. It may block.
    pub fn with_callback(self, fraction: f64, callback: impl Fn(&BudgetStatus) + Send + Sync + 'static) -> Self {
        let threshold = Threshold { fraction, callback: Arc::new(callback), reached: None, due: None };
        self.shared.lock().thresholds.push(threshold);
        self
    }

    /// Asks whether there is something left for another call. It takes no longer than a lock, and is always `Ok` for a budget that was
    /// not added to a [`Builder`](crate::Builder).
    ///
    /// # Errors
    ///
    /// When the budget of today is spent.
    pub fn check(&self) -> Result<(), BudgetExceeded> {
        let status = self.status();
        if status.spent < status.limit { Ok(()) } else { Err(BudgetExceeded { status }) }
    }

    /// Returns how much of the budget is spent.
    pub fn status(&self) -> BudgetStatus {
        let day = today();
        let mut state = self.shared.lock();
        state.turn(day);
        self.shared.status(&state)
    }

    /// Says what is wrong with the numbers it was made of.
    pub(crate) fn mistake(&self) -> Option<String> {
        let Shared { name, limit, .. } = &*self.shared;
        if name.trim().is_empty() {
            return Some("a budget needs a name".to_owned());
        }
        if !(limit.is_finite() && *limit > 0.0) {
            return Some(format!("the budget `{name}` has {limit} USD a day: it must be more than 0"));
        }
        let state = self.shared.lock();
        let wrong =
            state.thresholds.iter().find(|threshold| !(threshold.fraction.is_finite() && threshold.fraction > 0.0));
        wrong.map(|threshold| {
            format!("the budget `{name}` has a callback at {}: it must be more than 0, such as 0.8", threshold.fraction)
        })
    }

    /// Adds the cost of a call.
    pub(super) fn add(&self, nano_usd: u64, day: u64) {
        let mut state = self.shared.lock();
        state.turn(day);
        state.spent = state.spent.saturating_add(nano_usd);
        let spent = usd(state.spent);
        let is_reached = |threshold: &Threshold| spent >= threshold.fraction * self.shared.limit;
        if state.thresholds.iter().all(|threshold| threshold.reached == Some(day) || !is_reached(threshold)) {
            return;
        }
        let status = self.shared.status(&state);
        for threshold in &mut state.thresholds {
            if threshold.reached != Some(day) && is_reached(threshold) {
                threshold.reached = Some(day);
                threshold.due = Some(status.clone());
            }
        }
    }

    pub(super) fn take_due(&self) -> Vec<Due> {
        let mut state = self.shared.lock();
        let due = state.thresholds.iter_mut().filter_map(|threshold| {
            let status = threshold.due.take()?;
            Some(Due { callback: Arc::clone(&threshold.callback), status })
        });
        due.collect()
    }
}

impl State {
    /// Begins a new day if there is one.
    fn turn(&mut self, day: u64) {
        if self.day != day {
            (self.day, self.spent) = (day, 0);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        unpoisoned(self.state.lock())
    }

    fn status(&self, state: &State) -> BudgetStatus {
        BudgetStatus {
            name: self.name.clone(),
            // Rounded as costs are, so that a budget is spent when it says so.
            limit: nano_usd(self.limit).map_or(self.limit, usd),
            spent: usd(state.spent),
            since: counted_since(state.day, self.started),
        }
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget").field("status", &self.status()).finish_non_exhaustive()
    }
}

/// How much of a [`Budget`] is spent.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BudgetStatus {
    /// The label `budget` on the page.
    pub name: String,
    /// What may be spent in a day, in US dollars.
    pub limit: f64,
    /// What was spent today (UTC), in US dollars.
    pub spent: f64,
    /// Since when `spent` counts: the start of the day, or the time at which the budget was made if it was later.
    pub since: SystemTime,
}

/// The error of [`Budget::check`]: the budget of today is spent.
#[derive(Clone, Debug, PartialEq)]
pub struct BudgetExceeded {
    status: BudgetStatus,
}

impl BudgetExceeded {
    /// Returns how much is spent.
    pub fn status(&self) -> &BudgetStatus {
        &self.status
    }
}

impl fmt::Display for BudgetExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BudgetStatus { name, limit, spent, since } = &self.status;
        write!(
            f,
            "the budget `{name}` of today is spent: {spent} of {limit} USD since {}",
            format_rfc3339_seconds(*since)
        )
    }
}

impl Error for BudgetExceeded {}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn threshold_is_told_once_a_day() {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let budget = Budget::daily("bot", 1.0).with_callback(0.5, move |status| {
            assert!(status.spent >= 0.5);
            counted.fetch_add(1, Ordering::Relaxed);
        });
        let told = || {
            budget.take_due().iter().for_each(Due::call);
            calls.load(Ordering::Relaxed)
        };
        budget.add(499_999_999, 1);
        assert_eq!(told(), 0);
        budget.add(1, 1);
        assert_eq!(told(), 1);
        budget.add(2_000_000_000, 1);
        assert_eq!(told(), 1);
        budget.add(500_000_000, 2);
        assert_eq!(told(), 2);
    }
}
