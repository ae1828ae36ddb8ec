//! Which requests are calls, and of which provider, model and operation.

use botticelli_obs::http_layer::{LlmLayer, LlmRequest};
use botticelli_obs::testing::{Attribute, Capture};

use super::scripted::{self, Script, post};

/// URL, body, and the provider, model and operation that are right.
type Case = (&'static str, &'static str, [&'static str; 3]);

const CHAT: &str = r#"{"model": "m", "messages": [{"role": "user", "content": "hello"}], "stream": true}"#;

const RECOGNISED: &[Case] = &[
    ("https://api.openai.com/v1/chat/completions", CHAT, ["openai", "m", "chat"]),
    ("https://api.openai.com/v1/chat/completions/?a=b", CHAT, ["openai", "m", "chat"]),
    ("https://API.OpenAI.com/v1/completions", r#"{"model": "m", "prompt": "p"}"#, ["openai", "m", "text_completion"]),
    ("https://api.openai.com/v1/responses", r#"{"input": "p", "model": "m"}"#, ["openai", "m", "chat"]),
    ("https://api.openai.com/v1/embeddings", r#"{"input": ["p"], "model": "m"}"#, ["openai", "m", "embeddings"]),
    (
        "https://uffizi.openai.azure.com/openai/deployments/gpt%2D4o/chat/completions?api-version=2024-10-21",
        r#"{"messages": []}"#,
        ["azure", "gpt-4o", "chat"],
    ),
    ("https://uffizi.openai.azure.com/openai/v1/responses", r#"{"model": "m", "input": "p"}"#, ["azure", "m", "chat"]),
    ("https://api.anthropic.com/v1/messages", CHAT, ["anthropic", "m", "chat"]),
    (
        "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash:generateContent",
        r#"{"contents": []}"#,
        ["gemini", "gemini-2.5-flash", "generate_content"],
    ),
    (
        "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
        r#"{"contents": []}"#,
        ["gemini", "gemini-2.5-flash", "generate_content"],
    ),
    (
        "https://generativelanguage.googleapis.com/v1beta/models/gemini-embedding-001:embedContent",
        "{}",
        ["gemini", "gemini-embedding-001", "embeddings"],
    ),
    ("https://generativelanguage.googleapis.com/v1beta/openai/chat/completions", CHAT, ["gemini", "m", "chat"]),
    (
        "https://generativelanguage.googleapis.com/v1beta/interactions",
        r#"{"model": "m", "input": "p"}"#,
        ["gemini", "m", "chat"],
    ),
    (
        "https://us-central1-aiplatform.googleapis.com/v1/projects/p/locations/l/publishers/google/models/gemini-2.5-pro:generateContent",
        "{}",
        ["vertex", "gemini-2.5-pro", "generate_content"],
    ),
    (
        "https://aiplatform.googleapis.com/v1/projects/p/locations/global/publishers/anthropic/models/claude-sonnet-4-5:streamRawPredict",
        r#"{"messages": []}"#,
        ["vertex", "claude-sonnet-4-5", "chat"],
    ),
    ("http://localhost:11434/api/chat", CHAT, ["ollama", "m", "chat"]),
    ("http://127.0.0.1:11434/api/generate", r#"{"model": "m", "prompt": "p"}"#, ["ollama", "m", "text_completion"]),
    ("http://localhost:11434/api/embed", r#"{"model": "m", "input": "p"}"#, ["ollama", "m", "embeddings"]),
    ("http://localhost:8080/api/chat", CHAT, ["unknown", "m", "chat"]),
    ("https://api.cohere.com/v2/chat", CHAT, ["cohere", "m", "chat"]),
    ("https://api.cohere.com/v1/embed", r#"{"model": "m", "texts": []}"#, ["cohere", "m", "embeddings"]),
    (
        "https://api.mistral.ai/v1/fim/completions",
        r#"{"model": "m", "prompt": "p"}"#,
        ["mistral", "m", "text_completion"],
    ),
    ("https://api.groq.com/openai/v1/chat/completions", CHAT, ["groq", "m", "chat"]),
    ("https://openrouter.ai/api/v1/chat/completions", CHAT, ["openrouter", "m", "chat"]),
    ("https://api.x.ai/v1/chat/completions", CHAT, ["grok", "m", "chat"]),
    (
        "https://bedrock-runtime.eu-west-1.amazonaws.com/model/anthropic.claude-3-5-sonnet-20241022-v2%3A0/converse",
        r#"{"messages": [], "inferenceConfig": {"maxTokens": 100}}"#,
        ["bedrock", "anthropic.claude-3-5-sonnet-20241022-v2:0", "chat"],
    ),
    (
        "https://bedrock-runtime.us-east-1.amazonaws.com/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2Fus.amazon.nova-pro-v1%3A0/converse",
        "{}",
        ["bedrock", "us.amazon.nova-pro-v1:0", "chat"],
    ),
    (
        "https://bedrock-runtime.us-east-1.amazonaws.com/model/amazon.titan-embed-text-v2%3A0/invoke",
        r#"{"inputText": "p"}"#,
        ["bedrock", "amazon.titan-embed-text-v2:0", "embeddings"],
    ),
    (
        "https://api.cloudflare.com/client/v4/accounts/a/ai/run/@cf/meta/llama-3.1-8b-instruct",
        r#"{"messages": []}"#,
        ["cloudflare", "@cf/meta/llama-3.1-8b-instruct", "chat"],
    ),
    (
        "https://api.cloudflare.com/client/v4/accounts/a/ai/run/@cf/baai/bge-m3",
        r#"{"text": ["p"]}"#,
        ["cloudflare", "@cf/baai/bge-m3", "embeddings"],
    ),
    (
        "https://us-south.ml.cloud.ibm.com/ml/v1/text/chat?version=2024-05-31",
        r#"{"model_id": "ibm/granite-3-8b-instruct", "messages": []}"#,
        ["watsonx", "ibm/granite-3-8b-instruct", "chat"],
    ),
    (
        "https://dashscope.aliyuncs.com/api/v1/services/aigc/text-generation/generation",
        r#"{"model": "qwen-plus", "input": {"messages": []}}"#,
        ["dashscope", "qwen-plus", "chat"],
    ),
    (
        "https://x.cloud.databricks.com/serving-endpoints/llama/invocations",
        r#"{"messages": []}"#,
        ["databricks", "llama", "chat"],
    ),
    // A gateway of the user's own.
    ("https://gateway.uffizi.it/llm/v1/chat/completions", CHAT, ["unknown", "m", "chat"]),
    ("https://gateway.uffizi.it/deployments/d/chat/completions", r#"{"messages": []}"#, ["unknown", "d", "chat"]),
];

const OTHERS: &[(&str, &str)] = &[
    ("https://api.openai.com/v1/files", CHAT),
    ("https://api.openai.com/v1/chat/completions/chatcmpl-1", CHAT),
    ("https://api.openai.com/v1/responses/resp_1/cancel", "{}"),
    ("https://api.anthropic.com/v1/messages/count_tokens", CHAT),
    ("https://api.anthropic.com/v1/messages/batches", CHAT),
    ("https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash:countTokens", "{}"),
    ("https://aiplatform.googleapis.com/v1/publishers/google/models/imagen-4:predict", "{}"),
    ("https://bedrock-runtime.us-east-1.amazonaws.com/model/m/converse-stream", "{}"),
    // Others that have the same words in their paths.
    ("https://survey.example.org/v1/responses", r#"{"input": "blue"}"#),
    ("https://survey.example.org/v1/responses", r#"{"model": "blue", "answers": []}"#),
    ("https://chat.example.org/channels/1/messages", CHAT),
    ("https://chat.example.org/v1/chat", r#"{"text": "hello"}"#),
    ("https://forum.example.org/v1/chat/completions", "no JSON"),
    ("https://forum.example.org/v1/chat/completions", r#"["messages"]"#),
    ("https://search.example.org/completions", "q=venus"),
    ("https://example.org/", CHAT),
    ("https://example.org", CHAT),
    ("/v1/chat/completions", ""),
];

async fn send(layer: LlmLayer, request: http::Request<http_body_util::Full<bytes::Bytes>>) -> Capture {
    let capture = Capture::new();
    capture.observe(scripted::send(&layer, request, http::Response::new(Script::default().telling_its_end()))).await;
    capture
}

/// Returns provider, model and operation of the only call; `None` if there is none.
fn only_call(capture: &Capture) -> Option<[String; 3]> {
    let spans = capture.spans();
    let [span] = &spans[..] else {
        assert!(spans.is_empty(), "{spans:?}");
        return None;
    };
    let text = |name| match span.attribute(name) {
        Some(Attribute::Text(text)) => text,
        other => panic!("{name}: {other:?}"),
    };
    let [provider, model, operation] =
        ["gen_ai.provider.name", "gen_ai.request.model", "gen_ai.operation.name"].map(text);
    Some([provider, model, operation])
}

#[tokio::test]
async fn every_api_is_recognised() {
    for (url, body, [provider, model, operation]) in RECOGNISED {
        let capture = send(LlmLayer::new(), post(url, body)).await;
        let [_, found_model, found_operation] = only_call(&capture).unwrap_or_else(|| panic!("{url}: not recognised"));
        assert_eq!((&*found_model, &*found_operation), (*model, *operation), "{url}");
        assert_eq!(capture.llm(provider, model).requests(), 1, "{url}");
    }
}

#[tokio::test]
async fn other_requests_are_not_counted() {
    for (url, body) in OTHERS {
        let capture = send(LlmLayer::new(), post(url, body)).await;
        assert_eq!(only_call(&capture), None, "{url}");
    }
    for method in ["GET", "PUT", "DELETE"] {
        let mut request = scripted::chat("m");
        *request.method_mut() = method.parse().expect("a method");
        assert_eq!(only_call(&send(LlmLayer::new(), request).await), None, "{method}");
    }
}

#[tokio::test]
async fn the_header_names_the_host_of_a_path() {
    let mut request = post("/v1/chat/completions", CHAT);
    request.headers_mut().insert("host", "api.groq.com:443".parse().expect("a header"));
    assert_eq!(send(LlmLayer::new(), request).await.llm("groq", "m").requests(), 1);
}

#[tokio::test]
async fn an_endpoint_names_its_provider_and_is_recognised_by_paths_alone() {
    let layer = LlmLayer::new().with_endpoint("http://10.0.0.5:8080/", "llama.cpp");
    let capture = send(layer, post("http://10.0.0.5:8080/completion", r#"{"prompt": "p"}"#)).await;
    assert_eq!(capture.llm("llama.cpp", "unknown").requests(), 1);
    let capture = send(LlmLayer::new(), post("http://10.0.0.5:8080/completion", r#"{"prompt": "p"}"#)).await;
    assert_eq!(only_call(&capture), None);
}

#[tokio::test]
async fn a_recognizer_is_asked_first_and_may_panic() {
    let layer = LlmLayer::new().with_recognizer(|_| panic!("on purpose")).with_recognizer(|request| {
        assert_eq!(request.body(), Some(&b"three graces"[..]));
        (request.path() == "/ask").then(|| LlmRequest::new("uffizi", "venus-2").with_operation("embeddings"))
    });
    let capture = send(layer, post("http://llm.uffizi.it/ask", "three graces")).await;
    assert_eq!(capture.llm("uffizi", "venus-2").requests(), 1);
}

#[tokio::test]
async fn what_a_request_asks_for_is_on_the_span() {
    let bodies = [
        r#"{"model": "m", "messages": [], "max_tokens": 100, "temperature": 0.7, "top_p": 1, "stream": true}"#,
        r#"{"model": "m", "messages": [], "generationConfig": {"maxOutputTokens": 100, "temperature": 0.7, "topP": 1}, "stream": true}"#,
        r#"{"messages": [{"model": "n", "stream": false}], "model": "m", "options": {"num_predict": 100, "temperature": 0.7, "top_p": 1}, "stream": true}"#,
    ];
    for body in bodies {
        let capture = send(LlmLayer::new(), post("http://localhost:8080/v1/chat/completions", body)).await;
        let spans = capture.spans();
        let attribute = |name| spans[0].attribute(name);
        assert_eq!(attribute("gen_ai.request.max_tokens"), Some(Attribute::Int(100)), "{body}");
        assert_eq!(attribute("gen_ai.request.temperature"), Some(Attribute::Float(0.7)), "{body}");
        assert_eq!(attribute("gen_ai.request.top_p"), Some(Attribute::Float(1.0)), "{body}");
        assert_eq!(attribute("gen_ai.request.stream"), Some(Attribute::Bool(true)), "{body}");
        assert_eq!(attribute("server.address"), Some(Attribute::Text("localhost".to_owned())));
        assert_eq!(attribute("server.port"), Some(Attribute::Int(8080)));
    }
}
