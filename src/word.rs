//! Enums whose values are parsed from single words, as in environment variables and configuration files.

use std::error::Error;
use std::fmt;

/// The error of parsing an enum of this crate from a text that is none of its words.
///
/// It lists the words. It does not contain the text, which may be a secret in the wrong place.
///
/// ```
/// use botticelli_obs::ErrorType;
///
/// let error = "ratelimit".parse::<ErrorType>().unwrap_err();
/// assert!(error.to_string().starts_with("not one of rate_limit, quota, auth"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    words: &'static [&'static str],
}

impl ParseError {
    pub(crate) const fn not_one_of(words: &'static [&'static str]) -> Self {
        Self { words }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not one of {}", self.words.join(", "))
    }
}

impl Error for ParseError {}

/// Implements `Display`, and `FromStr` ignoring ASCII case, for an enum. For a variant with a field, `FromStr` uses the value that
/// is given here.
macro_rules! words {
    ($type:ident: $($word:literal = $variant:ident $(($value:expr))?),+ $(,)?) => {
        impl ::std::str::FromStr for $type {
            type Err = $crate::word::ParseError;

            fn from_str(text: &str) -> ::std::result::Result<Self, Self::Err> {
                const WORDS: &[&str] = &[$($word),+];
                const VALUES: &[$type] = &[$($type::$variant $(($value))?),+];
                let found = WORDS.iter().position(|word| word.eq_ignore_ascii_case(text));
                found.map(|index| VALUES[index]).ok_or(Self::Err::not_one_of(WORDS))
            }
        }

        impl ::std::fmt::Display for $type {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(match self {
                    $(Self::$variant { .. } => $word,)+
                })
            }
        }
    };
}

pub(crate) use words;

#[cfg(test)]
mod tests {
    use std::fmt::Display;
    use std::str::FromStr;

    use super::ParseError;
    use crate::ErrorType;

    /// Asserts that a type is parsed from these words in any case, and from no other text.
    fn assert_words<T: FromStr<Err = ParseError> + Display + std::fmt::Debug>(words: &[&str]) {
        for word in words {
            for text in [(*word).to_owned(), word.to_ascii_uppercase()] {
                let parsed: T = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
                assert_eq!(parsed.to_string(), *word);
            }
            assert_eq!(format!("{:>40}", word.parse::<T>().expect("a word")).trim_start(), *word);
        }
        for text in ["", " ", "nonsense", &format!(" {}", words[0]), &format!("{}x", words[0]), &words.join(",")] {
            let error = text.parse::<T>().expect_err(text);
            assert_eq!(error.to_string(), format!("not one of {}", words.join(", ")));
        }
    }

    #[test]
    fn error_types_are_their_label_values() {
        assert_words::<ErrorType>(&ErrorType::ALL.iter().map(|error| error.as_str()).collect::<Vec<_>>());
    }

    #[cfg(feature = "install")]
    #[test]
    fn enums_of_settings_have_the_words_of_their_variables() {
        use crate::{FailurePolicy, GenAiMetrics, LogFormat, OtlpProtocol, Sampler, TraceExporter};

        assert_words::<FailurePolicy>(&["fail", "degrade"]);
        assert_words::<GenAiMetrics>(&["1.41", "genai-0.1"]);
        assert_words::<LogFormat>(&["text", "json", "off"]);
        assert_words::<OtlpProtocol>(&["grpc", "http/protobuf"]);
        assert_words::<TraceExporter>(&["otlp", "console", "none"]);
        assert_words::<Sampler>(&[
            "always_on",
            "always_off",
            "traceidratio",
            "parentbased_always_on",
            "parentbased_always_off",
            "parentbased_traceidratio",
        ]);
    }
}
