//! One decorator that records the calls of all drivers with a common trait. The drivers have no code for metrics.
//!
//! `cargo run --example decorator`

#![expect(clippy::print_stdout, reason = "a program that talks to its user")]

use std::pin::Pin;

use async_trait::async_trait;
use botticelli_obs::{Builder, ClassifyError, ErrorType, LlmCall, LlmResponse, Usage};
use futures_util::{Stream, StreamExt, stream};

// The trait and its types, as in a program with several providers.

type ChunkStream = Pin<Box<dyn Stream<Item = Result<Chunk, DriverError>> + Send>>;

#[async_trait]
trait Driver: Send + Sync {
    fn provider(&self) -> &'static str;
    fn model(&self) -> &str;
    async fn generate(&self, prompt: &str) -> Result<Reply, DriverError>;
    async fn generate_stream(&self, prompt: &str) -> Result<ChunkStream, DriverError>;
}

struct Reply {
    text: String,
    tokens: Option<(u64, u64)>,
}

struct Chunk {
    text: String,
    is_final: bool,
}

#[derive(Debug)]
enum DriverError {
    Http(u16),
}

// The traits that the decorator needs.

impl LlmResponse for Reply {
    fn usage(&self) -> Option<Usage> {
        self.tokens.map(|(prompt, completion)| Usage::new(prompt, completion))
    }
}

impl LlmResponse for Chunk {
    fn finish_reason(&self) -> Option<&str> {
        self.is_final.then_some("stop")
    }
}

impl ClassifyError for DriverError {
    fn error_type(&self) -> ErrorType {
        match self {
            Self::Http(status) => ErrorType::from_http_status(*status),
        }
    }
}

/// Records every call of the inner driver.
struct RecordingDriver<D>(D);

impl<D: Driver> RecordingDriver<D> {
    fn new(driver: D) -> Self {
        botticelli_obs::declare(driver.provider(), driver.model());
        Self(driver)
    }
}

#[async_trait]
impl<D: Driver> Driver for RecordingDriver<D> {
    fn provider(&self) -> &'static str {
        self.0.provider()
    }

    fn model(&self) -> &str {
        self.0.model()
    }

    async fn generate(&self, prompt: &str) -> Result<Reply, DriverError> {
        LlmCall::start(self.provider(), self.model()).observe(self.0.generate(prompt)).await
    }

    async fn generate_stream(&self, prompt: &str) -> Result<ChunkStream, DriverError> {
        let call = LlmCall::builder(self.provider(), self.model()).with_streaming().start();
        Ok(call.observe_stream(self.0.generate_stream(prompt)).await?.boxed())
    }
}

// The drivers.

struct Ollama;

#[async_trait]
impl Driver for Ollama {
    fn provider(&self) -> &'static str {
        "ollama"
    }

    fn model(&self) -> &str {
        "llama3.2"
    }

    async fn generate(&self, prompt: &str) -> Result<Reply, DriverError> {
        Ok(Reply { text: format!("{prompt} Certainly."), tokens: Some((prompt.len() as u64 / 4, 2)) })
    }

    async fn generate_stream(&self, prompt: &str) -> Result<ChunkStream, DriverError> {
        // Builds the stream from a recorded call, as some drivers do. The call is counted once, with its usage.
        let reply = RecordingDriver(Self).generate(prompt).await?;
        Ok(stream::iter([Ok(Chunk { text: reply.text, is_final: true })]).boxed())
    }
}

struct Groq;

#[async_trait]
impl Driver for Groq {
    fn provider(&self) -> &'static str {
        "groq"
    }

    fn model(&self) -> &str {
        "llama-3.3-70b-versatile"
    }

    async fn generate(&self, _prompt: &str) -> Result<Reply, DriverError> {
        Err(DriverError::Http(429))
    }

    async fn generate_stream(&self, _prompt: &str) -> Result<ChunkStream, DriverError> {
        Err(DriverError::Http(429))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let telemetry = Builder::new().without_listener().install()?;
    let drivers: [Box<dyn Driver>; 2] = [Box::new(RecordingDriver::new(Groq)), Box::new(RecordingDriver::new(Ollama))];
    for driver in &drivers {
        if let Ok(reply) = driver.generate("Is this a fresco?").await {
            println!("{}", reply.text);
        }
        if let Ok(mut chunks) = driver.generate_stream("Was it painted by Botticelli?").await {
            while let Some(Ok(chunk)) = chunks.next().await {
                println!("{}", chunk.text);
            }
        }
    }
    let page = telemetry.render();
    for line in page.lines().filter(|line| line.starts_with("llm_") && !line.ends_with(" 0")) {
        println!("{line}");
    }
    Ok(())
}
