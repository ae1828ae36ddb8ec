//! The price of one call.

use std::sync::Arc;
use std::time::SystemTime;

use genai_prices::{Calculator, ErrorKind, PriceCalculation, PriceRequest, Usage as Quantities, UsageKey};

use super::Table;
use super::own::MODEL;
use crate::cost::{Bill, CostStatus, nano_usd};
use crate::usage::Usage;

/// The engines that price the calls of a provider and model.
pub(crate) struct Tariff {
    model: String,
    /// Whether they have prices of this model.
    is_known: bool,
    /// That of the model itself.
    own: Option<Arc<Calculator>>,
    /// The table, and the provider's id there.
    table: Option<(Table, String)>,
}

/// The tiers that need no other rate.
const STANDARD_TIERS: [&str; 4] = ["default", "standard", "auto", "on_demand"];

impl Tariff {
    /// Returns `None` if neither is known.
    pub(super) fn new(model: &str, own: Option<Arc<Calculator>>, table: Option<(Table, String)>) -> Option<Self> {
        let is_known = own.is_some();
        let mut tariff =
            (own.is_some() || table.is_some()).then(|| Self { model: model.to_owned(), is_known, own, table })?;
        // Rules of matching are not asked again for each call to a model that has no price.
        tariff.is_known |= tariff.calculate(model, &Usage::new(0, 0), (&[], None)).is_ok();
        Some(tariff)
    }

    /// Prices a call, in nano-USD.
    pub(crate) fn price(&self, usage: &Usage, bill: &Bill<'_>) -> (CostStatus, u64) {
        let model = if self.is_known { Some(&*self.model) } else { bill.response_model };
        model.and_then(|model| self.price_by(model, usage, bill)).unwrap_or((CostStatus::Missing, 0))
    }

    /// Returns the cost of a usage at the standard rates, unless a part of it has no price.
    pub(super) fn whole_cost(&self, usage: &Usage) -> Option<u64> {
        let (status, nano_usd) = self.price(usage, &Bill::of(Some(*usage)));
        (status == CostStatus::Priced).then_some(nano_usd)
    }

    /// Returns what one token more costs now for a million of them, in the order of the gauges: input, output, cache read, cache write,
    /// reasoning.
    pub(crate) fn rates(&self) -> Option<[f64; 5]> {
        let cost = |usage: Usage| Some(self.calculate(&self.model, &usage, (&[], None)).ok()?.total_price);
        // A model may cost something for each request.
        let fixed = cost(Usage::new(0, 0))?;
        let usages = [
            Usage::new(1, 0),
            Usage::new(0, 1),
            Usage::new(1, 0).with_cache_read(1),
            Usage::new(1, 0).with_cache_write(1),
            Usage::new(0, 1).with_reasoning(1),
        ];
        let mut rates = [0.0; 5];
        for (rate, usage) in rates.iter_mut().zip(usages) {
            // Without the error of the calculation: no price has more than nine decimals.
            *rate = ((cost(usage)? - fixed) * 1e15).round() / 1e9;
        }
        Some(rates)
    }

    /// Prices a call by the prices of a model; `None` if there are none.
    fn price_by(&self, model: &str, usage: &Usage, bill: &Bill<'_>) -> Option<(CostStatus, u64)> {
        let mut context = Vec::new();
        if let Some(tier) = bill.service_tier.filter(|tier| !STANDARD_TIERS.contains(tier)) {
            match tier {
                // As Anthropic has it.
                "batch" => context.push(("processing", "batch")),
                tier => context.push(("service_tier", tier)),
            }
        }
        if bill.is_batch && !context.contains(&("processing", "batch")) {
            context.push(("processing", "batch"));
        }
        let standard = match self.calculate(model, usage, (&[], bill.at)) {
            Ok(price) => Ok(price),
            Err(ErrorKind::InvalidUsage) => {
                // The parts are more than the whole. The whole has a price.
                Err(self.calculate(model, &Usage::new(usage.prompt(), usage.completion()), (&[], bill.at)).ok()?)
            }
            Err(_) => return None,
        };
        let (price, is_whole) = match standard {
            Err(price) => (price, false),
            Ok(price) if context.is_empty() => {
                let is_whole = is_whole(&price, usage);
                (price, is_whole)
            }
            Ok(standard) => {
                let price = self.calculate(model, usage, (&context, bill.at)).unwrap_or_else(|_| standard.clone());
                // The engine falls back to the standard rates where it knows no others.
                let has_rates = price.total_price != standard.total_price || standard.total_price == 0.0;
                let is_whole = has_rates && is_whole(&price, usage);
                (price, is_whole)
            }
        };
        let status = if is_whole { CostStatus::Priced } else { CostStatus::Partial };
        Some(nano_usd(price.total_price).map_or((CostStatus::Missing, 0), |nano_usd| (status, nano_usd)))
    }

    fn calculate(
        &self,
        model: &str,
        usage: &Usage,
        (context, at): (&[(&str, &str)], Option<SystemTime>),
    ) -> Result<PriceCalculation, ErrorKind> {
        let (calculator, provider, model) = match (&self.own, &self.table) {
            (Some(own), _) => (&**own, MODEL, MODEL),
            (None, Some((table, provider))) => {
                (table.calculator().ok_or(ErrorKind::ProviderNotFound)?, &**provider, model)
            }
            (None, None) => return Err(ErrorKind::ProviderNotFound),
        };
        let quantities = quantities(usage);
        let request = PriceRequest::new(model, &quantities).with_provider_id(provider);
        let request = context.iter().fold(request, |request, (key, value)| request.with_price_context(key, value));
        let request = match at {
            Some(at) => request.with_timestamp(at),
            None => request,
        };
        calculator.calculate(&request).map_err(|error| error.kind())
    }
}

/// Whether nothing that was used is without a price, as far as it shows.
fn is_whole(price: &PriceCalculation, usage: &Usage) -> bool {
    let is_free = price.total_price == 0.0;
    price.warnings.is_empty()
        && (is_free || usage.prompt() == 0 || price.input_price > 0.0)
        && (is_free || usage.completion() == 0 || price.output_price > 0.0)
}

/// A usage in the words of the engine, whose prompt and completion include their parts, too.
fn quantities(usage: &Usage) -> Quantities {
    let quantities = [
        (UsageKey::INPUT_TOKENS, usage.prompt()),
        (UsageKey::OUTPUT_TOKENS, usage.completion()),
        (UsageKey::CACHE_READ_TOKENS, usage.cache_read()),
        (UsageKey::CACHE_WRITE_TOKENS, usage.cache_write()),
        (UsageKey::CACHE_WRITE_1H_TOKENS, usage.cache_write_1h()),
        (UsageKey::OUTPUT_REASONING_TOKENS, usage.reasoning()),
    ];
    let parts = quantities.into_iter().enumerate().filter(|(at, (_, tokens))| *at < 2 || *tokens > 0);
    parts.map(|(_, (key, tokens))| (key, tokens as f64)).collect()
}
