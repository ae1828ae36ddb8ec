//! Prices that a program states itself.

use std::sync::Arc;

use genai_prices::Calculator;
use serde_json::{Map, Value, json};

/// What a million tokens of a model cost, in US dollars.
///
/// Cached tokens without a price of their own cost as much as other prompt tokens, and reasoning tokens as much as other completion
/// tokens.
///
/// ```
/// use botticelli_obs::Price;
///
/// let sonnet = Price::new(3.0, 15.0).with_cache_read(0.30).with_cache_write(3.75).with_cache_write_1h(6.0);
/// # let _ = sonnet;
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Price {
    input: f64,
    output: f64,
    cache_read: Option<f64>,
    cache_write: Option<f64>,
    cache_write_1h: Option<f64>,
    reasoning: Option<f64>,
}

impl Price {
    /// No cost, as for models on your own computer.
    pub const FREE: Self = Self::new(0.0, 0.0);

    /// Creates a price of so much for a million prompt tokens, and so much for a million completion tokens.
    pub const fn new(input: f64, output: f64) -> Self {
        Self { input, output, cache_read: None, cache_write: None, cache_write_1h: None, reasoning: None }
    }

    /// Sets the price of prompt tokens that are read from a cache.
    #[must_use]
    pub const fn with_cache_read(mut self, usd: f64) -> Self {
        self.cache_read = Some(usd);
        self
    }

    /// Sets the price of prompt tokens that are written to a cache.
    #[must_use]
    pub const fn with_cache_write(mut self, usd: f64) -> Self {
        self.cache_write = Some(usd);
        self
    }

    /// Sets the price of prompt tokens that are written to a cache for an hour. Defaults to that of other writes.
    #[must_use]
    pub const fn with_cache_write_1h(mut self, usd: f64) -> Self {
        self.cache_write_1h = Some(usd);
        self
    }

    /// Sets the price of completion tokens that are spent on reasoning.
    #[must_use]
    pub const fn with_reasoning(mut self, usd: f64) -> Self {
        self.reasoning = Some(usd);
        self
    }

    /// Returns what a million prompt tokens cost.
    pub const fn input(&self) -> f64 {
        self.input
    }

    /// Returns what a million completion tokens cost.
    pub const fn output(&self) -> f64 {
        self.output
    }

    /// Returns what a million tokens from a cache cost, if that is set.
    pub const fn cache_read(&self) -> Option<f64> {
        self.cache_read
    }

    /// Returns what a million tokens written to a cache cost, if that is set.
    pub const fn cache_write(&self) -> Option<f64> {
        self.cache_write
    }

    /// Returns what a million tokens of reasoning cost, if that is set.
    pub const fn reasoning(&self) -> Option<f64> {
        self.reasoning
    }

    /// Returns the prices that are set, by the names of the engine.
    fn entries(&self) -> impl Iterator<Item = (&'static str, f64)> {
        // The engine wants the price of all writes where there is one of some.
        let cache_write = self.cache_write.or(self.cache_write_1h.map(|_| self.input));
        let entries = [
            ("input_mtok", Some(self.input)),
            ("output_mtok", Some(self.output)),
            ("cache_read_mtok", self.cache_read),
            ("cache_write_mtok", cache_write),
            ("cache_write_1h_mtok", self.cache_write_1h),
            ("output_reasoning_mtok", self.reasoning),
        ];
        entries.into_iter().filter_map(|(name, usd)| Some((name, usd?)))
    }
}

/// The only model of a calculator that has one price.
pub(super) const MODEL: &str = "own";

/// Prices by provider and model.
#[derive(Clone, Default)]
pub(super) struct OwnPrices(Vec<OwnPrice>);

#[derive(Clone)]
struct OwnPrice {
    provider: String,
    model: String,
    price: Price,
    /// `None` if the price is none.
    calculator: Option<Arc<Calculator>>,
}

impl OwnPrices {
    pub(super) fn add(&mut self, provider: &str, model: &str, price: Price) {
        let [provider, model] = [provider, model].map(|name| name.trim().to_lowercase());
        self.0.retain(|of| of.provider != provider || of.model != model);
        self.0.push(OwnPrice { provider, model, price, calculator: calculator(&price) });
    }

    /// Finds the price of a model: that of its name, or of the longest beginning of it.
    pub(super) fn find(&self, provider: &str, model: &str) -> Option<&Arc<Calculator>> {
        if self.0.is_empty() {
            return None;
        }
        let [provider, model] = [provider, model].map(str::to_lowercase);
        let rank = |of: &&OwnPrice| match of.model.strip_suffix('*') {
            _ if of.provider != provider => None,
            None => (of.model == model).then_some(usize::MAX),
            Some(beginning) => model.starts_with(beginning).then_some(beginning.len()),
        };
        let found = self.0.iter().filter(|of| rank(of).is_some()).max_by_key(rank)?;
        found.calculator.as_ref()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|of| (&*of.provider, &*of.model))
    }

    /// Says which price is none.
    pub(super) fn mistake(&self) -> Option<String> {
        let wrong = self.0.iter().find(|of| of.calculator.is_none())?;
        let number = wrong.price.entries().map(|(_, usd)| usd).find(|usd| !(usd.is_finite() && *usd >= 0.0));
        let number = number.map_or_else(String::new, |number| format!(" {number}"));
        Some(format!(
            "the price{number} of {} {} is not valid: it must be 0 or more, in US dollars for a million tokens",
            wrong.provider, wrong.model
        ))
    }
}

/// Makes the engine of one price.
fn calculator(price: &Price) -> Option<Arc<Calculator>> {
    let prices: Map<String, Value> = price.entries().map(|(name, usd)| (name.to_owned(), json!(usd))).collect();
    let data = json!([{
        "id": MODEL,
        "name": MODEL,
        "api_pattern": MODEL,
        "models": [{"id": MODEL, "match": {"equals": MODEL}, "prices": prices}],
    }]);
    Calculator::from_json(data.to_string()).ok().map(Arc::new)
}
