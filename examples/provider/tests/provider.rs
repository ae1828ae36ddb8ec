//! Tests the metrics and spans of the library with the test kit.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use botticelli_obs::ErrorType;
use botticelli_obs::testing::Capture;
use provider_example::Ollama;

const MODEL: &str = "llama3.2";

/// Starts a server that answers one request. Returns its address.
fn server(status: &str, body: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let server = listener.local_addr().expect("it has an address").to_string();
    let answer = format!("HTTP/1.0 {status}\r\ncontent-type: application/json\r\n\r\n{body}");
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the client connects");
        let mut request = Vec::new();
        while !request.ends_with(b"false}") {
            let mut bytes = [0; 1024];
            let count = stream.read(&mut bytes).expect("the client sends");
            request.extend(&bytes[..count]);
        }
        stream.write_all(answer.as_bytes()).expect("the client reads");
    });
    server
}

fn generate(server: &str) -> Capture {
    let capture = Capture::new();
    let _ = capture.run(|| Ollama::new(server, MODEL).generate(MODEL, "Who painted \"Primavera\"?"));
    assert_eq!(capture.llm("ollama", MODEL).requests(), 1);
    capture
}

#[test]
fn answer_is_recorded_with_its_tokens() {
    let body = r#"{"model":"llama3.2","response":"Botticelli.","done":true,"done_reason":"stop","prompt_eval_count":26,"eval_count":4}"#;
    let capture = generate(&server("200 OK", body));
    let llm = capture.llm("ollama", MODEL);
    assert_eq!(llm.errors(), 0);
    assert_eq!(llm.prompt_tokens(), 26);
    assert_eq!(llm.completion_tokens(), 4);
    assert_eq!(llm.finished("stop"), 1);
    assert_eq!(capture.spans()[0].name(), "text_completion llama3.2");
}

#[test]
fn refusal_is_recorded_with_its_class() {
    let body = r#"{"error":"model \"llama3.2\" not found, try pulling it first"}"#;
    let capture = generate(&server("404 Not Found", body));
    assert_eq!(capture.llm("ollama", MODEL).errors_of(ErrorType::NotFound), 1);
}

#[test]
fn malformed_answer_is_a_decode_error() {
    let capture = generate(&server("200 OK", "<html>"));
    assert_eq!(capture.llm("ollama", MODEL).errors_of(ErrorType::Decode), 1);
}

#[test]
fn unreachable_server_is_a_network_error() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let server = listener.local_addr().expect("it has an address").to_string();
    drop(listener);
    assert_eq!(generate(&server).llm("ollama", MODEL).errors_of(ErrorType::Network), 1);
}
