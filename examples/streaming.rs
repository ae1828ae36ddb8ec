//! Streamed calls: one that is read to its end, with its usage in the last chunk, and one that is dropped early.
//!
//! `cargo run --example streaming`

#![expect(clippy::print_stdout, reason = "a program that talks to its user")]

use std::time::Duration;

use async_stream::stream;
use botticelli_obs::{Builder, ClassifyError, ErrorType, LlmCall, LlmResponse, Usage};
use futures_util::{Stream, StreamExt};

/// A chunk as of a client crate. Only the last one has the usage.
struct Chunk {
    text: &'static str,
    usage: Option<(u64, u64)>,
}

impl LlmResponse for Chunk {
    fn usage(&self) -> Option<Usage> {
        self.usage.map(|(prompt, completion)| Usage::new(prompt, completion))
    }

    fn finish_reason(&self) -> Option<&str> {
        self.usage.map(|_| "stop")
    }
}

#[derive(Debug)]
struct ApiError;

impl ClassifyError for ApiError {
    fn error_type(&self) -> ErrorType {
        ErrorType::Stream
    }
}

/// Simulates the call of a client crate that opens a stream.
async fn open() -> Result<impl Stream<Item = Result<Chunk, ApiError>>, ApiError> {
    tokio::time::sleep(Duration::from_millis(80)).await;
    Ok(Box::pin(stream! {
        for text in ["Simonetta ", "was ", "a ", "model."] {
            tokio::time::sleep(Duration::from_millis(30)).await;
            yield Ok(Chunk { text, usage: None });
        }
        yield Ok(Chunk { text: "\n", usage: Some((11, 4)) });
    }))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let telemetry = Builder::new().without_listener().install()?;

    let call = LlmCall::builder("ollama", "llama3.2").with_streaming().start();
    let mut chunks = call.observe_stream(open()).await.map_err(|_| "the stream could not be opened")?;
    while let Some(Ok(chunk)) = chunks.next().await {
        print!("{}", chunk.text);
    }

    let call = LlmCall::builder("ollama", "llama3.2").with_streaming().start();
    let mut chunks = call.observe_stream(open()).await.map_err(|_| "the stream could not be opened")?;
    chunks.next().await;
    drop(chunks); // dropped before its end: counted as cancelled

    let page = telemetry.render();
    for line in page.lines().filter(|line| line.starts_with("llm_") && !line.ends_with(" 0")) {
        println!("{line}");
    }
    Ok(())
}
