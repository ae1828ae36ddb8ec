//! What models cost: the tables and rules of the crate `genai-prices`, and prices that the program sets, which come first.

mod file;
mod own;
mod tariff;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use genai_prices::Calculator;

use crate::cost::usd;
use crate::usage::Usage;
pub use file::PriceError;
use own::OwnPrices;
pub use own::Price;
pub(crate) use tariff::Tariff;

/// The version of `genai-prices` whose table is built in, and when its prices were last verified.
const BUILTIN: (&str, &str) = ("genai-prices 0.2.1", "2026-10-26");

/// The prices by which calls are priced, for [`Builder::with_prices`](crate::Builder::with_prices).
///
/// A price that the program sets is used first, then the price in the table. Both are looked up for the provider of the call and the model
/// that was asked for, or else the model that answered. A model without a price has no cost: it is counted in `llm_cost_lookups_total{status="missing"}` and logged once.
///
/// ```
/// use botticelli_obs::{Price, PriceBook, Usage};
///
/// let prices = PriceBook::builtin().with_price("local-server", "*", Price::FREE).with_price(
///     "gemini",
///     "gemini-2.5-flash",
///     Price::new(0.30, 2.50).with_cache_read(0.075),
/// );
/// let usage = Usage::new(1_000, 200).with_cache_read(800);
/// assert_eq!(prices.cost("gemini", "gemini-2.5-flash", &usage), Some(0.00062));
/// assert_eq!(prices.cost("gemini", "no-such-model", &usage), None);
/// ```
#[derive(Clone)]
pub struct PriceBook {
    table: Table,
    own: OwnPrices,
    source: String,
    as_of: Option<String>,
}

/// The prices of a whole market.
#[derive(Clone)]
pub(crate) enum Table {
    /// Decoded when it is first used, which takes some 30 ms.
    Builtin,
    Loaded(Arc<Calculator>),
    None,
}

impl Table {
    pub(crate) fn calculator(&self) -> Option<&Calculator> {
        match self {
            Self::Builtin => Some(Calculator::bundled()),
            Self::Loaded(calculator) => Some(calculator),
            Self::None => None,
        }
    }
}

impl PriceBook {
    /// Returns the table that is compiled in: that of the crate `genai-prices`, with the prices of some fifty providers, their history,
    /// tiers and batch rates.
    pub fn builtin() -> Self {
        let (source, as_of) = BUILTIN;
        Self {
            table: Table::Builtin,
            own: OwnPrices::default(),
            source: source.to_owned(),
            as_of: Some(as_of.to_owned()),
        }
    }

    /// Returns a book without any price, to which [`with_price`](Self::with_price) adds those that a program knows.
    pub fn empty() -> Self {
        let source = "prices of the program".to_owned();
        Self { table: Table::None, own: OwnPrices::default(), source, as_of: None }
    }

    /// Reads a file of prices, which is at most 16 MiB long. It is one of two kinds:
    ///
    /// - Data of `genai-prices` in its version 2, a JSON array, such as a newer release of the built-in table, which it replaces.
    /// - A JSON object with your own prices in US dollars for a million tokens, which come before those of the built-in table:
    ///
    /// ```json
    /// {
    ///   "as_of": "2026-11-01",
    ///   "prices": [
    ///     {"provider": "gemini", "model": "gemini-2.5-flash", "input": 0.30, "output": 2.50, "cache_read": 0.075},
    ///     {"provider": "local-server", "model": "*", "input": 0, "output": 0}
    ///   ]
    /// }
    /// ```
    ///
    /// The further members of a price are `cache_write`, `cache_write_1h` and `reasoning`.
    ///
    /// # Errors
    ///
    /// When the file can't be read, or is of neither kind.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, PriceError> {
        file::read(path.as_ref())
    }

    /// Sets the price of a model, or of all models of a provider whose names begin so, such as `gpt-5*` or `*`. The longest such
    /// beginning applies, and a whole name before them. Both are as on labels; letter case makes no difference. A price that was set
    /// for the same names is replaced.
    ///
    /// [`Builder::install`](crate::Builder::install) returns an error if a price is negative or not finite.
    #[must_use]
    pub fn with_price(mut self, provider: impl AsRef<str>, model: impl AsRef<str>, price: Price) -> Self {
        self.own.add(provider.as_ref(), model.as_ref(), price);
        self
    }

    /// Returns where the prices are from: `genai-prices` with its version, or the path of the file.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Returns the day when the prices were last verified, as their source says; `None` if it does not.
    pub fn as_of(&self) -> Option<&str> {
        self.as_of.as_deref()
    }

    /// Returns what a call would cost now, in US dollars; `None` if there is no price for the model, or not for all of the usage.
    pub fn cost(&self, provider: impl AsRef<str>, model: impl AsRef<str>, usage: &Usage) -> Option<f64> {
        self.tariff(provider.as_ref(), model.as_ref())?.whole_cost(usage).map(usd)
    }

    /// Returns what a million tokens of a model cost now, for a short prompt at the standard tier; `None` if that is unknown.
    pub fn price(&self, provider: impl AsRef<str>, model: impl AsRef<str>) -> Option<Price> {
        let [input, output, cache_read, cache_write, reasoning] =
            self.tariff(provider.as_ref(), model.as_ref())?.rates()?;
        let price = Price::new(input, output).with_cache_read(cache_read).with_cache_write(cache_write);
        Some(price.with_reasoning(reasoning))
    }

    /// Returns the models that have a price, as pairs of provider and model: those of the program first, then the table in its order, by
    /// the provider's id there.
    pub fn models(&self) -> impl Iterator<Item = (&str, &str)> {
        let table = self.table.calculator().into_iter().flat_map(Calculator::providers);
        self.own
            .names()
            .chain(table.flat_map(|provider| provider.models().map(move |model| (provider.id(), model.id()))))
    }

    /// Decodes the table, and says what is wrong with the prices of the program.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.table.calculator();
        self.own.mistake().map_or(Ok(()), Err)
    }

    /// Returns by what calls to a model are priced; `None` if nothing is known of the provider.
    pub(crate) fn tariff(&self, provider: &str, model: &str) -> Option<Tariff> {
        let own = self.own.find(provider, model).cloned();
        let table = self.table.calculator().and_then(|calculator| {
            let provider = table_id(provider);
            // An error is a rule that takes too long for this name.
            let known = calculator.find_provider(Some(provider), None).ok().flatten()?;
            Some((self.table.clone(), known.id().to_owned()))
        });
        Tariff::new(model, own, table)
    }
}

/// Returns the provider of the table for one as on labels. The table itself knows further names of most.
fn table_id(provider: &str) -> &str {
    match provider {
        // By its own rules it would be OpenAI.
        "azure_openai" | "azure.ai.openai" | "azure_ai" | "azure.ai.inference" => "azure",
        "grok" | "x_ai" => "x-ai",
        other => other,
    }
}

impl fmt::Debug for PriceBook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PriceBook").field("source", &self.source).field("as_of", &self.as_of).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
