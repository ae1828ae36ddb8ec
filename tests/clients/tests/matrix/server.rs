//! A server with OpenAI's chat API. The prompt of a request says how it is answered.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

pub const MODEL: &str = "gpt-4o-mini";

/// Prompts that are refused, with the status and the provider's code.
const REFUSALS: [(&str, u16, &str, &str); 5] = [
    ("limit", 429, "rate_limit_exceeded", "Rate limit reached for gpt-4o-mini. Please try again in 1s."),
    (
        "quota",
        429,
        "insufficient_quota",
        "You exceeded your current quota, please check your plan and billing details.",
    ),
    ("auth", 401, "invalid_api_key", "Incorrect API key provided."),
    ("context", 400, "context_length_exceeded", "This model's maximum context length is 128000 tokens."),
    ("broken", 500, "server_error", "The server had an error while processing your request."),
];

/// The prompt of each call: half of them succeed, the others fail in turn.
pub fn prompt(number: usize) -> &'static str {
    const PROMPTS: [&str; 12] =
        ["stop", "stop", "length", "limit", "stop", "quota", "stop", "auth", "context", "stop", "broken", "cut"];
    PROMPTS[number % PROMPTS.len()]
}

#[derive(Clone)]
pub struct Server {
    url: String,
    requests: Arc<AtomicUsize>,
}

impl Server {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let url = format!("http://{}/v1", listener.local_addr().expect("it is bound"));
        let server = Self { url, requests: Arc::default() };
        let requests = Arc::clone(&server.requests);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let requests = Arc::clone(&requests);
                std::thread::spawn(move || answer(stream, &requests));
            }
        });
        server
    }

    /// The base URL of the API.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How many requests have come.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

fn answer(mut stream: TcpStream, requests: &AtomicUsize) -> Option<()> {
    let request = read(&stream)?;
    requests.fetch_add(1, Ordering::Relaxed);
    let messages = request["messages"].as_array()?;
    let content = &messages.last()?["content"];
    let prompt = content.as_str().or_else(|| content[0]["text"].as_str())?;
    if let Some((_, status, code, message)) = REFUSALS.iter().find(|(refused, ..)| *refused == prompt) {
        let error = json!({"error": {"message": message, "type": code, "param": null, "code": code}});
        return send(&mut stream, *status, "application/json", &error.to_string());
    }
    if request["stream"] == true {
        return send(&mut stream, 200, "text/event-stream", &events(prompt));
    }
    let body = whole(prompt).to_string();
    // A body that breaks off.
    let sent = if prompt == "cut" { &body[..body.len() / 2] } else { &body };
    write_head(&mut stream, 200, "application/json", body.len())?;
    stream.write_all(sent.as_bytes()).ok()
}

fn read(stream: &TcpStream) -> Option<Value> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        match line.trim().to_ascii_lowercase() {
            line if line.is_empty() => break,
            line => {
                length = line
                    .strip_prefix("content-length:")
                    .map_or(length, |length| length.trim().parse().expect("a number"))
            }
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    serde_json::from_slice(&body).ok()
}

fn send(stream: &mut TcpStream, status: u16, content_type: &str, body: &str) -> Option<()> {
    write_head(stream, status, content_type, body.len())?;
    stream.write_all(body.as_bytes()).ok()
}

fn write_head(stream: &mut TcpStream, status: u16, content_type: &str, length: usize) -> Option<()> {
    write!(
        stream,
        "HTTP/1.1 {status} Status\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    )
    .ok()
}

fn usage() -> Value {
    json!({
        "prompt_tokens": 12,
        "completion_tokens": 30,
        "total_tokens": 42,
        "prompt_tokens_details": {"cached_tokens": 8},
        "completion_tokens_details": {"reasoning_tokens": 5},
    })
}

fn whole(finish_reason: &str) -> Value {
    json!({
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": MODEL,
        "choices": [{
            "index": 0,
            "message": {"role": "assistant", "content": "to be or not to be"},
            "finish_reason": finish_reason,
        }],
        "usage": usage(),
    })
}

fn events(finish_reason: &str) -> String {
    let chunk = |choices: Value, usage: Value| {
        json!({
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1_700_000_000,
            "model": MODEL,
            "choices": choices,
            "usage": usage,
        })
    };
    let delta = |delta: Value| chunk(json!([{"index": 0, "delta": delta, "finish_reason": null}]), Value::Null);
    let mut events = vec![
        delta(json!({"role": "assistant", "content": ""})),
        delta(json!({"content": "to be "})),
        delta(json!({"content": "or not "})),
        delta(json!({"content": "to be"})),
    ];
    let is_cut = finish_reason == "cut";
    if !is_cut {
        events.push(chunk(json!([{"index": 0, "delta": {}, "finish_reason": finish_reason}]), Value::Null));
        events.push(chunk(json!([]), usage()));
    }
    let mut text: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    if !is_cut {
        text.push_str("data: [DONE]\n\n");
    }
    text
}
