//! The program at which `.ci/console/browser.mjs` looks: it has the console, and makes calls when it is told to.
//!
//! It prints its address, then does what the words on its standard input say, and answers `done` to each.

#![expect(clippy::print_stdout, reason = "its peer reads it")]

use std::error::Error;
use std::io::stdin;
use std::thread;
use std::time::Duration;

use botticelli_obs::{Budget, Builder, ErrorType, LlmCall, LlmTask, LlmToolCall, Usage};
use http::{HeaderMap, HeaderName, HeaderValue};

const MODELS: [(&str, &str); 4] = [
    ("gemini", "gemini-2.5-flash"),
    ("anthropic", "claude-sonnet-4-5"),
    ("openai", "gpt-4o-mini"),
    ("ollama", "llama3.2"),
];

fn main() -> Result<(), Box<dyn Error>> {
    let mut builder =
        Builder::new().with_service_name("bot-server").with_console().add_budget(&Budget::daily("bots", 5.0));
    if let Ok(token) = std::env::var("TOKEN") {
        builder = builder.with_page_token(token);
    }
    let telemetry = builder.install()?;
    println!("{}", telemetry.metrics_addr().ok_or("there is no listener")?);
    for word in stdin().lines() {
        match word?.as_str() {
            "calls" => (0..60).for_each(|number| call(number, 1.0)),
            "hostile" => hostile(),
            "pairs" => pairs(),
            "flow" => flow(),
            other => return Err(format!("unknown word {other}").into()),
        }
        println!("done");
    }
    Ok(())
}

/// Makes one call, most of them inside a task.
fn call(number: u64, scale: f64) {
    let (provider, model) = MODELS[(number % 7 % 4) as usize];
    let random = || fastrand::f64() * scale;
    let task = (!number.is_multiple_of(3))
        .then(|| LlmTask::builder(["planner", "writer"][(number % 2) as usize]).with_kind("bot").start());
    let make = || {
        let mut call = LlmCall::start(provider, model);
        call.scope_sync(|| {
            let Some(inside) = LlmCall::current() else { return };
            inside.record_wait(Duration::from_secs_f64(if number.is_multiple_of(5) { 0.2 * random() } else { 0.0 }));
            if number.is_multiple_of(9) {
                inside.attempt().fail(ErrorType::ServerError);
            }
            inside.attempt().finish();
            inside.record_rate_limits(&limits(500 - number % 400));
        });
        thread::sleep(Duration::from_secs_f64(0.002 * random()));
        if number.is_multiple_of(2) {
            call.record_chunk();
        }
        thread::sleep(Duration::from_secs_f64(0.01 * random() * random()));
        if number.is_multiple_of(10) {
            call.record_status(429);
            call.record_error_code("rate_limit_exceeded");
            call.record_request_id(&format!("req_{number:08x}"));
            return call.fail(ErrorType::RateLimit);
        }
        let prompt = 200 + fastrand::u64(0..1_800);
        call.record_usage(
            Usage::new(prompt, 50 + fastrand::u64(0..600)).with_cache_read(if number.is_multiple_of(4) {
                prompt / 2
            } else {
                0
            }),
        );
        call.finish();
    };
    match task {
        Some(task) => drop(task.observe_sync(|| {
            make();
            LlmToolCall::start("search").finish();
            Ok::<(), ErrorType>(())
        })),
        None => make(),
    }
}

fn limits(left: u64) -> HeaderMap {
    let header = |name: &'static str, value: u64| (HeaderName::from_static(name), HeaderValue::from(value));
    [
        header("x-ratelimit-limit-requests", 500),
        header("x-ratelimit-remaining-requests", left),
        header("x-ratelimit-limit-tokens", 200_000),
        header("x-ratelimit-remaining-tokens", 150_000 - 300 * (left % 100)),
    ]
    .into_iter()
    .collect()
}

fn hostile() {
    for name in [
        "<script>window.isOwned=1</script>",
        "<img src=x onerror=window.isOwned=1>",
        "\"'`&amp;</td></table>",
        "\u{202e}reversed \u{5d0}\u{5d1}",
        "crab 🦀👩‍👩‍👧‍👦",
        &"x".repeat(128),
    ] {
        LlmCall::start(name, name).finish();
    }
}

fn pairs() {
    for number in 0..1_000_u64 {
        let mut call = LlmCall::start(["a", "b", "c", "d"][(number % 4) as usize], format!("model-{number:04}"));
        call.record_usage(Usage::new(number, 2 * number));
        call.finish();
    }
}

/// Makes calls from now on, and returns when there are enough of them for charts.
fn flow() {
    for first in 0..12_u64 {
        thread::spawn(move || {
            let mut number = first;
            loop {
                call(number, 40.0);
                number += 12;
            }
        });
    }
    thread::sleep(Duration::from_secs(100));
}
