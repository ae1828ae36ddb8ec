//! Makes labels that are valid on the page from any text of a program or its users.

use std::borrow::Cow;

use metrics::{Key, Label};

use super::name::sanitized;
use crate::label::{clean_pair_name, clean_value};

/// The label value for a blank provider or model.
pub(crate) const UNKNOWN: &str = "unknown";

/// The label value of series for label sets beyond the bound.
pub(crate) const OTHER: &str = "other";

/// Returns clean labels for a key, or `None` if its labels are clean. A label that equals a global label is left out, because the
/// series is the same with and without it.
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
            // Prometheus rejects a page if a series has two labels of one name. The first label is kept.
            if clean.iter().all(|earlier| earlier.key() != name) {
                clean.push(Label::new(name, clean_value(label.value()).into_owned()));
            }
        }
        clean.retain(|label| !is_global(label.key(), label.value()));
        clean
    })
}

/// Returns whether this is a valid name of a label.
///
/// `le` and `quantile` are reserved by the format, names that start with two underscores by Prometheus.
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

/// Returns the label value for a provider or model.
pub(super) fn clean_name_of_pair(name: &str) -> Cow<'_, str> {
    clean_pair_name(name).unwrap_or(Cow::Borrowed(UNKNOWN))
}
