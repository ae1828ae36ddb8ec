//! Calls and attempts, by where the layer stands; what is handed up.

use async_openai::Client;
use async_openai::config::OpenAIConfig;
use async_openai::error::OpenAIError;
use async_openai::middleware::ReqwestService;
use async_openai::middleware::retry::OpenAIRetryLayer;
use async_openai::types::chat::{ChatCompletionRequestUserMessageArgs, CreateChatCompletionRequestArgs};
use botticelli_obs::http_layer::{LlmLayer, LlmMiddleware};
use botticelli_obs::testing::{Attribute, Capture, CapturedSpan};
use botticelli_obs::{ErrorType, LlmCall};
use futures_util::StreamExt;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use reqwest_retry::RetryTransientMiddleware;
use reqwest_retry::policies::ExponentialBackoff;
use tower::ServiceBuilder;

use super::server::{Act, Server, answer};

const BODY: &str = r#"{"id": "c-1", "object": "chat.completion", "created": 1, "model": "m-2", "choices": [{"index": 0,
    "message": {"role": "assistant", "content": "gold"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}}"#;

const BUSY: &str = r#"{"error": {"message": "wait", "type": "tokens", "code": "rate_limit_exceeded"}}"#;

fn json(status: &str, body: &str) -> Vec<Act> {
    answer(status, "content-type: application/json\r\nx-request-id: req_7\r\nretry-after: 0\r\n", body.as_bytes())
}

/// A server that is overloaded, then busy, and then answers.
async fn server() -> Server {
    Server::start(vec![json("503 Down", ""), json("429 Busy", BUSY), json("200 OK", BODY)]).await
}

fn layers(outside: bool, inside: bool) -> ClientWithMiddleware {
    let bounds = (std::time::Duration::ZERO, std::time::Duration::from_millis(2));
    let policy = ExponentialBackoff::builder().retry_bounds(bounds.0, bounds.1).build_with_max_retries(5);
    let layer = || LlmMiddleware::new().with_endpoint("127.0.0.1", "uffizi");
    let mut client = ClientBuilder::new(reqwest::Client::builder().no_proxy().build().expect("a client"));
    if outside {
        client = client.with(layer());
    }
    client = client.with(RetryTransientMiddleware::new_with_policy(policy));
    if inside {
        client = client.with(layer());
    }
    client.build()
}

