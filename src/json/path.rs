//! Finds values in JSON by paths such as `usage.prompt_tokens`.

use serde_json::Value;

/// Returns the value at a path, or null. A part of digits is an index. The empty path is the value itself.
pub(super) fn at<'a>(mut json: &'a Value, mut path: &str) -> &'a Value {
    // Looked up in every event, and mostly not there.
    while !path.is_empty() && !json.is_null() {
        let end = path.bytes().position(|byte| byte == b'.');
        let (part, rest) = end.map_or((path, ""), |end| (&path[..end], &path[end + 1..]));
        json = match part.as_bytes() {
            [b'0'..=b'9', ..] => part.parse().map_or(&Value::Null, |index: usize| &json[index]),
            _ => &json[part],
        };
        path = rest;
    }
    json
}

/// Returns the count at a path, in which `*` is the sum over an array. ` + ` adds the counts of several paths.
pub(super) fn count(json: &Value, paths: &str) -> Option<u64> {
    if !paths.bytes().any(|byte| matches!(byte, b'+' | b'*')) {
        return number(at(json, paths));
    }
    let counts = paths.split(" + ").filter_map(|path| match path.split_once(".*.") {
        Some((array, rest)) => {
            let items = at(json, array).as_array()?.iter();
            items.filter_map(|item| count(item, rest)).reduce(u64::saturating_add)
        }
        None => number(at(json, path)),
    });
    counts.reduce(u64::saturating_add)
}

/// Returns the first count that is not 0, or else the first one.
pub(super) fn first_count(json: &Value, paths: &[&str]) -> Option<u64> {
    let counts = || paths.iter().filter_map(|path| count(json, path));
    counts().find(|count| *count > 0).or_else(|| counts().next())
}

/// Reads a number that is not negative. Some proxies write integers as `12.0`, and some as text.
pub(super) fn number(json: &Value) -> Option<u64> {
    let of_text = || json.as_str()?.parse().ok();
    let float = || json.as_f64().filter(|number| *number >= 0.0).map(|number| number as u64);
    json.as_u64().or_else(float).or_else(of_text)
}
