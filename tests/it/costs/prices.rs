//! Calls that are priced: by the table of `genai-prices`, or by prices of a program's own.

use std::fs;

use botticelli_obs::{Builder, ErrorType, LlmCall, Price, PriceBook, Usage, llm_request, metrics};

use crate::support::page::Page;
use crate::support::server::Folder;

fn page_of(prices: PriceBook, record: impl FnOnce()) -> Page {
    let (recorder, page) = Builder::new().with_prices(prices).recorder().expect("a recorder");
    metrics::with_local_recorder(&recorder, record);
    Page::parse(&page.render())
}

fn call_of(provider: &str, model: &str, usage: Usage) -> LlmCall {
    let mut call = LlmCall::start(provider, model);
    call.record_usage(usage);
    call
}

/// What one call costs by the built-in table, and how its look-up ended.
fn priced(call: impl FnOnce() -> LlmCall) -> (f64, &'static str) {
    of(&page_of(PriceBook::builtin(), || call().finish()))
}

fn of(page: &Page) -> (f64, &'static str) {
    let count = |status: &str| -> f64 {
        page.of("llm_cost_lookups_total").into_iter().filter(|(of, _)| of["status"] == *status).map(|(_, of)| of).sum()
    };
    let status = ["provider", "priced", "partial", "missing"].into_iter().find(|status| count(status) > 0.0);
    (page.sum("llm_cost_usd_total"), status.expect("a look-up"))
}

const MILLION: u64 = 1_000_000;

#[test]
fn every_part_of_a_usage_has_its_price_once() {
    // Claude Sonnet 4.5 below 200,000 tokens: input 3, read 0.30, write 3.75, write for an hour 6, output 15.
    let usage =
        Usage::new(100_000, 10_000).with_cache_read(50_000).with_cache_write(30_000).with_cache_write_1h(10_000);
    let (cost, status) = priced(|| call_of("anthropic", "claude-sonnet-4-5", usage.with_reasoning(9_000)));
    assert_eq!(status, "priced");
    assert_eq!(cost, 0.02 * 3.0 + 0.05 * 0.30 + 0.02 * 3.75 + 0.01 * 6.0 + 0.01 * 15.0);
}

#[test]
fn labels_of_providers_are_found_in_the_table() {
    let usage = Usage::new(1_000, 1_000);
    for (provider, model) in [
        ("gemini", "gemini-2.5-flash"),
        ("models-of-gemini", "gemini-2.5-flash"),
        ("google", "models/gemini-2.5-flash"),
        ("vertex_ai", "gemini-2.5-flash"),
        ("anthropic", "claude-sonnet-4-5"),
        ("groq", "llama-3.3-70b-versatile"),
        ("openai", "gpt-4o"),
        ("azure", "gpt-4o"),
        ("azure_openai", "gpt-4o"),
        ("grok", "grok-3"),
        ("xai", "grok-3"),
        ("mistral", "mistral-large-latest"),
        ("deepseek", "deepseek-chat"),
        ("bedrock", "amazon.nova-lite-v1:0"),
        ("openrouter", "openai/gpt-4o"),
        ("perplexity", "sonar"),
        ("cohere", "command-r-plus"),
    ] {
        let (cost, status) = priced(|| call_of(provider, model, usage));
        assert!(status == "priced" && cost > 0.0, "{provider} {model}: {status} {cost}");
    }
}

#[test]
fn an_unknown_model_is_counted_and_has_no_cost() {
    for (provider, model) in
        [("openai", "gpt-17"), ("local-server", "gpt-4o"), ("ollama", "llama3.2"), ("anthropic", "gpt-4o")]
    {
        assert_eq!(priced(|| call_of(provider, model, Usage::new(5, 5))), (0.0, "missing"), "{provider} {model}");
    }
    assert_eq!(priced(|| LlmCall::start("openai", "gpt-4o")), (0.0, "missing"), "a success without usage");
}

