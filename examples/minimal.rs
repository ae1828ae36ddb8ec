//! The minimum: one install, and one guard for each call. `cargo run --example minimal`
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that talks to its user")]

use std::time::Duration;

use botticelli_obs::{LlmCall, Usage};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let telemetry = botticelli_obs::install()?;
    for prompt in ["What is a fresco?", "Who was Simonetta Vespucci?"] {
        let mut call = LlmCall::start("ollama", "llama3.2");
        let (tokens_in, tokens_out) = ask(prompt);
        call.record_usage(Usage::new(tokens_in, tokens_out));
        call.finish();
    }
    print!("{}", telemetry.render());
    if let Err(lost) = telemetry.shutdown(Duration::from_secs(5)) {
        eprintln!("{lost}");
    }
    Ok(())
}

/// Simulates a client crate; see `bot_server.rs` for a real one.
fn ask(prompt: &str) -> (u64, u64) {
    std::thread::sleep(Duration::from_millis(120));
    (prompt.len() as u64 / 4, 42)
}
