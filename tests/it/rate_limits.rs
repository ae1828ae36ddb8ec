//! The rate limits that providers' headers state. The headers are from the providers' documentation, or from recorded answers.

use std::time::Duration;

use botticelli_obs::RateLimits;
use botticelli_obs::propagation::HeaderMap;
use proptest::prelude::*;

fn read(headers: &[(&str, &str)]) -> RateLimits {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name: http::HeaderName = name.parse().expect("a header's name");
        map.append(name, value.parse().expect("a header's value"));
    }
    RateLimits::from_headers(&map)
}

/// Checks limit and remaining of each kind, regardless of the order.
#[track_caller]
fn assert_limits(headers: &[(&str, &str)], expected: &[(&str, Option<f64>, Option<f64>)]) {
    let limits = read(headers);
    let mut limits: Vec<_> = limits.iter().map(|limit| (limit.kind(), limit.limit(), limit.remaining())).collect();
    let mut expected = expected.to_vec();
    limits.sort_by_key(|(kind, ..)| *kind);
    expected.sort_by_key(|(kind, ..)| *kind);
    assert_eq!(limits, expected);
}

#[test]
fn openai_azure_and_groq_state_requests_and_tokens() {
    assert_limits(
        &[
            ("x-ratelimit-limit-requests", "14400"),
            ("x-ratelimit-limit-tokens", "18000"),
            ("x-ratelimit-remaining-requests", "14370"),
            ("x-ratelimit-remaining-tokens", "17997"),
            ("x-ratelimit-reset-requests", "2m59.56s"),
            ("x-ratelimit-reset-tokens", "7.66s"),
        ],
        &[("requests", Some(14_400.0), Some(14_370.0)), ("tokens", Some(18_000.0), Some(17_997.0))],
    );
}

#[test]
fn limits_of_a_project_count_where_there_is_no_other() {
    let project = [("x-ratelimit-limit-project-tokens", "9"), ("x-ratelimit-remaining-project-tokens", "8")];
    assert_limits(&project, &[("tokens", Some(9.0), Some(8.0))]);
    assert_limits(&[project[0], project[1], ("x-ratelimit-limit-tokens", "100")], &[("tokens", Some(100.0), None)]);
    assert_limits(&[("x-ratelimit-remaining-tokens_usage_based", "7")], &[("tokens", None, Some(7.0))]);
}

#[test]
fn anthropic_states_input_and_output() {
    assert_limits(
        &[
            ("anthropic-ratelimit-requests-limit", "50"),
            ("anthropic-ratelimit-requests-remaining", "49"),
            ("anthropic-ratelimit-requests-reset", "2025-01-12T23:11:59Z"),
            ("anthropic-ratelimit-tokens-limit", "60000"),
            ("anthropic-ratelimit-tokens-remaining", "59000"),
            ("anthropic-ratelimit-input-tokens-limit", "50000"),
            ("anthropic-ratelimit-input-tokens-remaining", "49000"),
            ("anthropic-ratelimit-output-tokens-limit", "10000"),
            ("anthropic-ratelimit-output-tokens-remaining", "10000"),
            // Of a tier that this request may not have used.
            ("anthropic-priority-input-tokens-limit", "1"),
            ("anthropic-ratelimit-unified-status", "allowed"),
            ("anthropic-ratelimit-unified-5h-utilization", "0.25"),
        ],
        &[
            ("requests", Some(50.0), Some(49.0)),
            ("tokens", Some(60_000.0), Some(59_000.0)),
            ("input_tokens", Some(50_000.0), Some(49_000.0)),
            ("output_tokens", Some(10_000.0), Some(10_000.0)),
        ],
    );
    assert_limits(&[("anthropic-fast-output-tokens-remaining", "5")], &[("output_tokens", None, Some(5.0))]);
}

#[test]
fn providers_with_several_periods_name_them() {
    assert_limits(
        &[
            ("x-ratelimit-limit-requests-day", "1000"),
            ("x-ratelimit-remaining-requests-minute", "29"),
            ("x-ratelimit-remaining-tokens-hour", "900000"),
            ("x-ratelimit-limit-tokens-day", "1000000"),
            ("x-ratelimit-reset-tokens-day", "33011.382867"),
        ],
        &[
            ("requests_day", Some(1000.0), None),
            ("requests_minute", None, Some(29.0)),
            ("tokens_hour", None, Some(900_000.0)),
            ("tokens_day", Some(1_000_000.0), None),
        ],
    );
    assert_limits(
        &[
            ("x-ratelimit-limit-req-minute", "60"),
            ("x-ratelimit-remaining-tokens-minute", "49990"),
            ("x-ratelimit-limit-tokens-month", "4000000"),
            ("x-ratelimit-tokens-query-cost", "10"),
        ],
        &[("requests_minute", Some(60.0), None), ("tokens_minute", None, Some(49_990.0))],
    );
    assert_limits(
        &[("x-ratelimit-limit-tokens-per-minute", "10"), ("x-ratelimit-remaining-tokens-per-day", "20")],
        &[("tokens_minute", Some(10.0), None), ("tokens_day", None, Some(20.0))],
    );
    assert_limits(
        &[("x-ratelimit-limit-requests", "20"), ("x-ratelimit-limit-requests-day", "400")],
        &[("requests", Some(20.0), None), ("requests_day", Some(400.0), None)],
    );
}

