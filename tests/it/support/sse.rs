//! A server of streamed chat completions that follows a script and keeps a record of what it has sent, and when.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_stream::stream;
use axum::Router;
use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};

/// What the server does next.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    Chunk,
    Pause(Duration),
    /// A chunk that is no JSON.
    Malformed,
    /// The finish reason, the usage and the end.
    Finish,
    /// The connection breaks off in the middle of the body.
    Break,
    /// Nothing more comes, and the connection stays.
    Stall,
}

/// When each chunk was sent, counted from the arrival of the request.
#[derive(Clone, Default)]
pub struct Record(Arc<Mutex<Vec<Duration>>>);

impl Record {
    pub fn chunks(&self) -> Vec<Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn sent(&self, after: Duration) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(after);
    }
}

/// What [`Act::Finish`] tells.
pub const PROMPT: u64 = 19;
pub const COMPLETION: u64 = 10;

/// Starts a server; returns the base URL of its API.
pub async fn start(script: &'static [Act]) -> (String, Record) {
    let record = Record::default();
    let sent = record.clone();
    serve(move || streamed(script, sent.clone()), record).await
}

/// Starts one that refuses.
pub async fn refusing(status: StatusCode, body: &'static str) -> String {
    let refuse = move || (status, [(header::CONTENT_TYPE, "application/json")], body).into_response();
    serve(refuse, Record::default()).await.0
}

async fn serve(answer: impl Fn() -> Response + Clone + Send + Sync + 'static, record: Record) -> (String, Record) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
    let addr = listener.local_addr().expect("it has an address");
    let router = Router::new().route("/v1/chat/completions", post(async move || answer()));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (format!("http://{addr}/v1"), record)
}

fn streamed(script: &'static [Act], record: Record) -> Response {
    let arrived = Instant::now();
    let send = move |data: &Value| {
        record.sent(arrived.elapsed());
        Ok(format!("data: {data}\n\n"))
    };
    let events = stream! {
        for act in script {
            match *act {
                Act::Chunk => yield send(&chunk(json!([choice(json!({"content": "gold "}), Value::Null)]), Value::Null)),
                Act::Pause(pause) => tokio::time::sleep(pause).await,
                Act::Malformed => yield Ok("data: {\"id\": \n\n".to_owned()),
                Act::Finish => {
                    yield send(&chunk(json!([choice(json!({}), json!("stop"))]), Value::Null));
                    let total = PROMPT + COMPLETION;
                    let usage = json!({
                        "prompt_tokens": PROMPT, "completion_tokens": COMPLETION, "total_tokens": total,
                    });
                    yield send(&chunk(json!([]), usage));
                    yield Ok("data: [DONE]\n\n".to_owned());
                }
                Act::Break => yield Err(io::Error::from(io::ErrorKind::ConnectionReset)),
                Act::Stall => std::future::pending().await,
            }
        }
    };
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(events)).into_response()
}

fn choice(delta: Value, finish_reason: Value) -> Value {
    json!({"index": 0, "delta": delta, "finish_reason": finish_reason})
}

fn chunk(choices: Value, usage: Value) -> Value {
    json!({
        "id": "chatcmpl-123",
        "object": "chat.completion.chunk",
        "created": 1_764_000_000,
        "model": "gpt-4o-mini",
        "choices": choices,
        "usage": usage,
    })
}
