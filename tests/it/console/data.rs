//! The JSON behind the page.

use std::time::{Duration, Instant};

use super::{ask, ask_with, installed};
use crate::support::in_own_process;
use botticelli_obs::{Builder, ErrorType, LlmCall, Usage};
use serde_json::{Value, json};

const ON: [(&str, &str); 1] = [("PROMETHEUS_ENDPOINT", "127.0.0.1:0")];

/// The state once this holds; it is rendered once a second.
fn state_where(addr: std::net::SocketAddr, holds: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + super::LIMIT;
    loop {
        let state = ask(addr, "/console/state?window=0").json();
        if holds(&state) {
            return state;
        }
        assert!(Instant::now() < deadline, "{state:#}");
        std::thread::yield_now();
    }
}

#[test]
fn state_has_the_numbers_of_the_page_of_metrics() {
    in_own_process(&ON, || {
        let (telemetry, addr) = installed(Builder::new().with_service_name("the bot"));
        for tokens in 1..=10 {
            let mut call = LlmCall::start("gemini", "gemini-2.5-flash");
            call.record_usage(Usage::new(tokens, 2 * tokens).with_cache_read(1));
            call.finish();
        }
        LlmCall::start("openai", "gpt-4o").fail(ErrorType::RateLimit);
        let running = LlmCall::start("openai", "gpt-4o");

        let state = state_where(addr, |state| state["all"]["calls"] == 11);
        assert_eq!((&state["service"], &state["version"]), (&json!("the bot"), &json!(env!("CARGO_PKG_VERSION"))));
        let models = state["models"].as_array().expect("a list");
        let of = |model: &str| models.iter().find(|row| row["model"] == model).expect("the model");
        let gemini = of("gemini-2.5-flash");
        for (key, value) in [("calls", 10), ("errors", 0), ("prompt", 55), ("completion", 110), ("cacheRead", 10)] {
            assert_eq!(gemini[key], value, "{key}");
        }
        let openai = of("gpt-4o");
        assert_eq!((&openai["calls"], &openai["errors"], &openai["inFlight"]), (&json!(1), &json!(1), &json!(1.0)));
        assert_eq!(openai["classes"], json!({ "rate_limit": 1 }));
        let summary = telemetry.summary();
        let p95 = summary.models()[0].p95.expect("there were calls").as_secs_f64();
        assert!((gemini["p95"].as_f64().expect("a number") - p95).abs() < 1e-6);
        drop(running);
    });
}

#[test]
fn last_calls_are_listed_with_what_their_spans_have() {
    in_own_process(&ON, || {
        let (_telemetry, addr) = installed(Builder::new());
        let mut call = LlmCall::start("gemini", "gemini-2.5-flash");
        call.record_chunk();
        call.record_usage(Usage::new(3, 4).with_cache_read(2));
        call.scope_sync(|| {
            let inside = LlmCall::current().expect("inside a call");
            inside.record_wait(Duration::from_millis(1500));
            inside.attempt().fail(ErrorType::ServerError);
            inside.attempt().finish();
        });
        call.finish();
        LlmCall::start("openai", "gpt-4o").fail(ErrorType::RateLimit);

        let answer = ask(addr, "/console/calls").json();
        let calls = answer["calls"].as_array().expect("a list");
        assert_eq!(calls.len(), 2);
        let first = &calls[0];
        for (key, value) in [
            ("provider", json!("gemini")),
            ("model", json!("gemini-2.5-flash")),
            ("operation", json!("chat")),
            ("outcome", json!("success")),
            ("waited", json!(1.5)),
            ("attempts", json!(2)),
            ("prompt", json!(3)),
            ("completion", json!(4)),
            ("cacheRead", json!(2)),
            ("trace", json!(null)),
        ] {
            assert_eq!(first[key], value, "{key}");
        }
        assert!(first["firstChunk"].as_f64() <= first["seconds"].as_f64() && first["firstChunk"].is_number());
        assert_eq!((&calls[1]["outcome"], &calls[1]["attempts"]), (&json!("rate_limit"), &json!(0)));
        let rest = ask(addr, "/console/calls?from=1").json();
        assert_eq!(rest["calls"].as_array().map(Vec::len), Some(1));
    });
}