#[test]
fn calls_that_failed_before_they_used_anything_are_not_looked_up() {
    let page = page_of(PriceBook::builtin(), || LlmCall::start("openai", "gpt-4o").fail(ErrorType::RateLimit));
    assert_eq!(page.sum("llm_cost_lookups_total"), 0.0);
    assert_eq!(page.of("llm_cost_usd_total").len(), 3, "zeros");
}

#[test]
fn the_model_that_answered_has_the_price_of_one_that_is_a_name_of_ones_own() {
    let answered = || {
        let mut call = call_of("azure", "our-deployment", Usage::new(MILLION, 0));
        call.record_response_model("gpt-4o-2024-08-06");
        call
    };
    assert_eq!(priced(answered), (2.5, "priced"));
}

#[test]
fn tiers_and_batches_have_their_rates_where_they_are_known() {
    let usage = Usage::new(100_000, 0);
    let standard = priced(|| call_of("openai", "o3", usage));
    let by = |tier: Option<&str>, is_batch: bool| {
        priced(|| {
            let mut call = call_of("openai", "o3", usage);
            if let Some(tier) = tier {
                call.record_service_tier(tier);
            }
            if is_batch {
                call.record_batch();
            }
            call
        })
    };
    assert_eq!(standard, (0.2, "priced"));
    assert_eq!(by(Some("default"), false), (0.2, "priced"));
    assert_eq!(by(Some("flex"), false), (0.1, "priced"));
    assert_eq!(by(Some("priority"), false), (0.35, "priced"));
    assert_eq!(by(None, true), (0.1, "priced"));
    assert_eq!(by(Some("gold"), false), (0.2, "partial"), "an estimate by the standard rate");
}

#[test]
fn parts_that_are_more_than_their_whole_leave_a_partial_cost() {
    let usage = Usage::new(MILLION, 0).with_cache_read(2 * MILLION);
    assert_eq!(priced(|| call_of("openai", "gpt-4o", usage)), (2.5, "partial"));
}

#[test]
fn rates_that_grow_with_the_prompt_apply_to_all_of_it() {
    let cost = |tokens| priced(|| call_of("gemini", "gemini-2.5-pro", Usage::new(tokens, 0))).0;
    assert_eq!(cost(200_000), 0.25);
    assert_eq!(cost(400_000), 1.0);
}

#[test]
fn own_prices_come_before_the_table() {
    let prices = PriceBook::builtin()
        .with_price("openai", "gpt-4o", Price::new(1.0, 2.0).with_cache_read(0.5))
        .with_price("openai", "GPT-4o*", Price::new(7.0, 7.0))
        .with_price("ollama", "*", Price::FREE);
    let cost =
        |provider, model, usage: Usage| of(&page_of(prices.clone(), || call_of(provider, model, usage).finish()));
    let usage = Usage::new(MILLION, MILLION).with_cache_read(MILLION);
    assert_eq!(cost("openai", "gpt-4o", usage), (2.5, "priced"));
    assert_eq!(cost("openai", "gpt-4o-mini", usage), (14.0, "priced"));
    assert_eq!(cost("openai", "o3", Usage::new(100_000, 0)), (0.2, "priced"));
    assert_eq!(cost("ollama", "llama3.2", usage), (0.0, "priced"));
    let own = PriceBook::empty().with_price("openai", "gpt-4o", Price::new(1.0, 2.0));
    assert_eq!(own.cost("openai", "gpt-4o", &Usage::new(MILLION, MILLION)), Some(3.0));
    assert_eq!(own.cost("openai", "o3", &Usage::new(1, 1)), None);
}

#[test]
fn prices_are_on_the_page_once_a_call_is_priced() {
    let page = page_of(PriceBook::builtin(), || call_of("anthropic", "claude-sonnet-4-5", Usage::new(1, 1)).finish());
    let price = |kind| {
        let labels = [("provider", "anthropic"), ("model", "claude-sonnet-4-5"), ("kind", kind)];
        page.value("llm_price_usd_per_million_tokens", &labels)
    };
    let kinds = ["input", "output", "cache_read", "cache_write", "reasoning"];
    assert_eq!(kinds.map(price), [3.0, 15.0, 0.3, 3.75, 15.0]);
}

