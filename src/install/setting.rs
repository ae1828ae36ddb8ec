//! The text of a setting from a variable or from code, and its parsers.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tracing_subscriber::EnvFilter;

use super::error::InstallError;
use crate::store;

pub(super) type Parsed<T> = Result<T, InstallError>;

/// The text of a setting, with the name of its environment variable or builder method for errors.
///
/// Every parser uses the whole text, or returns an error that names the setting.
#[derive(Clone, Copy)]
pub(crate) struct Setting<'a> {
    pub(super) name: &'a str,
    pub(super) value: &'a str,
}

impl<'a> Setting<'a> {
    pub(super) fn new(name: &'a str, value: &'a str) -> Self {
        Self { name, value }
    }

    /// Creates an error that shows the value. `why` says what is wrong and what would be valid.
    pub(super) fn invalid(self, why: impl fmt::Display) -> InstallError {
        InstallError::invalid(self.name, self.value, why)
    }

    /// Creates an error without the value, which may be a secret.
    pub(super) fn invalid_secret(self, why: impl fmt::Display) -> InstallError {
        InstallError::invalid_secret(self.name, why)
    }

    /// Parses with `FromStr`.
    pub(super) fn parse<T: FromStr<Err: fmt::Display>>(self) -> Parsed<T> {
        self.value.parse().map_err(|error| self.invalid(error))
    }

