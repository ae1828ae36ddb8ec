//! Patterns of the metrics that are left out.

use std::str::FromStr;

/// A pattern for names of metrics, in code or on the page, with `*` for any text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern(Box<str>);

impl Pattern {
    #[cfg(test)]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the whole name matches.
    pub(crate) fn matches(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        for part in parts {
            // The first match is the best one: it leaves the longest rest for the following parts.
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last)
    }
}

impl FromStr for Pattern {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_of_names = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-/*".contains(&byte);
        if text.trim().is_empty() {
            Err("the pattern is blank")
        } else if text.bytes().all(is_of_names) {
            Ok(Self(text.into()))
        } else {
            Err("not the name of a metric: letters, digits and `_.:-/`, with `*` for any text")
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        pattern.parse::<Pattern>().expect("a pattern").matches(name)
    }

    #[test]
    fn a_name_matches_itself_and_nothing_else() {
        assert!(matches("llm.wait", "llm.wait"));
        for name in ["llm.waits", "llm", "xllm.wait", "llm_wait", "LLM.wait", ""] {
            assert!(!matches("llm.wait", name), "{name}");
        }
    }

    #[test]
    fn a_star_is_any_text_also_none() {
        for (pattern, name) in [
            ("llm.attempt.*", "llm.attempt.errors"),
            ("llm.attempt.*", "llm.attempt."),
            ("llm.attempt*", "llm.attempts"),
            ("*_total", "llm_requests_total"),
            ("*chunk*", "llm_time_to_first_chunk_seconds"),
            ("llm_*_total", "llm_tokens_prompt_total"),
            ("a*b*a", "abxba"),
            ("**", "x"),
            ("*", ""),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("llm.attempt.*", "llm.attempts"), ("a*a", "a"), ("*ab*b", "ab"), ("a*b*c", "acb")] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn what_is_no_name_is_no_pattern() {
        for text in ["", " ", "llm wait", "llm.*,x", "ä*", "llm?", "llm.{a,b}", "llm\n", "[a-z]*", "a=b"] {
            assert!(text.parse::<Pattern>().is_err(), "{text:?}");
        }
    }

    /// The same by trying every text a star may stand for.
    fn matches_by_trial(pattern: &[u8], name: &[u8]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some((b'*', rest)) => (0..=name.len()).any(|skipped| matches_by_trial(rest, &name[skipped..])),
            Some((byte, rest)) => {
                name.split_first().is_some_and(|(first, name)| first == byte && matches_by_trial(rest, name))
            }
        }
    }

    proptest! {
        #[test]
        fn any_pattern_matches_as_by_trial(pattern in "[ab.*]{1,8}", name in "[ab.]{0,8}") {
            prop_assert_eq!(matches(&pattern, &name), matches_by_trial(pattern.as_bytes(), name.as_bytes()));
        }
    }
}