async fn ask(client: &ClientWithMiddleware, server: &Server) -> String {
    let request = client.post(server.url("/v1/chat/completions")).body(r#"{"model": "m", "messages": []}"#);
    request.send().await.expect("it answers").text().await.expect("the answer can be read")
}

fn attempts(capture: &Capture) -> Vec<CapturedSpan> {
    capture.spans().into_iter().filter(|span| span.name() == "attempt").collect()
}

#[track_caller]
fn assert_three_attempts(capture: &Capture, [provider, model]: [&str; 2], code: Option<&str>) {
    let llm = capture.llm(provider, model);
    assert_eq!(llm.requests(), 1);
    assert_eq!(llm.errors(), 0);
    assert_eq!(llm.tokens(), 9);
    assert_eq!(llm.finished("stop"), 1);
    assert_eq!(llm.attempts(), 3);
    assert_eq!(llm.attempt_errors_of(ErrorType::Overloaded), 1);
    assert_eq!(llm.attempt_errors_of(ErrorType::RateLimit), 1);
    let attempts = attempts(capture);
    let resent: Vec<_> = attempts.iter().map(|span| span.attribute("http.request.resend_count")).collect();
    assert_eq!(resent, [None, Some(Attribute::Int(1)), Some(Attribute::Int(2))], "{capture}");
    let text = |text: &str| Some(Attribute::Text(text.to_owned()));
    let statuses: Vec<_> = attempts.iter().map(|span| span.attribute("http.response.status_code")).collect();
    assert_eq!(statuses, [Some(Attribute::Int(503)), Some(Attribute::Int(429)), None]);
    assert_eq!(attempts[1].attribute("botticelli.error.code"), code.and_then(text));
    assert_eq!(attempts[1].attribute("botticelli.request.id"), text("req_7"));
    let spans = capture.spans();
    let call = spans.iter().find(|span| span.attribute("gen_ai.response.id").is_some()).expect("the call has a span");
    assert_eq!(call.attribute("gen_ai.response.model"), text("m-2"));
    assert!(!call.is_error());
    assert_eq!(call.attribute("http.response.status_code"), None);
    assert!(attempts.iter().all(|attempt| attempt.parent_id() == Some(call.id())));
}

#[tokio::test]
async fn outside_of_a_retry_layer_a_request_is_a_call_without_attempts() {
    let (server, capture) = (server().await, Capture::new());
    assert_eq!(capture.observe(ask(&layers(true, false), &server)).await, BODY);
    let llm = capture.llm("uffizi", "m");
    assert_eq!((llm.requests().get(), llm.errors().get(), llm.tokens().get(), llm.attempts().get()), (1, 0, 9, 0));
}

#[tokio::test]
async fn inside_of_a_retry_layer_alone_each_request_is_a_call() {
    let (server, capture) = (server().await, Capture::new());
    assert_eq!(capture.observe(ask(&layers(false, true), &server)).await, BODY);
    let llm = capture.llm("uffizi", "m");
    assert_eq!((llm.requests().get(), llm.errors().get(), llm.attempts().get()), (3, 2, 0));
}

#[tokio::test]
async fn outside_and_inside_are_one_call_with_its_attempts() {
    let (server, capture) = (server().await, Capture::new());
    assert_eq!(capture.observe(ask(&layers(true, true), &server)).await, BODY);
    assert_three_attempts(&capture, ["uffizi", "m"], None);
    assert_eq!(capture.spans().len(), 4);
}

#[tokio::test]
async fn inside_of_a_guard_requests_are_attempts_whatever_the_names() {
    for outside in [false, true] {
        let (server, capture) = (server().await, Capture::new());
        let client = layers(outside, true);
        let guarded = async {
            let call = LlmCall::builder("alias", "the good one").with_operation("generate_content").start();
            call.observe(async { Ok::<_, ErrorType>(silent(ask(&client, &server).await)) }).await
        };
        assert!(capture.observe(guarded).await.is_ok());
        // This retry layer reads no body of a failed attempt.
        assert_three_attempts(&capture, ["alias", "the good one"], None);
        assert_eq!(capture.llm("uffizi", "m").requests(), 0);
        // What the outer layer took for an attempt is what the three have in common.
        let common = capture.spans().iter().filter(|span| span.name() == "attempts").count();
        assert_eq!(common, usize::from(outside), "{capture}");
    }
}

/// A reply that says nothing of its call.
fn silent(text: String) -> Silent {
    assert_eq!(text, BODY);
    Silent
}

struct Silent;

impl botticelli_obs::LlmResponse for Silent {
    fn usage(&self) -> Option<botticelli_obs::Usage> {
        None
    }
}

#[tokio::test]
async fn embeddings_inside_a_chat_are_a_call_of_their_own() {
    let body = r#"{"object": "list", "model": "e", "data": [], "usage": {"prompt_tokens": 5, "total_tokens": 5}}"#;
    let (server, capture) = (Server::start(vec![json("200 OK", body)]).await, Capture::new());
    let client = layers(true, false);
    let chat = async {
        let mut call = LlmCall::start("uffizi", "m");
        let request = client.post(server.url("/v1/embeddings")).body(r#"{"model": "e", "input": "p"}"#);
        let sent = call.scope(request.send()).await.expect("it answers");
        assert_eq!(sent.text().await.expect("text"), body);
        call.finish();
    };
    capture.observe(chat).await;
    assert_eq!((capture.llm("uffizi", "m").requests().get(), capture.llm("uffizi", "m").tokens().get()), (1, 0));
    assert_eq!((capture.llm("uffizi", "e").requests().get(), capture.llm("uffizi", "e").tokens().get()), (1, 5));
    assert_eq!(capture.llm("uffizi", "m").attempts(), 0);
}

#[tokio::test]
async fn when_all_attempts_fail_the_call_does() {
    let (server, capture) = (Server::start(vec![json("429 Busy", BUSY)]).await, Capture::new());
    assert_eq!(capture.observe(ask(&layers(true, true), &server)).await, BUSY);
    let llm = capture.llm("uffizi", "m");
    assert_eq!((llm.requests().get(), llm.errors_of(ErrorType::RateLimit).get(), llm.attempts().get()), (1, 1, 6));
    assert_eq!(server.received().len(), 6);
}

#[tokio::test]
async fn a_server_that_is_not_there_fails_call_and_attempts() {
    let capture = Capture::new();
    let unused = Server::start(vec![vec![Act::Reset]]).await;
    let sent = async {
        layers(true, true)
            .post(unused.url("/v1/chat/completions"))
            .body(r#"{"model": "m", "messages": []}"#)
            .send()
            .await
    };
    assert!(capture.observe(sent).await.is_err());
    let llm = capture.llm("uffizi", "m");
    assert_eq!((llm.requests().get(), llm.errors_of(ErrorType::Network).get()), (1, 1));
    assert_eq!(llm.attempt_errors_of(ErrorType::Network), llm.attempts());
}

fn openai(server: &Server) -> Client<OpenAIConfig> {
    let layer = || LlmLayer::new().with_endpoint("127.0.0.1", "uffizi").with_stream_usage();
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let service = ServiceBuilder::new()
        .layer(layer())
        .layer(OpenAIRetryLayer::default())
        .layer(layer())
        .service(ReqwestService::new(http));
    let config = OpenAIConfig::new().with_api_base(server.url("/v1")).with_api_key("key");
    Client::with_config(config).with_http_service(service)
}

fn request() -> async_openai::types::chat::CreateChatCompletionRequest {
    let message = ChatCompletionRequestUserMessageArgs::default().content("hello").build().expect("a message");
    CreateChatCompletionRequestArgs::default().model("m").messages([message.into()]).build().expect("a request")
}

#[tokio::test]
async fn a_client_of_async_openai_has_its_call_and_attempts() {
    let (server, capture) = (server().await, Capture::new());
    let answer = capture.observe(openai(&server).chat().create(request())).await;
    assert_eq!(answer.expect("it answers").id, "c-1");
    assert_three_attempts(&capture, ["uffizi", "m"], Some("rate_limit_exceeded"));
    let received = server.received();
    assert_eq!(received.len(), 3, "none is built or sent twice");
    assert!(received.iter().all(|request| request.body == received[0].body));
}

#[tokio::test]
async fn quota_is_told_by_the_error_that_the_retry_layer_makes_of_it() {
    let quota = r#"{"error": {"message": "You exceeded your current quota", "type": "insufficient_quota", "code": "insufficient_quota"}}"#;
    let (server, capture) = (Server::start(vec![json("429 Busy", quota)]).await, Capture::new());
    let error = capture.observe(openai(&server).chat().create(request())).await.expect_err("it is refused");
    assert!(matches!(error, OpenAIError::ApiError(_)), "{error}");
    let llm = capture.llm("uffizi", "m");
    assert_eq!((llm.requests().get(), llm.errors_of(ErrorType::Quota).get(), llm.attempts().get()), (1, 1, 1));
    assert_eq!(llm.attempt_errors_of(ErrorType::Quota), 1);
}

#[tokio::test]
async fn a_stream_of_async_openai_is_asked_for_its_usage() {
    let body = "data: {\"id\": \"c\", \"object\": \"chat.completion.chunk\", \"created\": 1, \"model\": \"m\", \"choices\": [{\"index\": 0, \"delta\": {\"content\": \"gold\"}, \"finish_reason\": \"stop\"}]}\n\ndata: {\"id\": \"c\", \"object\": \"chat.completion.chunk\", \"created\": 1, \"model\": \"m\", \"choices\": [], \"usage\": {\"prompt_tokens\": 7, \"completion_tokens\": 2, \"total_tokens\": 9}}\n\ndata: [DONE]\n\n";
    let stream = answer("200 OK", "content-type: text/event-stream\r\n", body.as_bytes());
    let (server, capture) = (Server::start(vec![json("503 Down", ""), stream]).await, Capture::new());
    let read = async {
        let mut chunks = openai(&server).chat().create_stream(request()).await.expect("it opens");
        let mut count = 0;
        while let Some(chunk) = chunks.next().await {
            chunk.expect("a chunk");
            count += 1;
        }
        count
    };
    assert_eq!(capture.observe(read).await, 2);
    let llm = capture.llm("uffizi", "m");
    // The client reads in a task of its own, which may still run.
    crate::support::wait_for("the call ends", std::time::Duration::from_secs(10), || {
        (llm.requests() == 1).then_some(())
    });
    assert_eq!((llm.tokens().get(), llm.errors().get(), llm.attempts().get()), (9, 0, 2));
    assert_eq!((llm.first_chunks().len(), llm.chunk_gaps().len()), (1, 0));
    let asks = r#""stream_options":{"include_usage":true}"#;
    for received in server.received() {
        assert_eq!(received.body.matches(asks).count(), 1, "{}", received.body);
        assert!(serde_json::from_str::<serde_json::Value>(&received.body).is_ok());
        assert_eq!(received.header("content-length"), Some(&*received.body.len().to_string()));
    }
}