    /// Parses one of these words, ignoring ASCII case.
    pub(super) fn word<T: Copy>(self, words: &[(&str, T)]) -> Parsed<T> {
        let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(self.value));
        found.map(|&(_, meaning)| meaning).ok_or_else(|| {
            let words: Vec<&str> = words.iter().map(|&(word, _)| word).collect();
            self.invalid(format!("not one of {}", words.join(", ")))
        })
    }

    /// Whether the value is `off` or `none`, which turn off whatever is configured by a place: an address, an endpoint, a file.
    pub(super) fn is_off(self) -> bool {
        OFF.iter().any(|off| off.eq_ignore_ascii_case(self.value))
    }

    pub(super) fn boolean(self) -> Parsed<bool> {
        self.word(&[("true", true), ("false", false)])
    }

    /// Splits a comma-separated list and leaves out empty items. A list without any other item is an error.
    pub(super) fn list(self) -> Parsed<Vec<Self>> {
        let items = self.value.split(',').map(str::trim).filter(|item| !item.is_empty());
        let items: Vec<Self> = items.map(|value| Self { value, ..self }).collect();
        if items.is_empty() { Err(self.invalid("the list has no items")) } else { Ok(items) }
    }

    /// Parses a list of words. The word `none` or `off`, which must be the only one, is an empty list.
    pub(super) fn words_or_none<T: Copy + PartialEq>(self, words: &[(&str, T)]) -> Parsed<Vec<T>> {
        let words: Vec<(&str, Option<T>)> =
            words.iter().map(|&(word, meaning)| (word, Some(meaning))).chain(OFF.map(|off| (off, None))).collect();
        let listed: Vec<Option<T>> =
            self.list()?.into_iter().map(|item| item.word(&words)).collect::<Result<_, _>>()?;
        if listed.contains(&None) && listed.len() > 1 {
            return Err(self.invalid("`none` and `off` can't be combined with other words"));
        }
        Ok(listed.into_iter().flatten().collect())
    }

    /// Parses a whole number in this range that is written in digits only.
    pub(super) fn number<T: TryFrom<u64>>(self, range: RangeInclusive<u64>) -> Parsed<T> {
        self.number_of("", range)
    }

    /// `of` is what is counted, for errors.
    fn number_of<T: TryFrom<u64>>(self, of: &str, range: RangeInclusive<u64>) -> Parsed<T> {
        let digits = Some(self.value).filter(|value| value.bytes().all(|byte| byte.is_ascii_digit()));
        let number = digits.and_then(|digits| digits.parse().ok()).filter(|number| range.contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| self.invalid(format!("not a whole number{of} from {} to {}", range.start(), range.end())))
    }

    /// Parses a limit of a span, which may be 0.
    pub(super) fn limit(self) -> Parsed<u32> {
        self.number(0..=u32::MAX.into())
    }

    /// Parses a number of spans from 1 to 1,000,000: the queue is allocated at the start, and more take over a gigabyte.
    pub(super) fn spans(self) -> Parsed<usize> {
        self.number_of(" of spans", 1..=1_000_000)
    }

    /// Parses a time in milliseconds, from 1 to 86,400,000 (one day).
    pub(super) fn milliseconds(self) -> Parsed<Duration> {
        self.number_of(" of milliseconds", 1..=86_400_000).map(Duration::from_millis)
    }

    /// Parses a number from 0.0 to 1.0.
    pub(super) fn ratio(self) -> Parsed<f64> {
        let parsed = self.value.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
        parsed.ok_or_else(|| self.invalid("not a number from 0.0 to 1.0"))
    }

    /// Checks directives of an `EnvFilter`, such as `info,hyper=warn`. Returns them without blanks around each directive.
    pub(super) fn directives(self) -> Parsed<String> {
        let wrong = |why: &str| self.invalid(format!("{why}; write directives such as `info` or `info,hyper=warn`"));
        let directives: Vec<&str> = self.list()?.into_iter().map(|item| item.value).collect();
        for directive in &directives {
            let target = directive.split(['=', '[']).next().unwrap_or_default();
            // `EnvFilter` would accept `info hyper` as the name of a target, and turn everything else off.
            if target.contains(|c: char| c.is_whitespace() || c == ';') {
                return Err(wrong("directives are separated by commas"));
            }
        }
        // The directives are joined without blanks: for a blank before a directive, `EnvFilter` of tracing-subscriber 0.3.23 uses
        // wrong offsets, and panics if one is inside a character.
        let directives = directives.join(",");
        match EnvFilter::builder().parse(&directives) {
            Ok(_) => Ok(directives),
            Err(error) => Err(wrong(&error.to_string())),
        }
    }

    /// Parses a list `key=value,key=value` with percent-encoded keys and values, as in resource attributes and headers.
    ///
    /// Errors don't contain the list, which may have secrets.
    pub(super) fn pairs(self) -> Parsed<Vec<(String, String)>> {
        self.list()?
            .into_iter()
            .enumerate()
            .map(|(index, item)| {
                let wrong = |why| self.invalid_secret(format!("item {} {why}: write `key=value,…`", index + 1));
                let (key, value) = item.value.split_once('=').ok_or_else(|| wrong("has no `=`"))?;
                let key = decode(key.trim()).ok_or_else(|| wrong("has a key that is not UTF-8"))?;
                let value = decode(value.trim()).ok_or_else(|| wrong("has a value that is not UTF-8"))?;
                if key.is_empty() { Err(wrong("has no key")) } else { Ok((key, value)) }
            })
            .collect()
    }

    /// Checks the bucket bounds for the metric of this name. Returns them in ascending order, without duplicates.
    pub(super) fn buckets(self, bounds: &[f64]) -> Parsed<Vec<f64>> {
        if self.value.trim().is_empty() {
            return Err(self.invalid("the metric has no name"));
        }
        if bounds.is_empty() {
            return Err(self.invalid("there are no bounds"));
        }
        if bounds.iter().any(|bound| !bound.is_finite()) {
            return Err(self.invalid("a bound is not finite; the bucket up to infinity is always there"));
        }
        let mut sorted = bounds.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted.dedup();
        Ok(sorted)
    }

    /// Checks the name of a global label.
    pub(super) fn label_name(self) -> Parsed<String> {
        if store::is_label_name(self.value) {
            Ok(self.value.to_owned())
        } else {
            Err(self.invalid(
                "not a label name: letters, digits and `_`, not starting with a digit or `__`, and neither `le` nor \
                 `quantile`",
            ))
        }
    }
}

/// The words that turn something off.
const OFF: [&str; 2] = ["none", "off"];

fn decode(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(Into::into)
}