#[test]
fn calls_of_the_request_macro_are_priced() {
    let page = page_of(PriceBook::builtin(), || {
        llm_request!("openai", "gpt-4o", duration: 0.5, prompt: MILLION, completion: 0);
        llm_request!("openai", "gpt-4o", duration: 0.5, prompt: MILLION, completion: 0);
    });
    assert_eq!(of(&page), (5.0, "priced"));
}

#[test]
fn the_providers_figure_comes_before_a_price() {
    let told = || {
        let mut call = call_of("openai", "gpt-4o", Usage::new(MILLION, 0));
        call.record_cost(1.0);
        call
    };
    assert_eq!(priced(told), (1.0, "provider"));
}

#[test]
fn files_have_own_prices_or_a_newer_table() {
    let folder = Folder::new("prices");
    let path = folder.path().join("prices.json");
    let read = |text: &str| {
        fs::write(&path, text).expect("the file is written");
        PriceBook::from_file(&path)
    };
    let own = r#"{"as_of": "2026-11-01", "prices": [
        {"provider": "local-server", "model": "*", "input": 0.5, "output": 1, "reasoning": 2},
        {"provider": "openai", "model": "gpt-4o", "input": 1, "output": 1, "cache_read": null}
    ]}"#;
    let book = read(own).expect("prices");
    assert_eq!(book.as_of(), Some("2026-11-01"));
    assert!(book.source().ends_with("prices.json, over genai-prices 0.2.1"), "{}", book.source());
    let usage = Usage::new(MILLION, MILLION).with_reasoning(MILLION / 2);
    assert_eq!(book.cost("local-server", "any", &usage), Some(0.5 + 0.5 + 1.0));
    assert_eq!(book.cost("openai", "gpt-4o", &Usage::new(MILLION, 0)), Some(1.0));
    assert_eq!(book.cost("openai", "o3", &Usage::new(100_000, 0)), Some(0.2));

    let table = r#"[{"id": "acme", "name": "Acme", "api_pattern": "acme", "models": [
        {"id": "rocket", "match": {"starts_with": "rocket"}, "prices": {"input_mtok": 4, "output_mtok": 8}}]}]"#;
    let book = read(table).expect("a table");
    assert_eq!(book.cost("acme", "rocket-2", &Usage::new(MILLION, 0)), Some(4.0));
    assert_eq!(book.cost("openai", "o3", &Usage::new(1, 0)), None);
    assert_eq!(book.models().collect::<Vec<_>>(), [("acme", "rocket")]);

    for (text, why) in [
        ("{}", "there is no list `prices`"),
        (r#"{"prices": [{"provider": "a", "model": "b", "input": 1}]}"#, "price 1 has no `output`"),
        (
            r#"{"prices": [{"provider": "a", "model": "b", "input": "1", "output": 1}]}"#,
            "price 1 has a `input` that is no number",
        ),
        (
            r#"{"prices": [{"provider": "a", "model": "b", "input": -1, "output": 1}]}"#,
            "the price -1 of a b is not valid",
        ),
        (r#"{"prices": [{"provider": "a", "modell": "b", "input": 1, "output": 1}]}"#, "price 1 has `modell`"),
        ("[1]", "are not data of genai-prices version 2"),
        ("prices", "are not valid"),
    ] {
        let error = read(text).expect_err(why).to_string();
        assert!(error.contains(why) && error.contains("prices.json"), "{error}");
    }
}

#[test]
fn a_price_that_is_none_is_an_error_of_the_install() {
    let prices = PriceBook::builtin().with_price("openai", "gpt-4o", Price::new(-1.0, 2.0));
    let error = Builder::new().with_prices(prices).recorder().expect_err("it is negative");
    let wanted = "with_prices: the price -1 of openai gpt-4o is not valid: it must be 0 or more, in US dollars for a million tokens";
    assert_eq!(error.to_string(), wanted);
}