#[test]
fn calls_kept_are_the_last_200() {
    in_own_process(&ON, || {
        let (_telemetry, addr) = installed(Builder::new());
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || (0..250).for_each(|_| LlmCall::start("p", format!("m{thread}")).finish()));
            }
        });
        let answer = ask(addr, "/console/calls").json();
        let numbers: Vec<u64> =
            answer["calls"].as_array().expect("a list").iter().filter_map(|call| call["number"].as_u64()).collect();
        assert!(numbers.is_sorted() && numbers.iter().all(|number| (800..1_000).contains(number)));
        assert_eq!(numbers.len(), 200);
    });
}

#[test]
fn labels_are_json_strings_whatever_is_in_them() {
    const HOSTILE: &str = "</script><img src=x onerror=alert(1)> \"'` \u{202e}rtl 🦀";
    in_own_process(&ON, || {
        let (_telemetry, addr) = installed(Builder::new());
        LlmCall::start(HOSTILE, HOSTILE).finish();
        let calls = ask(addr, "/console/calls").json();
        let shown = calls["calls"][0]["model"].as_str().expect("a text");
        assert!(shown.contains("</script><img"), "{shown}");
        let answer = ask(addr, "/console/calls");
        assert_eq!(answer.header("content-type"), Some("application/json"));
    });
}

#[test]
fn last_scrape_and_its_maker_are_known() {
    in_own_process(&ON, || {
        let (_telemetry, addr) = installed(Builder::new());
        assert_eq!(ask(addr, "/console/state?window=300").json()["scrape"], json!(null));
        let agent = "x".repeat(500);
        ask_with(addr, "GET /metrics", &format!("Host: x\r\nUser-Agent: Prometheus/3.1 {agent}\r\n"));
        let state = state_where(addr, |state| state["scrape"].is_object());
        assert_eq!(state["scrape"]["peer"], "127.0.0.1");
        let agent = state["scrape"]["agent"].as_str().expect("a text");
        assert!(agent.starts_with("Prometheus/3.1 xx") && agent.len() == 128, "{agent}");
    });
}

#[test]
fn history_begins_with_the_second_sample() {
    in_own_process(&ON, || {
        let (_telemetry, addr) = installed(Builder::new());
        LlmCall::start("p", "m").finish();
        let deadline = Instant::now() + super::LIMIT;
        let point = loop {
            let answer = ask(addr, "/console/history").json();
            if let Some(point) = answer["points"].as_array().and_then(|points| points.last()) {
                break point.clone();
            }
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(50));
        };
        assert!(point["seconds"].as_f64().expect("a number") > 0.0 && point["calls"].is_u64());
        let next = point["number"].as_u64().expect("a number") + 1;
        let rest = ask(addr, &format!("/console/history?from={next}")).json();
        assert!(rest["points"].as_array().expect("a list").len() <= 1);
    });
}

#[test]
fn sections_have_what_families_of_their_names_have() {
    in_own_process(&ON, || {
        let (_telemetry, addr) = installed(Builder::new());
        botticelli_obs::gauge!("llm_budget_limit_usd", "budget" => "bot").set(5.0);
        botticelli_obs::gauge!("llm_budget_spent_usd", "budget" => "bot").set(1.25);
        let state = state_where(addr, |state| state["budgets"][0]["spent"].is_number());
        assert_eq!(state["budgets"], json!([{ "budget": "bot", "limit": 5.0, "spent": 1.25 }]));
        assert_eq!((&state["tasks"], &state["tools"], &state["limits"]), (&json!([]), &json!([]), &json!([])));
    });
}
