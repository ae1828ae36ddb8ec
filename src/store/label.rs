//! Labels the page can show, whatever a program or its users put into them.

use std::borrow::Cow;

use metrics::{Key, Label};

use super::name::sanitized;
use crate::label::{clean_pair_name, clean_value};

/// What a blank provider or model becomes.
pub(crate) const UNKNOWN: &str = "unknown";

/// What stands for every value beyond the bound.
pub(crate) const OTHER: &str = "other";

/// Returns the labels of a key as the page can have them, or `None` when they are so already. One that every series has is left
/// out: with it and without it the series is the same.
pub(super) fn clean(key: &Key, global: &[(String, String)]) -> Option<Vec<Label>> {
    let is_global =
        |name: &str, value: &str| global.iter().any(|(of_all, of_all_value)| of_all == name && of_all_value == value);
    let labels = key.labels().as_slice();
    let dirty = labels.iter().enumerate().any(|(index, label)| {
        !is_label_name(label.key())
            || labels[..index].iter().any(|earlier| earlier.key() == label.key())
            || clean_value(label.value()) != label.value()
            || is_global(label.key(), label.value())
    });
    dirty.then(|| {
        let mut clean: Vec<Label> = Vec::with_capacity(labels.len());
        for label in labels {
            let name = clean_name(label.key());
            // Prometheus refuses the whole page for one label name that comes twice; the first one stays.
            if clean.iter().all(|earlier| earlier.key() != name) {
                clean.push(Label::new(name, clean_value(label.value()).into_owned()));
            }
        }
        clean.retain(|label| !is_global(label.key(), label.value()));
        clean
    })
}

/// Whether this can be the name of a label.
///
/// `le` and `quantile` belong to the format, and names that start with two underscores to Prometheus.
pub(crate) fn is_label_name(name: &str) -> bool {
    let valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty()
        && name.chars().all(valid)
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.starts_with("__")
        && !matches!(name, "le" | "quantile")
}

fn clean_name(name: &str) -> String {
    match name {
        "le" | "quantile" => format!("exported_{name}"),
        "" => "_".to_owned(),
        _ => {
            let name = sanitized(name).replace(':', "_");
            // What is replaced may be what makes it one of Prometheus' own: `_.name__`.
            if name.starts_with("__") { format!("_{}", name.trim_start_matches('_')) } else { name }
        }
    }
}

/// Returns a provider or model as it is on the labels of `llm` metrics.
pub(super) fn clean_name_of_pair(name: &str) -> Cow<'_, str> {
    clean_pair_name(name).unwrap_or(Cow::Borrowed(UNKNOWN))
}
