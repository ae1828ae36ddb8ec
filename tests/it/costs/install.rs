//! Prices by the environment, and what an installed program says of its spend.

use std::time::{Duration, SystemTime};

use botticelli_obs::{Builder, LlmCall, Usage};

use crate::support::in_own_process;

#[test]
fn spend_says_since_when_it_counts_and_what_is_unknown() {
    in_own_process(&[], || {
        let before = SystemTime::now();
        let telemetry = Builder::new().without_listener().install().expect("an install");
        for usd in [0.25, 0.5, -1.0] {
            let mut call = LlmCall::start("openrouter", "openai/gpt-4o");
            call.record_cost(usd);
            call.finish();
        }
        let spend = telemetry.spend();
        assert_eq!((spend.total, spend.unknown_calls), (0.75, 1));
        // Another day may have begun.
        assert!(spend.today == 0.75 || spend.today == 0.0);
        assert!(spend.since + Duration::from_secs(1) >= before, "an earlier process is not counted");
        assert!(spend.to_string().starts_with("0.75 USD since 20"), "{spend}");
        assert!(spend.to_string().ends_with("Z, unknown for 1 call"), "{spend}");
    });
}

#[cfg(feature = "prices")]
#[test]
fn builtin_prices_by_the_environment() {
    let variables = [("BOTTICELLI_OBS_PRICES", "builtin")];
    in_own_process(&variables, || {
        let telemetry = Builder::new().without_listener().install().expect("an install");
        let mut call = LlmCall::start("openai", "gpt-4o");
        call.record_usage(Usage::new(1_000_000, 0));
        call.finish();
        assert_eq!(telemetry.spend().total, 2.5);
    });
}

#[cfg(feature = "prices")]
#[test]
fn a_file_of_prices_that_is_none_is_an_error_that_names_it() {
    let variables = [("BOTTICELLI_OBS_PRICES", "/nowhere/prices.json")];
    in_own_process(&variables, || {
        let error = Builder::new().without_listener().install().expect_err("there is no file");
        let text = format!("{error}");
        assert!(text.contains("BOTTICELLI_OBS_PRICES") && text.contains("/nowhere/prices.json"), "{text}");
    });
}

#[cfg(not(feature = "prices"))]
#[test]
fn prices_need_their_feature() {
    let variables = [("BOTTICELLI_OBS_PRICES", "builtin")];
    in_own_process(&variables, || {
        let error = Builder::new().without_listener().install().expect_err("no feature");
        assert!(error.to_string().contains("needs the feature `prices`"), "{error}");
        let _ = Usage::new(0, 0);
    });
}
