//! A program that ends before Prometheus scrapes it: it adds its totals to a file, and prints a summary.
//!
//! Run `PROMETHEUS_ENDPOINT=off BOTTICELLI_OBS_TEXTFILE=/tmp/bot.prom cargo run --example short_lived` twice: the file then has
//! the calls of both runs.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that talks to its user")]

use std::time::Duration;

use botticelli_obs::{ErrorType, LlmCall, Usage};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let telemetry = botticelli_obs::install()?;
    for (prompt, outcome) in [("What is a fresco?", Ok(42)), ("Who was Simonetta Vespucci?", Err(ErrorType::RateLimit))]
    {
        let mut call = LlmCall::start("ollama", "llama3.2");
        // Simulates the client's call; see `bot_server.rs` for a real one.
        std::thread::sleep(Duration::from_millis(120));
        match outcome {
            Ok(tokens_out) => {
                call.record_usage(Usage::new(prompt.len() as u64 / 4, tokens_out));
                call.finish();
            }
            Err(error) => call.fail(error),
        }
    }
    println!("{}", telemetry.summary());
    if let Err(missing) = telemetry.shutdown(Duration::from_secs(5)) {
        eprintln!("{missing}");
    }
    Ok(())
}
