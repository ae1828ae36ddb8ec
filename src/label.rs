//! What providers, models and label values become, so that labels and span names stay short and readable.

use std::borrow::Cow;

/// The longest label value, in bytes; a longer one is cut at a character.
const MAX_VALUE_BYTES: usize = 128;

/// Returns a provider or model as it is on labels and in span names; `None` if it is blank.
pub(crate) fn clean_pair_name(name: &str) -> Option<Cow<'_, str>> {
    if is_clean(name) && !name.starts_with(' ') && !name.ends_with(' ') && !name.starts_with("models/") {
        return (!name.is_empty()).then_some(Cow::Borrowed(name));
    }
    // Gemini lists its models with this prefix and takes them with and without.
    let name = name.trim().trim_start_matches("models/").trim();
    let name = name[..name.floor_char_boundary(MAX_VALUE_BYTES)].trim_end();
    (!name.is_empty()).then(|| clean_value(name))
}

/// Cuts a value to its limit, and replaces quotes, backslashes and control characters: they make labels hard to read and to
/// query, and not every exporter escapes them right.
pub(crate) fn clean_value(value: &str) -> Cow<'_, str> {
    if is_clean(value) {
        return Cow::Borrowed(value);
    }
    let value = &value[..value.floor_char_boundary(MAX_VALUE_BYTES)];
    if !value.contains(|c: char| replacement(c) != c) {
        return Cow::Borrowed(value);
    }
    let clean: String = value.chars().map(replacement).collect();
    Cow::Owned(clean)
}

/// Whether a value is short and of characters that stay, as nearly all are; quicker than to look at characters.
fn is_clean(value: &str) -> bool {
    value.len() <= MAX_VALUE_BYTES
        && value.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\')
}

fn replacement(c: char) -> char {
    match c {
        '"' => '\'',
        '\\' => '/',
        c if c.is_control() => '_',
        c => c,
    }
}
