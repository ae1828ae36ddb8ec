//! What the calls of one provider and model have cost.

use std::sync::OnceLock;
#[cfg(feature = "prices")]
use std::sync::atomic::AtomicU32;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

#[cfg(feature = "prices")]
use metrics::GaugeFn;

use super::{Pair, Shared};
use crate::catalog;
#[cfg(feature = "prices")]
use crate::cost::{Bill, CostOutcome};
use crate::cost::{CallCost, CostStatus};
#[cfg(feature = "prices")]
use crate::price::{PriceBook, Tariff};
use crate::series::{CostCounter, PriceGauge};
#[cfg(feature = "prices")]
use crate::series::{is_plausible, unix_time};
use crate::snapshot::Labels;
use crate::store::columns::Columns;
use crate::store::count::{Number, add_saturating};

/// The counts and prices of a pair. Made with the pair where there are prices, else with its first cost.
#[derive(Default)]
pub(in crate::store) struct Costs {
    counts: [AtomicU64; CostCounter::COUNT],
    /// A bit for each count that readers get.
    shown: AtomicU8,
    prices: [Number; PriceGauge::COUNT],
    /// A bit for each price that readers get.
    shown_prices: AtomicU8,
    /// Whether a price was missing that it has not been logged yet.
    is_missing: AtomicBool,
    has_told: AtomicBool,
    /// By what calls are priced; `None` if the provider has no prices.
    #[cfg(feature = "prices")]
    tariff: OnceLock<Option<Tariff>>,
    /// When the gauges of prices were set, in hours since 1970.
    #[cfg(feature = "prices")]
    priced_at: AtomicU32,
}

impl Shared {
    /// Returns the costs with which a pair begins.
    pub(super) fn zero_costs(&self) -> OnceLock<Box<Costs>> {
        #[cfg(feature = "prices")]
        if self.prices.is_some() {
            return Box::new(Costs::with_zeros()).into();
        }
        OnceLock::new()
    }
}

impl Costs {
    /// Those of a store with prices, where readers get all counts from the start.
    #[cfg(feature = "prices")]
    fn with_zeros() -> Self {
        let costs = Self::default();
        costs.shown.store(CostCounter::all().map(|counter| 1 << counter.index()).sum(), Ordering::Relaxed);
        costs
    }

    pub(super) fn add(&self, counter: CostCounter, more: u64) {
        self.show(counter);
        add_saturating(&self.counts[counter.index()], more);
    }

    pub(super) fn show(&self, counter: CostCounter) {
        self.shown.fetch_or(1 << counter.index(), Ordering::Relaxed);
    }

    pub(super) fn get(&self, counter: CostCounter) -> u64 {
        self.counts[counter.index()].load(Ordering::Acquire)
    }

    /// Raises a count to a value.
    pub(super) fn raise(&self, counter: CostCounter, value: u64) {
        self.show(counter);
        self.counts[counter.index()].fetch_max(value, Ordering::AcqRel);
    }

    /// Returns the gauge of a price, which readers get from now on.
    pub(super) fn price(&self, price: PriceGauge) -> &Number {
        self.shown_prices.fetch_or(1 << price.index(), Ordering::Relaxed);
        &self.prices[price.index()]
    }
}

impl Pair {
    /// Registers the counts that readers get from the start with the added recorders.
    pub(super) fn open_costs_of_extras(&self) {
        let shown = self.costs.get().map_or(0, |costs| costs.shown.load(Ordering::Relaxed));
        for counter in CostCounter::all().filter(|counter| shown & 1 << counter.index() != 0) {
            self.each_extra(|handles, recorder| handles.cost_counter(recorder, counter).increment(0));
        }
    }

    pub(super) fn costs(&self) -> &Costs {
        self.costs.get_or_init(Box::default)
    }

    /// Counts the cost of a call that has ended.
    pub(super) fn add_cost(&self, cost: &CallCost) {
        let costs = self.costs();
        costs.add(CostCounter::lookups(cost.status), 1);
        match cost.known() {
            Some(nano_usd) => costs.add(CostCounter::cost(cost.outcome), nano_usd),
            None => {
                if !costs.has_told.load(Ordering::Relaxed) {
                    costs.is_missing.store(true, Ordering::Relaxed);
                }
            }
        }
        if cost.has_invalid_figure {
            add_saturating(&self.shared.invalid_costs, 1);
        }
        self.shared.ledger.add(cost.known(), cost.status == CostStatus::Partial);
        self.each_extra(|handles, recorder| handles.cost(recorder, cost));
    }

    /// Prices a call; `None` if there is nothing to price: a call that failed before it used anything.
    #[cfg(feature = "prices")]
    pub(super) fn price_by(&self, prices: &PriceBook, bill: &Bill<'_>) -> Option<CallCost> {
        let usage = bill.usage.filter(is_plausible);
        let (status, nano_usd) = match usage {
            Some(usage) => match self.tariff(prices) {
                Some(tariff) => {
                    self.refresh_prices(tariff);
                    tariff.price(&usage, bill)
                }
                None => (CostStatus::Missing, 0),
            },
            None if bill.error.is_none() => (CostStatus::Missing, 0),
            None => return None,
        };
        Some(CallCost { status, nano_usd, outcome: CostOutcome::of(bill.error), has_invalid_figure: false })
    }

    #[cfg(feature = "prices")]
    fn tariff(&self, prices: &PriceBook) -> Option<&Tariff> {
        let tariff = &self.costs().tariff;
        let found = tariff.get().unwrap_or_else(|| {
            let found = prices.tariff(&self.provider, &self.model);
            tariff.get_or_init(|| found)
        });
        found.as_ref()
    }

    /// Sets the gauges of prices, which may change with the date and the time of day.
    #[cfg(feature = "prices")]
    fn refresh_prices(&self, tariff: &Tariff) {
        let hour = (unix_time() / 3600.0) as u32;
        let priced_at = &self.costs().priced_at;
        if priced_at.load(Ordering::Relaxed) == hour || priced_at.swap(hour, Ordering::Relaxed) == hour {
            return;
        }
        if let Some(rates) = tariff.rates() {
            PriceGauge::all().zip(rates).for_each(|(price, rate)| self.set_price(price, rate));
        }
    }

    /// Sets the gauge of a price.
    #[cfg(feature = "prices")]
    fn set_price(&self, price: PriceGauge, usd_per_million: f64) {
        self.costs().price(price).set(usd_per_million);
        self.each_extra(|handles, recorder| handles.price(recorder, price).set(usd_per_million));
    }

    /// Returns true once, after the first call whose cost is unknown.
    pub(in crate::store) fn has_to_tell_of_missing_cost(&self) -> bool {
        let Some(costs) = self.costs.get() else { return false };
        costs.is_missing.swap(false, Ordering::Relaxed) && !costs.has_told.swap(true, Ordering::Relaxed)
    }

    pub(super) fn read_costs(&self, columns: &mut Columns) {
        let Some(costs) = self.costs.get() else { return };
        let shown = costs.shown.load(Ordering::Relaxed);
        for counter in CostCounter::all().filter(|counter| shown & 1 << counter.index() != 0) {
            let labels = Labels::with(self.labels.clone(), counter.third());
            columns.count(&counter.metric(), labels, costs.get(counter));
        }
        let shown = costs.shown_prices.load(Ordering::Relaxed);
        for price in PriceGauge::all().filter(|price| shown & 1 << price.index() != 0) {
            let labels = Labels::with(self.labels.clone(), price.third());
            columns.gauge(&catalog::PRICE, labels, costs.prices[price.index()].get());
        }
    }
}
