//! The rate limits that the headers of an answer state. Feature `http`.

use std::time::{Duration, SystemTime};

use http::HeaderMap;

/// The headers of providers and gateways: the parts of the name before and after `limit` or `remaining`, and the kind. If several
/// headers have the same kind, the first row wins.
const HEADERS: &[(&str, &str, &str)] = &[
    // OpenAI, Azure, Groq, xAI, SambaNova, GitHub Models and most others.
    ("x-ratelimit-", "-requests", "requests"),
    ("x-ratelimit-", "-tokens", "tokens"),
    ("x-ratelimit-", "-input-tokens", "input_tokens"),
    ("x-ratelimit-", "-output-tokens", "output_tokens"),
    // Anthropic. The last four stand beside the first in the tier that they are for.
    ("anthropic-ratelimit-requests-", "", "requests"),
    ("anthropic-ratelimit-tokens-", "", "tokens"),
    ("anthropic-ratelimit-input-tokens-", "", "input_tokens"),
    ("anthropic-ratelimit-output-tokens-", "", "output_tokens"),
    ("anthropic-priority-input-tokens-", "", "input_tokens"),
    ("anthropic-priority-output-tokens-", "", "output_tokens"),
    ("anthropic-fast-input-tokens-", "", "input_tokens"),
    ("anthropic-fast-output-tokens-", "", "output_tokens"),
    // Cerebras; Mistral, which writes `req`; DigitalOcean, which writes `per`; SambaNova.
    ("x-ratelimit-", "-requests-minute", "requests_minute"),
    ("x-ratelimit-", "-requests-hour", "requests_hour"),
    ("x-ratelimit-", "-requests-day", "requests_day"),
    ("x-ratelimit-", "-req-minute", "requests_minute"),
    ("x-ratelimit-", "-tokens-minute", "tokens_minute"),
    ("x-ratelimit-", "-tokens-hour", "tokens_hour"),
    ("x-ratelimit-", "-tokens-day", "tokens_day"),
    ("x-ratelimit-", "-tokens-per-minute", "tokens_minute"),
    ("x-ratelimit-", "-tokens-per-day", "tokens_day"),
    // Fireworks.
    ("x-ratelimit-", "-tokens-prompt", "input_tokens"),
    ("x-ratelimit-", "-tokens-generated", "output_tokens"),
    // Together: requests and tokens. OpenRouter and Moonshot: requests.
    ("x-ratelimit-", "", "requests"),
    ("x-tokenlimit-", "", "tokens"),
    // Keys of a trial at Cohere.
    ("x-trial-endpoint-call-", "", "requests"),
    // OpenAI, where the limit of a project or of a plan is the only one stated.
    ("x-ratelimit-", "-project-tokens", "tokens"),
    ("x-ratelimit-", "-tokens_usage_based", "tokens"),
    // Earlier drafts of the IETF; the current one is read by `standard`.
    ("ratelimit-", "", "requests"),
];

/// The row of the IETF draft, and that of APISIX, whose headers end in the name of an instance. They come after the table.
const STANDARD: usize = HEADERS.len();
const APISIX: usize = HEADERS.len() + 1;

/// The rate limits in the headers of an answer, and how long to wait before the next request.
///
/// Every kind is at most once in it. A header that is not known, or whose value is not a plain number, is left out; so are
/// the `-1` with which Azure says that it does not know, and headers of one name that contradict each other.
///
/// ```
/// use botticelli_obs::RateLimits;
/// use botticelli_obs::propagation::HeaderMap;
///
/// let mut headers = HeaderMap::new();
/// headers.insert("x-ratelimit-limit-tokens", "30000".parse()?);
/// headers.insert("x-ratelimit-remaining-tokens", "29250".parse()?);
/// headers.insert("x-ratelimit-limit-requests", "-1".parse()?);
///
/// let limits = RateLimits::from_headers(&headers);
/// let limits: Vec<_> = limits.iter().map(|limit| (limit.kind(), limit.limit(), limit.remaining())).collect();
/// assert_eq!(limits, [("tokens", Some(30_000.0), Some(29_250.0))]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RateLimits {
    limits: Vec<RateLimit>,
    retry_after: Option<Duration>,
}

/// One of the [`RateLimits`] of a provider.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateLimit {
    kind: &'static str,
    limit: Option<f64>,
    remaining: Option<f64>,
}

impl RateLimit {
    /// Returns what is limited: `requests`, `tokens`, `input_tokens` or `output_tokens`. If a provider states several limits, it
    /// ends in `_minute`, `_hour` or `_day`.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Returns how many requests or tokens the provider allows in the period of the limit.
    pub fn limit(&self) -> Option<f64> {
        self.limit
    }

    /// Returns how many of them are left.
    pub fn remaining(&self) -> Option<f64> {
        self.remaining
    }
}

