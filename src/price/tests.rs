//! Comparison with the Python package `genai-prices`, whose answers `.ci/prices` has written down.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;

use super::PriceBook;
use crate::cost::{Bill, CostStatus};
use crate::usage::Usage;

/// 2026-11-01T12:00:00Z, the time in the fixture.
const TIME: u64 = 1_793_534_400;

/// Its price has changed on 2026-10-29, which only the package's younger data knows.
const LATER: &str = "mistral-large-4";

#[test]
fn costs_are_those_of_the_python_package_to_the_nano_dollar() {
    let prices = PriceBook::builtin();
    let fixture = include_str!("../../tests/fixtures/prices.jsonl");
    let (mut compared, mut rejected, mut newer, mut wrong) = (0, 0, Vec::new(), Vec::new());
    for line in fixture.lines().skip(1) {
        let case: Value = serde_json::from_str(line).expect("JSON");
        let count = |name: &str| case[name].as_u64().expect("a count");
        let usage = Usage::new(count("prompt"), count("completion"))
            .with_cache_read(count("read"))
            .with_cache_write(count("write"))
            .with_cache_write_1h(count("write_1h"))
            .with_reasoning(count("reasoning"));
        let text = |name: &str| case[name].as_str();
        let bill = Bill {
            service_tier: text("tier"),
            is_batch: case["batch"] == true,
            at: Some(UNIX_EPOCH + Duration::from_secs(TIME)),
            ..Bill::of(Some(usage))
        };
        let tariff = prices.tariff(text("provider").expect("a provider"), text("model").expect("a model"));
        let (status, nano_usd) = tariff.expect("the provider is known").price(&usage, &bill);
        match case["nano_usd"].as_u64() {
            _ if status == CostStatus::Missing => newer.push(line),
            // Parts that are more than their whole.
            None => {
                assert_eq!(status, CostStatus::Partial, "{line}");
                rejected += 1;
            }
            Some(wanted) if wanted == nano_usd => compared += 1,
            Some(_) if case["model"] == LATER => {}
            Some(_) => wrong.push(format!("{nano_usd}: {line}")),
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    // The package's data is a month younger.
    assert!(newer.len() <= 12, "{} models are unknown:\n{}", newer.len(), newer.join("\n"));
    assert!(compared >= 200 && rejected > 0, "{compared} compared, {rejected} rejected");
}
