//! Files of prices.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use genai_prices::Calculator;
use serde_json::{Map, Value};

use super::own::OwnPrices;
use super::{BUILTIN, Price, PriceBook, Table};
use crate::file;

/// In bytes; the built-in table has 0.8 MB.
const LARGEST: u64 = 16 * 1024 * 1024;

/// The error of [`PriceBook::from_file`].
pub struct PriceError {
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl fmt::Display for PriceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.source.as_ref().map_or(Ok(()), |source| write!(f, ": {source}"))
    }
}

impl fmt::Debug for PriceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PriceError({self})")
    }
}

impl Error for PriceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().and_then(|source| source.source())
    }
}

pub(super) fn read(path: &Path) -> Result<PriceBook, PriceError> {
    let shown = file::shown(path).to_string();
    let wrong = |what: &str, source: Option<Box<dyn Error + Send + Sync>>| PriceError {
        message: format!("the prices in {shown} {what}"),
        source,
    };
    let bytes = file::resolve(path)
        .and_then(|path| file::read(&path, LARGEST))
        .map_err(|error: io::Error| wrong("can't be read", Some(error.into())))?;
    let is_table = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    if is_table {
        let calculator = Calculator::from_json(&bytes)
            .map_err(|error| wrong("are not data of genai-prices version 2", Some(error.into())))?;
        let table = Table::Loaded(Arc::new(calculator));
        return Ok(PriceBook { table, own: OwnPrices::default(), source: shown, as_of: None });
    }
    let mistake = |why: String| wrong(&format!("are not valid: {why}"), None);
    let value = serde_json::from_slice(&bytes).map_err(|error| mistake(error.to_string()))?;
    let (own, as_of) = own_prices(&value).map_err(mistake)?;
    let source = format!("{shown}, over {}", BUILTIN.0);
    Ok(PriceBook { table: Table::Builtin, own, source, as_of })
}

fn own_prices(value: &Value) -> Result<(OwnPrices, Option<String>), String> {
    let prices = value.get("prices").and_then(Value::as_array).ok_or("there is no list `prices`")?;
    let mut own = OwnPrices::default();
    for (at, price) in prices.iter().enumerate() {
        let price = price.as_object().ok_or_else(|| format!("price {} is no object", at + 1))?;
        add(&mut own, price).map_err(|why| format!("price {} {why}", at + 1))?;
    }
    if let Some(mistake) = own.mistake() {
        return Err(mistake);
    }
    Ok((own, value.get("as_of").and_then(Value::as_str).map(str::to_owned)))
}

fn add(own: &mut OwnPrices, members: &Map<String, Value>) -> Result<(), String> {
    let text = |name: &str| members.get(name).and_then(Value::as_str).ok_or_else(|| format!("has no text `{name}`"));
    let number = |name: &str| match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_f64().map(Some).ok_or_else(|| format!("has a `{name}` that is no number")),
    };
    let known = ["provider", "model", "input", "output", "cache_read", "cache_write", "cache_write_1h", "reasoning"];
    if let Some(unknown) = members.keys().find(|name| !known.contains(&name.as_str())) {
        return Err(format!("has `{unknown}`, which is none of {}", known.join(", ")));
    }
    let (provider, model) = (text("provider")?, text("model")?);
    let required = |name: &str| number(name)?.ok_or_else(|| format!("has no `{name}`"));
    let mut price = Price::new(required("input")?, required("output")?);
    type Setter = fn(Price, f64) -> Price;
    let setters: [(&str, Setter); 4] = [
        ("cache_read", Price::with_cache_read),
        ("cache_write", Price::with_cache_write),
        ("cache_write_1h", Price::with_cache_write_1h),
        ("reasoning", Price::with_reasoning),
    ];
    for (name, set) in setters {
        if let Some(usd) = number(name)? {
            price = set(price, usd);
        }
    }
    own.add(provider, model, price);
    Ok(())
}
