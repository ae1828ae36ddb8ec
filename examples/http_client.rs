//! A client of `reqwest` with one line for all of its calls: a whole answer, a stream, and what is retried.
//!
//! `cargo run --features reqwest-middleware --example http_client`

#![expect(clippy::print_stdout, reason = "a program that talks to its user")]
#![allow(dead_code, reason = "a part of the simulator is for the bot")]

mod simulator;

use std::error::Error;
use std::time::Duration;

use botticelli_obs::Builder;
use botticelli_obs::http_layer::LlmMiddleware;
use reqwest_middleware::ClientBuilder;
use reqwest_retry::RetryTransientMiddleware;
use reqwest_retry::policies::ExponentialBackoff;
use serde_json::json;
use simulator::Simulator;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let telemetry = Builder::new().without_listener().install()?;
    let config = simulator::Config { error_rate: 0.5, latency_scale: 0.05, seed: 1 };
    let url = Simulator::start(config).await?.base_url();

    let retries = ExponentialBackoff::builder().build_with_max_retries(5);
    let http = reqwest::Client::builder().timeout(Duration::from_secs(1)).build()?;
    let client = ClientBuilder::new(http)
        // The calls. This line alone would do.
        .with(LlmMiddleware::new().with_endpoint(&url, "ollama").with_stream_usage())
        .with(RetryTransientMiddleware::new_with_policy(retries))
        // Their attempts.
        .with(LlmMiddleware::new())
        .build();

    for number in 0..10 {
        let request = json!({
            "model": "llama3.2",
            "messages": [{"role": "user", "content": "Who is the lady in the shell?"}],
            "stream": number % 2 == 1,
        });
        // A call that fails is counted, too.
        if let Ok(answer) = client
            .post(format!("{url}/chat/completions"))
            .body(request.to_string())
            .header("content-type", "application/json")
            .send()
            .await
        {
            let _ = answer.bytes().await;
        }
    }
    println!("{}", telemetry.render());
    Ok(())
}