impl RateLimits {
    /// Reads the headers of an answer.
    ///
    /// It knows those of OpenAI, Azure, Anthropic, Groq, Cerebras, Mistral, Together, Fireworks, OpenRouter, xAI, SambaNova,
    /// GitHub Models, DigitalOcean, Moonshot, Cohere and APISIX, and the drafts of the IETF.
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        let known = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().ok()));
        Self { limits: limits(known), retry_after: retry_after(text) }
    }

    /// Iterates over the limits, one of each kind.
    pub fn iter(&self) -> impl Iterator<Item = RateLimit> {
        self.limits.iter().copied()
    }

    /// Returns how long to wait before the next request, as `retry-after-ms` or `retry-after` says: in milliseconds, in seconds,
    /// or until a date. A date in the past is 0 seconds.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

/// What one row of the table states. `None`: nothing; `Some(None)`: something that is not to be trusted.
#[derive(Clone, Copy, Default)]
struct Stated {
    limit: Option<Option<f64>>,
    remaining: Option<Option<f64>>,
}

impl Stated {
    fn add(&mut self, word: Word, value: Option<f64>) {
        let place = match word {
            Word::Limit => &mut self.limit,
            Word::Remaining => &mut self.remaining,
        };
        *place = Some(match place {
            Some(earlier) if *earlier != value => None,
            _ => value,
        });
    }

    fn is_known(&self) -> bool {
        self.limit.flatten().or(self.remaining.flatten()).is_some()
    }
}

#[derive(Clone, Copy)]
enum Word {
    Limit,
    Remaining,
}

fn limits<'a>(headers: impl Iterator<Item = (&'a str, Option<&'a str>)>) -> Vec<RateLimit> {
    let mut rows = [Stated::default(); HEADERS.len() + 2];
    for (name, value) in headers {
        match name {
            "ratelimit" => rows[STANDARD].add(Word::Remaining, value.and_then(|value| standard(value, 'r'))),
            "ratelimit-policy" => rows[STANDARD].add(Word::Limit, value.and_then(|value| standard(value, 'q'))),
            name => {
                if let Some((row, word)) = row(name) {
                    rows[row].add(word, value.and_then(number));
                }
            }
        }
    }
    let mut limits: Vec<RateLimit> = Vec::new();
    for (row, stated) in rows.iter().enumerate().filter(|(_, stated)| stated.is_known()) {
        let kind = match row {
            STANDARD => "requests",
            APISIX => "tokens",
            row => HEADERS[row].2,
        };
        if limits.iter().all(|limit| limit.kind != kind) {
            limits.push(RateLimit { kind, limit: stated.limit.flatten(), remaining: stated.remaining.flatten() });
        }
    }
    limits
}

/// Returns the row of a header's name, and which of the two numbers it has.
fn row(name: &str) -> Option<(usize, Word)> {
    if !(name.contains("limit") || name.contains("remaining")) {
        return None;
    }
    for (word, text) in [(Word::Remaining, "remaining"), (Word::Limit, "limit")] {
        let is = |(before, after, _): &(&str, &str, &str)| {
            name.strip_prefix(before).and_then(|rest| rest.strip_prefix(text)).is_some_and(|rest| rest == *after)
        };
        if let Some(row) = HEADERS.iter().position(is) {
            return Some((row, word));
        }
        if name.strip_prefix("x-ai-ratelimit-").is_some_and(|rest| rest.starts_with(text)) {
            return Some((APISIX, word));
        }
    }
    None
}

/// Reads a parameter of the first item in `"api";r=120;t=30` or `"api";q=1000;w=60`, the headers of
/// draft-ietf-httpapi-ratelimit-headers.
fn standard(value: &str, parameter: char) -> Option<f64> {
    let item = value.split(',').next()?;
    let mut parameters = item.split(';').skip(1).filter_map(|text| text.trim().strip_prefix(parameter));
    parameters.find_map(|text| number(text.strip_prefix('=')?))
}

/// Reads a number that is written with digits and at most one point.
fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    let is_plain = text.starts_with(|first: char| first.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    // Above 2^53 an integer of a gauge is no longer exact, and no limit is that high.
    text.parse().ok().filter(|number| is_plain && *number <= 9_007_199_254_740_992.0)
}

fn retry_after<'a>(text: impl Fn(&str) -> Option<&'a str>) -> Option<Duration> {
    let seconds = |name| text(name).and_then(number).and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let date = |name| httpdate::parse_http_date(text(name)?).ok();
    let until = || {
        // The server's own clock, so that a wrong one on this side does not count.
        let now = date("date").unwrap_or_else(SystemTime::now);
        Some(date("retry-after")?.duration_since(now).unwrap_or_default())
    };
    let milliseconds = text("retry-after-ms").and_then(number);
    let milliseconds = milliseconds.and_then(|number| Duration::try_from_secs_f64(number / 1000.0).ok());
    // The last is that of GitHub Models.
    milliseconds.or_else(|| seconds("retry-after")).or_else(until).or_else(|| seconds("x-ratelimit-timeremaining"))
}
