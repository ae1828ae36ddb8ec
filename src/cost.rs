//! What calls cost, in integers, so that sums are exact.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use crate::error_type::ErrorType;
use crate::usage::Usage;

/// Whether any recorder of the process has prices.
static ARE_PRICES_ON: AtomicBool = AtomicBool::new(false);

/// Whether calls may have a price: one read for the calls of programs that have none.
#[inline]
pub(crate) fn are_prices_on() -> bool {
    ARE_PRICES_ON.load(Ordering::Relaxed)
}

/// Makes calls ask for their price from now on.
#[cfg(feature = "prices")]
pub(crate) fn turn_prices_on() {
    ARE_PRICES_ON.store(true, Ordering::Relaxed);
}

/// The most that one call may cost: a million dollars.
const MAX_USD: f64 = 1e6;

/// Rounds US dollars half-even to billionths. Returns `None` for what no call costs: a negative number, or more than a million.
///
/// A product such as 0.0375 * 1e-6 * 1e9 is not exactly 37.5 in floating point. Prices have at most five decimals of a nano-dollar a
/// token, so the first rounding, to these, takes away nothing but the error of the calculation.
pub(crate) fn nano_usd(usd: f64) -> Option<u64> {
    const DECIMALS: f64 = 1e5;
    let is_cost = (0.0..=MAX_USD).contains(&usd);
    let nano = usd * 1e9;
    // Above 10^10 a double has no five decimals left, nor has the calculation.
    let nano = if nano < 1e10 { (nano * DECIMALS).round() / DECIMALS } else { nano };
    is_cost.then(|| nano.round_ties_even() as u64)
}

/// Returns billionths of a US dollar as dollars.
pub(crate) fn usd(nano_usd: u64) -> f64 {
    nano_usd as f64 / 1e9
}

/// Where the cost of a call came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CostStatus {
    /// The provider returned it.
    Provider,
    /// All of it was calculated.
    Priced,
    /// A part of it was calculated, or by another rate than may apply.
    Partial,
    /// There is no price, or nothing to calculate it from.
    Missing,
}

impl CostStatus {
    pub(crate) const ALL: [Self; 4] = [Self::Provider, Self::Priced, Self::Partial, Self::Missing];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::Priced => "priced",
            Self::Partial => "partial",
            Self::Missing => "missing",
        }
    }
}

/// What was paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CostOutcome {
    Success,
    Error,
    Cancelled,
}

impl CostOutcome {
    pub(crate) const ALL: [Self; 3] = [Self::Success, Self::Error, Self::Cancelled];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Error => "error",
            Self::Cancelled => "cancelled",
        }
    }

    pub(crate) const fn of(error: Option<ErrorType>) -> Self {
        match error {
            None => Self::Success,
            Some(ErrorType::Cancelled) => Self::Cancelled,
            Some(_) => Self::Error,
        }
    }
}

/// What a call has cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallCost {
    pub(crate) status: CostStatus,
    /// 0 where it is missing.
    pub(crate) nano_usd: u64,
    pub(crate) outcome: CostOutcome,
    /// Whether the provider's figure was none that a call can have.
    pub(crate) has_invalid_figure: bool,
}

impl CallCost {
    /// The cost as far as it is known.
    pub(crate) fn known(&self) -> Option<u64> {
        (self.status != CostStatus::Missing).then_some(self.nano_usd)
    }
}

/// What the price of a call depends on, besides provider and model.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "prices"), expect(dead_code, reason = "only prices read it"))]
pub(crate) struct Bill<'a> {
    pub(crate) usage: Option<Usage>,
    pub(crate) response_model: Option<&'a str>,
    pub(crate) service_tier: Option<&'a str>,
    pub(crate) is_batch: bool,
    pub(crate) error: Option<ErrorType>,
    /// When the request was made, by which prices are chosen that have a date; now if it is `None`.
    pub(crate) at: Option<SystemTime>,
}

#[cfg(feature = "prices")]
impl Bill<'_> {
    /// That of a successful call of which nothing else is known.
    pub(crate) fn of(usage: Option<Usage>) -> Self {
        Self { usage, response_model: None, service_tier: None, is_batch: false, error: None, at: None }
    }
}

/// What few calls learn about their cost.
#[derive(Clone, Debug, Default)]
pub(crate) struct Billing {
    /// In US dollars, as the provider says.
    pub(crate) cost: Option<f64>,
    pub(crate) service_tier: Option<Box<str>>,
    pub(crate) is_batch: bool,
}

impl Billing {
    /// Adds that of a later try.
    pub(crate) fn add(&mut self, later: Self) {
        self.cost = match (self.cost, later.cost) {
            (Some(cost), Some(more)) => Some(cost + more),
            (cost, more) => more.or(cost),
        };
        self.service_tier = later.service_tier.or(self.service_tier.take());
        self.is_batch |= later.is_batch;
    }

    /// Fills what is missing from that of inner calls.
    pub(crate) fn fill_from(&mut self, inner: Self) {
        self.cost = self.cost.or(inner.cost);
        self.service_tier = self.service_tier.take().or(inner.service_tier);
        self.is_batch |= inner.is_batch;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn halves_are_rounded_to_the_even_neighbour() {
        for (usd, nano) in [
            (3.75e-8, 38),
            (1.25e-8, 12),
            (0.0375 * 3.0 / 1e6, 112),
            (0.0375 / 1e6, 38),
            (1.0, 1_000_000_000),
            (0.0, 0),
            (1e-10, 0),
            (6e-10, 1),
        ] {
            assert_eq!(nano_usd(usd), Some(nano), "{usd}");
        }
        for usd in [-1e-9, f64::NAN, f64::INFINITY, 1.1e6] {
            assert_eq!(nano_usd(usd), None, "{usd}");
        }
    }

    proptest! {
        /// A rate in thousandths of a nano-dollar a token, as an exact calculation has it.
        #[test]
        fn products_are_rounded_as_exact_ones(rate in 0_u64..100_000, tokens in 0_u64..10_000) {
            let exact = u128::from(rate) * u128::from(tokens);
            let (whole, rest) = (exact / 1_000, exact % 1_000);
            let up = rest > 500 || rest == 500 && whole % 2 == 1;
            let usd = rate as f64 / 1e6 * tokens as f64 / 1e6;
            prop_assert_eq!(nano_usd(usd).map(u128::from), Some(whole + u128::from(up)));
        }
    }
}
