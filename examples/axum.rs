//! Serves the page as a route of the program's own web server, without a listener of this crate.
//!
//! `cargo run --example axum`, then `curl http://127.0.0.1:3000/ask` and `curl http://127.0.0.1:3000/metrics`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that talks to its user")]

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use botticelli_obs::{Builder, LlmCall, MetricsHandle, Usage, metrics};
use clap::Parser;
use tokio::net::TcpListener;

/// A web server that calls an LLM, and serves its metrics itself.
#[derive(Parser)]
struct Options {
    /// Where to listen.
    #[arg(default_value = "127.0.0.1:3000")]
    address: String,
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let Options { address } = Options::parse();
    let listener = match TcpListener::bind(&address).await {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("can't listen on {address}: {error}");
            return Ok(ExitCode::FAILURE);
        }
    };
    let (recorder, page) = Builder::new().with_service_name("ask").add_model("ollama", "llama3.2").recorder()?;
    metrics::set_global_recorder(recorder)?;

    // The router keeps the handle. Upkeep of the recorder runs as long as the handle lives.
    let router = Router::new().route("/ask", get(ask)).route("/metrics", get(serve_page)).with_state(page);
    println!("http://{}/metrics", listener.local_addr()?);
    axum::serve(listener, router).await?;
    Ok(ExitCode::SUCCESS)
}

async fn serve_page(State(page): State<MetricsHandle>) -> impl IntoResponse {
    ([(CONTENT_TYPE, page.content_type())], page.render())
}

async fn ask() -> &'static str {
    let mut call = LlmCall::start("ollama", "llama3.2");
    tokio::time::sleep(Duration::from_millis(120)).await; // instead of a client crate; see `bot_server.rs` for a real one
    call.record_usage(Usage::new(12, 30));
    call.finish();
    "a painting on fresh plaster\n"
}
