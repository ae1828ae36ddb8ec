//! The calls of rig on the page, with one line in `main` and none at the call sites. It asks a model of Ollama:
//!
//!     cargo run --manifest-path tests/clients/Cargo.toml --example rig [URL] [MODEL]

use std::error::Error;

use botticelli_obs::Builder;
use rig_core::completion::CompletionRequest;
use rig_core::providers::ollama::OllamaConfig;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let telemetry = Builder::new().with_span_metrics().install()?;
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "http://localhost:11434".to_owned());
    let model = arguments.next().unwrap_or_else(|| "llama3.2".to_owned());

    let model = OllamaConfig::new().with_base_url(url).client().completion(model);
    match model.call(CompletionRequest::new("Who is she?")).await {
        Ok(response) => println!("{}", response.text()),
        Err(error) => println!("{error}"),
    }
    println!("{}", telemetry.summary());
    Ok(())
}
