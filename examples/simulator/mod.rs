//! A simulator of the OpenAI chat completions API: HTTP, JSON and server-sent events on loopback, with latencies, usage and
//! failures like those of real servers.
//!
//! The same seed and the same requests give the same answers, regardless of the order in which requests of different models, or
//! for whole and for streamed answers, arrive.

mod answer;

use std::future;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_stream::stream;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use answer::Answer;

/// A model that the simulator serves.
pub struct Model {
    pub provider: &'static str,
    pub name: &'static str,
    /// The median time to the first token.
    first_token: Duration,
    tokens_per_second: f64,
    /// The share of the completion that is spent on reasoning.
    reasoning: f64,
}

/// What the simulator serves.
pub const MODELS: &[Model] = &[
    model("openai", "gpt-4o-mini", 450, 90.0, 0.0),
    model("gemini", "gemini-2.5-flash", 600, 180.0, 0.4),
    model("anthropic", "claude-sonnet-4-5", 900, 70.0, 0.0),
    model("groq", "llama-3.3-70b-versatile", 180, 300.0, 0.0),
    model("ollama", "llama3.2", 250, 40.0, 0.0),
];

const fn model(
    provider: &'static str,
    name: &'static str,
    first_token_ms: u64,
    tokens_per_second: f64,
    reasoning: f64,
) -> Model {
    Model { provider, name, first_token: Duration::from_millis(first_token_ms), tokens_per_second, reasoning }
}

/// How the simulator behaves.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The share of calls that fail, from 0.0 to 1.0.
    pub error_rate: f64,
    /// The factor for all latencies.
    pub latency_scale: f64,
    pub seed: u64,
}

/// A simulated failure.
#[derive(Clone, Copy, Debug)]
enum Fault {
    RateLimit,
    ServerError,
    Overloaded,
    NoAnswer,
    BrokenBody,
}

const FAULTS: &[Fault] =
    &[Fault::RateLimit, Fault::RateLimit, Fault::ServerError, Fault::Overloaded, Fault::NoAnswer, Fault::BrokenBody];

/// The running simulator. It ends with the runtime on which it was started.
#[derive(Debug)]
pub struct Simulator {
    addr: SocketAddr,
}

/// The random numbers of a model, separate for whole answers and for streams. If they were shared, the order of concurrent
/// requests would decide which one gets which fault.
struct Generators {
    whole: fastrand::Rng,
    streamed: fastrand::Rng,
}

#[derive(Clone)]
struct Shared {
    config: Config,
    generators: Arc<Mutex<Vec<Generators>>>,
}

impl Simulator {
    /// Starts the simulator on a free port of loopback.
    pub async fn start(config: Config) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let mut seed = fastrand::Rng::with_seed(config.seed);
        let generators = MODELS.iter().map(|_| Generators { whole: seed.fork(), streamed: seed.fork() }).collect();
        let shared = Shared { config, generators: Arc::new(Mutex::new(generators)) };
        let router = Router::new().route("/v1/chat/completions", post(complete)).with_state(shared);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { addr })
    }

    /// Returns the base URL of the API, for clients.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.addr)
    }
}

async fn complete(State(shared): State<Shared>, Json(request): Json<Value>) -> Response {
    let name = request["model"].as_str().unwrap_or_default();
    let Some(at) = MODELS.iter().position(|model| model.name == name) else {
        return refusal(StatusCode::NOT_FOUND, "model_not_found", "the model does not exist");
    };
    let streaming = request["stream"] == true;
    let (fault, answer) = {
        let mut generators = shared.generators.lock().unwrap_or_else(PoisonError::into_inner);
        let random = if streaming { &mut generators[at].streamed } else { &mut generators[at].whole };
        let fault = (random.f64() < shared.config.error_rate).then(|| FAULTS[random.usize(..FAULTS.len())]);
        (fault, Answer::new(&MODELS[at], &request, shared.config.latency_scale, random))
    };
    match fault {
        Some(Fault::NoAnswer) => return future::pending().await,
        Some(Fault::RateLimit) => {
            let refusal = refusal(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", "too many requests");
            return ([(header::RETRY_AFTER, "1")], refusal).into_response();
        }
        Some(Fault::ServerError) => return (StatusCode::INTERNAL_SERVER_ERROR, "internal error").into_response(),
        Some(Fault::Overloaded) => return (StatusCode::SERVICE_UNAVAILABLE, "overloaded").into_response(),
        Some(Fault::BrokenBody) | None => {}
    }
    let broken = fault.is_some();
    tokio::time::sleep(answer.until_first_token).await;
    if streaming { streamed(answer, broken) } else { whole(answer, broken).await }
}

fn refusal(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(json!({"error": {"message": message, "type": code, "param": null, "code": code}}))).into_response()
}

async fn whole(answer: Answer, broken: bool) -> Response {
    tokio::time::sleep(answer.pause * answer.words.len() as u32).await;
    let mut body = answer.completion().to_string();
    if broken {
        body.truncate(body.len() / 2);
    }
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn streamed(answer: Answer, broken: bool) -> Response {
    let events = stream! {
        let mut left = if broken { answer.words.len() / 2 } else { answer.words.len() };
        for word in &answer.words {
            if left == 0 {
                // Closes the connection in the middle of the body.
                yield Err(io::Error::from(io::ErrorKind::ConnectionReset));
                return;
            }
            left -= 1;
            yield Ok(event(&answer.chunk(word)));
            tokio::time::sleep(answer.pause).await;
        }
        yield Ok(event(&answer.last_chunk()));
        if let Some(usage) = answer.usage_chunk() {
            yield Ok(event(&usage));
        }
        yield Ok("data: [DONE]\n\n".to_owned());
    };
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(events)).into_response()
}

fn event(data: &Value) -> String {
    format!("data: {data}\n\n")
}
