//! The spans of rig and genai as their libraries make them, through the export: without what people and models say, unless it was asked
//! for. One server is both the model and the trace backend.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use botticelli_obs::{Builder, OtlpProtocol};

const CAPTURE: &str = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT";

/// The exports that the server has got.
type Exports = Arc<Mutex<Vec<u8>>>;

fn serve() -> (String, Exports) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let exports = Exports::default();
    let kept = Arc::clone(&exports);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let kept = Arc::clone(&kept);
            std::thread::spawn(move || answer(stream, &kept));
        }
    });
    (url, exports)
}

fn answer(mut stream: TcpStream, exports: &Exports) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        match line.trim() {
            "" => break,
            line => head.push(line.to_ascii_lowercase()),
        }
    }
    let length = head.iter().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok())?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let (content_type, answer) = if head[0].contains("/v1/traces") {
        exports.lock().ok()?.extend(body);
        ("application/x-protobuf", String::new())
    } else {
        let answer = serde_json::json!({
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": "a-model",
            "choices": [{
                "index": 0,
                "message": {"role": "assistant", "content": "secret answer"},
                "finish_reason": "stop",
            }],
            "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
        });
        ("application/json", answer.to_string())
    };
    let length = answer.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{answer}"
    )
    .ok()
}

async fn rig(url: &str) {
    use rig_core::completion::CompletionRequest;
    use rig_core::providers::ollama::OllamaConfig;

    let model = OllamaConfig::new().with_base_url(url).client().completion("a-model");
    let request = CompletionRequest::new("secret prompt")
        .preamble("secret instructions")
        // Without this rig records no content.
        .record_content_telemetry(true);
    let response = model.call(request).await.expect("the server answers");
    assert_eq!(response.text(), "secret answer");
}

async fn genai(url: &str) {
    use genai::adapter::AdapterKind;
    use genai::chat::{ChatMessage, ChatRequest, Tool};
    use genai::resolver::{AuthData, Endpoint, Error, ServiceTargetResolver};
    use genai::{Client, ModelIden, ServiceTarget};

    let url = format!("{url}/v1/");
    let resolver = ServiceTargetResolver::from_resolver_fn(move |target: ServiceTarget| -> Result<_, Error> {
        Ok(ServiceTarget {
            endpoint: Endpoint::from_owned(url.clone()),
            auth: AuthData::from_single("key"),
            model: ModelIden::new(AdapterKind::OpenAI, target.model.model_name),
        })
    });
    let client = Client::builder().with_service_target_resolver(resolver).build().expect("it can be built");
    let request = ChatRequest::default()
        .with_system("secret instructions")
        .append_message(ChatMessage::user("secret prompt"))
        .append_tool(Tool::new("search").with_description("secret tool"));
    let response = client.exec_chat("a-model", request, None).await.expect("the server answers");
    assert_eq!(response.first_text(), Some("secret answer"));
}

/// In a process of its own: exports the spans of a call, and returns what was exported.
fn exported(client: impl AsyncFnOnce(&str)) -> String {
    let (url, exports) = serve();
    let telemetry = Builder::new()
        .without_listener()
        .with_otlp_endpoint(&url)
        .with_otlp_protocol(OtlpProtocol::HttpProtobuf)
        .install()
        .expect("it installs");
    // Both libraries record content now, whatever the export does with it.
    #[expect(unsafe_code, reason = "no other thread of this process reads or sets variables now")]
    unsafe {
        std::env::set_var(CAPTURE, "true");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be had");
    runtime.block_on(client(&url));
    telemetry.shutdown(Duration::from_secs(30)).expect("every span arrives");
    let exports = exports.lock().expect("no panic");
    String::from_utf8_lossy(&exports).into_owned()
}

const IN_CHILD: &str = "TEST_CHILD";

/// Runs the test again in a process of its own, with content wanted or not.
fn in_child(capture: &str) -> bool {
    if std::env::var_os(IN_CHILD).is_some() {
        return true;
    }
    let thread = std::thread::current();
    let test = thread.name().expect("the harness names the thread after the test");
    let output = Command::new(std::env::current_exe().expect("the test's own path"))
        .args(["--exact", test, "--nocapture"])
        .env(IN_CHILD, "1")
        .env(CAPTURE, capture)
        .output()
        .expect("the test's own binary runs");
    assert!(output.status.success(), "{output:?}");
    false
}

fn has_no_content(exported: &str) {
    assert!(exported.contains("gen_ai.request.model") && exported.contains("a-model"), "{exported}");
    assert!(!exported.contains("secret"), "{exported}");
}

fn has_content(exported: &str, texts: &[&str]) {
    for text in texts {
        assert!(exported.contains(text), "{text}: {exported}");
    }
}

#[test]
fn rig_exports_no_content() {
    if in_child("false") {
        has_no_content(&exported(rig));
    }
}

#[test]
fn rig_exports_content_where_it_is_asked_for() {
    if in_child("true") {
        // Its agents, which are in another crate, record messages too.
        has_content(&exported(rig), &["gen_ai.system_instructions", "secret instructions"]);
    }
}

#[test]
fn genai_exports_no_content() {
    if in_child("false") {
        has_no_content(&exported(genai));
    }
}

#[test]
fn genai_exports_content_where_it_is_asked_for() {
    if in_child("true") {
        let texts = ["gen_ai.input.messages", "secret prompt", "secret answer", "secret instructions", "secret tool"];
        has_content(&exported(genai), &texts);
    }
}
