//! What calls cost: by their price, by the provider's figure, or unknown.

#[cfg(all(feature = "json", feature = "testing"))]
mod answers;
mod budgets;
mod install;
#[cfg(feature = "prices")]
mod prices;

use botticelli_obs::{Builder, ErrorType, LlmCall, metrics};

use crate::support::page::Page;

const PAIR: [(&str, &str); 2] = [("provider", "openrouter"), ("model", "openai/gpt-4o")];

fn page(record: impl FnOnce()) -> Page {
    let (recorder, page) = Builder::new().recorder().expect("a recorder");
    metrics::with_local_recorder(&recorder, record);
    Page::parse(&page.render())
}

fn start() -> LlmCall {
    LlmCall::start(PAIR[0].1, PAIR[1].1)
}

fn paid(usd: f64) {
    let mut call = start();
    call.record_cost(usd);
    call.finish();
}

/// The cost of calls of an outcome.
fn cost(page: &Page, outcome: &str) -> Option<f64> {
    page.get("llm_cost_usd_total", &[&PAIR[..], &[("outcome", outcome)]].concat())
}

fn lookups(page: &Page, status: &str) -> Option<f64> {
    page.get("llm_cost_lookups_total", &[&PAIR[..], &[("status", status)]].concat())
}

#[test]
fn the_providers_figure_counts_by_outcome() {
    let page = page(|| {
        paid(0.25);
        paid(0.000_000_001);
        let mut failed = start();
        failed.record_cost(0.5);
        failed.fail(ErrorType::Stream);
        let mut dropped = start();
        dropped.record_cost(0.125);
        drop(dropped);
    });
    assert_eq!(
        ["success", "error", "cancelled"].map(|outcome| cost(&page, outcome)),
        [Some(0.250_000_001), Some(0.5), Some(0.125)]
    );
    assert_eq!(lookups(&page, "provider"), Some(4.0));
}

#[test]
fn calls_without_prices_have_no_series_of_cost() {
    let page = page(|| {
        start().finish();
        start().fail(ErrorType::RateLimit);
    });
    assert!(page.of("llm_cost_usd_total").is_empty() && page.of("llm_cost_lookups_total").is_empty());
}

#[test]
fn a_figure_that_is_none_is_invalid_and_the_cost_unknown() {
    let page = page(|| [-0.5, f64::NAN, f64::INFINITY, 2e6].into_iter().for_each(paid));
    assert_eq!(lookups(&page, "missing"), Some(4.0));
    assert_eq!(cost(&page, "success"), None);
    assert_eq!(page.value("botticelli_obs_invalid_samples_total", &[("metric", "llm_cost_usd_total")]), 4.0);
}

#[test]
fn costs_of_retries_inside_a_call_add_up() {
    let page = page(|| {
        start().observe_sync(|| {
            paid(0.25);
            paid(0.5);
        });
    });
    assert_eq!(cost(&page, "success"), Some(0.75));
    assert_eq!(lookups(&page, "provider"), Some(1.0));
}

#[test]
fn sums_are_exact_over_a_million_calls_of_several_threads() {
    let (recorder, page) = Builder::new().recorder().expect("a recorder");
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                metrics::with_local_recorder(&recorder, || (0..250_000).for_each(|_| paid(0.000_000_003)));
            });
        }
    });
    let text = page.render();
    // A sum of doubles would be 0.0030000000000267.
    let line = r#"llm_cost_usd_total{provider="openrouter",model="openai/gpt-4o",outcome="success"} 0.003"#;
    assert!(text.lines().any(|of| of == line), "{text}");
}

#[test]
fn both_spellings_of_the_metric_share_its_series() {
    let page = page(|| {
        paid(0.5);
        let labels = [("provider", PAIR[0].1), ("model", PAIR[1].1), ("outcome", "success")];
        for name in ["llm.cost", "llm.cost.nano_usd", "llm_cost_usd_total", "llm_cost_nano_usd_total"] {
            metrics::counter!(name, &labels).increment(1);
        }
    });
    assert_eq!(cost(&page, "success"), Some(0.500_000_004));
    assert_eq!(page.sum("llm_requests_total"), 1.0);
}
