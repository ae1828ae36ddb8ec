//! The calls of genai on the page, with one line in `main` and none at the call sites. It asks a model of Ollama:
//!
//!     cargo run --manifest-path tests/clients/Cargo.toml --example genai [URL] [MODEL]
//!
//! genai makes spans with its feature `otel`.

use std::error::Error;

use botticelli_obs::Builder;
use genai::adapter::AdapterKind;
use genai::chat::{ChatMessage, ChatRequest};
use genai::resolver::{AuthData, Endpoint};
use genai::{Client, ModelIden, ServiceTarget};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let telemetry = Builder::new().with_span_metrics().install()?;
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "http://localhost:11434".to_owned());
    let model = arguments.next().unwrap_or_else(|| "llama3.2".to_owned());

    let target = ServiceTarget {
        endpoint: Endpoint::from_owned(format!("{url}/")),
        auth: AuthData::from_single("ollama"),
        model: ModelIden::new(AdapterKind::Ollama, model),
    };
    let request = ChatRequest::default().append_message(ChatMessage::user("Who is she?"));
    match Client::new()?.exec_chat(target, request, None).await {
        Ok(response) => println!("{}", response.first_text().unwrap_or_default()),
        Err(error) => println!("{error}"),
    }
    println!("{}", telemetry.summary());
    Ok(())
}
