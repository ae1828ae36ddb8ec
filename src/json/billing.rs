//! Reads what a call has cost, and what its price depends on.

use serde_json::Value;

use crate::cost::nano_usd;

/// What an answer says of its cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Billing {
    /// In billionths of a US dollar.
    pub(super) cost: Option<u64>,
    pub(super) service_tier: Option<Box<str>>,
}

impl Billing {
    pub(super) fn read(body: &Value) -> Self {
        let usage = &body["usage"];
        let tier = body["service_tier"].as_str().or(usage["service_tier"].as_str());
        Self { cost: cost(usage), service_tier: tier.filter(|tier| !tier.is_empty()).map(Box::from) }
    }

    /// Takes what a later event of the same stream says.
    pub(super) fn update(&mut self, later: Self) {
        self.cost = later.cost.or(self.cost);
        self.service_tier = later.service_tier.or(self.service_tier.take());
    }
}

/// Returns what the provider says the call has cost.
fn cost(usage: &Value) -> Option<u64> {
    let cost = &usage["cost"];
    // OpenRouter, whose credits are US dollars. If the caller brings a key of the model's provider, that provider bills the rest.
    let of_openrouter = cost.as_f64().map(|cost| match usage["is_byok"].as_bool() {
        Some(true) => cost + usage["cost_details"]["upstream_inference_cost"].as_f64().unwrap_or(0.0),
        _ => cost,
    });
    let of_perplexity = || cost["total_cost"].as_f64();
    // xAI counts in ticks, of which a dollar has ten billion.
    let of_xai = || usage["cost_in_usd_ticks"].as_f64().map(|ticks| ticks / 1e10);
    of_openrouter.or_else(of_perplexity).or_else(of_xai).and_then(nano_usd)
}
