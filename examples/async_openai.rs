//! A client of async-openai whose calls are recorded with their attempts.
//!
//! `cargo run --features async-openai --example async_openai`

#![expect(clippy::print_stdout, reason = "a program that talks to its user")]
#![allow(dead_code, reason = "a part of the simulator is for the bot")]

mod simulator;

use std::error::Error;
use std::time::Duration;

use async_openai::Client;
use async_openai::config::OpenAIConfig;
use async_openai::middleware::ReqwestService;
use async_openai::middleware::retry::OpenAIRetryLayer;
use async_openai::types::chat::{ChatCompletionRequestUserMessageArgs, CreateChatCompletionRequestArgs};
use botticelli_obs::Builder;
use botticelli_obs::http_layer::LlmLayer;
use futures_util::StreamExt;
use simulator::Simulator;
use tower::ServiceBuilder;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let telemetry = Builder::new().without_listener().install()?;
    let config = simulator::Config { error_rate: 0.5, latency_scale: 0.05, seed: 1 };
    let url = Simulator::start(config).await?.base_url();

    let service = ServiceBuilder::new()
        .layer(LlmLayer::new().with_endpoint(&url, "ollama").with_stream_usage())
        // async-openai retries only with its built-in HTTP service. This one replaces it.
        .layer(OpenAIRetryLayer::default())
        .layer(LlmLayer::new())
        .service(ReqwestService::new(reqwest::Client::builder().timeout(Duration::from_secs(1)).build()?));
    let config = OpenAIConfig::new().with_api_base(&url).with_api_key("none");
    let client = Client::with_config(config).with_http_service(service);

    for number in 0..10 {
        let question =
            ChatCompletionRequestUserMessageArgs::default().content("Who is the lady in the shell?").build()?;
        let request =
            CreateChatCompletionRequestArgs::default().model("llama3.2").messages([question.into()]).build()?;
        // A call that fails is counted, too.
        if number % 2 == 0 {
            let _ = client.chat().create(request).await;
        } else if let Ok(mut chunks) = client.chat().create_stream(request).await {
            while let Some(Ok(_)) = chunks.next().await {}
        }
    }
    println!("{}", telemetry.render());
    Ok(())
}