#[test]
fn other_names_of_the_same_kinds_are_known() {
    assert_limits(
        &[("x-ratelimit-limit", "10"), ("x-ratelimit-remaining", "9.5"), ("x-tokenlimit-limit", "3000")],
        &[("requests", Some(10.0), Some(9.5)), ("tokens", Some(3000.0), None)],
    );
    assert_limits(
        &[
            ("x-ratelimit-limit-tokens-prompt", "60000"),
            ("x-ratelimit-limit-tokens-cache-adjusted-prompt", "1"),
            ("x-ratelimit-limit-tokens-generated", "6000"),
            ("x-ratelimit-over-limit", "no"),
        ],
        &[("input_tokens", Some(60_000.0), None), ("output_tokens", Some(6000.0), None)],
    );
    assert_limits(
        &[("x-trial-endpoint-call-limit", "40"), ("x-trial-endpoint-call-remaining", "39")],
        &[("requests", Some(40.0), Some(39.0))],
    );
    assert_limits(
        &[("x-ai-ratelimit-limit-openai", "500"), ("X-AI-RateLimit-Remaining-openai", "480")],
        &[("tokens", Some(500.0), Some(480.0))],
    );
    let standard = [("ratelimit", r#""api";r=120;t=30"#), ("ratelimit-policy", r#""api";q=1000;w=60"#)];
    assert_limits(&standard, &[("requests", Some(1000.0), Some(120.0))]);
}

#[test]
fn nonsense_gives_no_sample() {
    for value in
        ["-1", "", "NaN", "inf", "1e3", "+5", "5 tokens", "100, 100;w=60", "1.2.3", "0x10", "99999999999999999999"]
    {
        assert_limits(&[("x-ratelimit-limit-requests", value), ("ratelimit-policy", value)], &[]);
    }
    let contradiction = [("x-ratelimit-limit-tokens", "1"), ("x-ratelimit-limit-tokens", "2")];
    assert_limits(&contradiction, &[]);
    assert_limits(
        &[("x-ratelimit-limit-tokens", "2"), ("x-ratelimit-limit-tokens", "2")],
        &[("tokens", Some(2.0), None)],
    );
    // On Azure's Responses API -1 stands for unknown.
    let azure = [("x-ratelimit-limit-tokens", "-1"), ("x-ratelimit-remaining-tokens", "-1")];
    assert_limits(&azure, &[]);
}

#[test]
fn retry_after_is_milliseconds_seconds_or_a_date() {
    let wait = |headers: &[(&str, &str)]| read(headers).retry_after();
    let millis = |millis| Some(Duration::from_millis(millis));
    assert_eq!(wait(&[("retry-after", "20")]), millis(20_000));
    assert_eq!(wait(&[("retry-after", "1.5")]), millis(1500));
    assert_eq!(wait(&[("retry-after-ms", "250.5"), ("retry-after", "1")]), Some(Duration::from_micros(250_500)));
    assert_eq!(wait(&[("retry-after-ms", "soon"), ("retry-after", "1")]), millis(1000));
    assert_eq!(wait(&[("x-ratelimit-timeremaining", "7")]), millis(7000));
    let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_eq!(wait(&[date, ("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT")]), millis(30_000));
    assert_eq!(wait(&[("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT")]), millis(0));
    for nonsense in ["-3", "", "later", "NaN", "1e9"] {
        assert_eq!(wait(&[("retry-after", nonsense)]), None, "{nonsense}");
    }
}

proptest! {
    #[test]
    fn whatever_a_header_says_limits_are_finite_and_not_negative(
        name in "(x-ratelimit-(limit|remaining)(-(requests|tokens|req-minute|tokens-per-day))?|ratelimit(-policy)?|x-ai-ratelimit-limit-é?)",
        value in "([ -~]{0,12}|\"api\";[rq]=-?[0-9.]{0,25})",
        wait in "[ -~]{0,12}",
    ) {
        let mut headers = HeaderMap::new();
        if let Ok(name) = name.parse::<http::HeaderName>() {
            headers.insert(name, value.parse()?);
        }
        headers.insert("retry-after", wait.parse()?);
        let limits = RateLimits::from_headers(&headers);
        for limit in limits.iter() {
            for number in [limit.limit(), limit.remaining()].into_iter().flatten() {
                prop_assert!(number.is_finite() && number >= 0.0);
                prop_assert!(value.bytes().any(|byte| byte.is_ascii_digit()));
            }
        }
    }
}
