//! The same call by each kind of source.

use std::sync::OnceLock;
use std::time::Duration;

use botticelli_obs::http_layer::{LlmLayer, LlmMiddleware};
use botticelli_obs::json::{Response, StreamEnd, StreamReader};
use botticelli_obs::{ErrorType, LlmCall, Outcome};
use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::server::MODEL;

/// A client whose calls are recorded without a line at the call site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// `reqwest` with the middleware.
    Middleware,
    /// async-openai with the layer.
    AsyncOpenAi,
    /// rig, over `reqwest` alone or with the middleware.
    Rig { has_middleware: bool },
    /// genai.
    GenAi,
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    pub url: &'a str,
    pub prompt: &'static str,
    pub is_streamed: bool,
}

impl Client {
    /// Makes the call; whatever comes of it.
    pub async fn ask(self, ask: Ask<'_>) {
        match self {
            Self::Middleware => drop(send(&with_middleware(ask.url), ask).await),
            Self::AsyncOpenAi => async_openai(ask).await,
            Self::Rig { has_middleware } => rig(ask, has_middleware).await,
            Self::GenAi => genai(ask).await,
        }
    }
}

/// One for all calls: to make one takes longer than a call.
fn http() -> reqwest::Client {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    CLIENT.get_or_init(reqwest::Client::new).clone()
}

fn with_middleware(url: &str) -> reqwest_middleware::ClientWithMiddleware {
    let middleware = LlmMiddleware::new().with_endpoint(url, "openai");
    reqwest_middleware::ClientBuilder::new(http()).with(middleware).build()
}

/// A client that waits for its limiter and tries again when it is refused, which it always is the first time.
pub async fn with_retry(url: &str) {
    let client = with_middleware(url);
    let call = LlmCall::current().expect("it is inside a call");
    for prompt in ["limit", "stop"] {
        call.record_wait(LIMITER);
        let _ = send(&client, Ask { url, prompt, is_streamed: false }).await;
    }
}

/// What the limiter of that client takes.
pub const LIMITER: Duration = Duration::from_secs(20);

fn body(ask: Ask<'_>) -> Value {
    json!({"model": MODEL, "messages": [{"role": "user", "content": ask.prompt}], "stream": ask.is_streamed})
}

async fn send(
    client: &reqwest_middleware::ClientWithMiddleware,
    ask: Ask<'_>,
) -> Result<(), reqwest_middleware::Error> {
    let response = client.post(format!("{}/chat/completions", ask.url)).json(&body(ask)).send().await?;
    response.bytes().await?;
    Ok(())
}

/// The call by hand: the guard around `reqwest`, with this crate's reader of answers.
pub async fn guard(ask: Ask<'_>) {
    let builder = LlmCall::builder("openai", MODEL);
    let mut call = if ask.is_streamed { builder.with_streaming() } else { builder }.start();
    let sent = http().post(format!("{}/chat/completions", ask.url)).json(&body(ask)).send();
    let response = match call.scope(sent).await {
        Ok(response) => response,
        Err(error) => return call.fail(&error),
    };
    let status = response.status();
    if ask.is_streamed && status.is_success() {
        return guard_stream(call, response).await;
    }
    match call.scope(response.bytes()).await {
        Ok(bytes) => {
            if !status.is_success() {
                call.record_error(ErrorType::from_http_status(status.as_u16()));
            }
            let json = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
            Response::read(&json).record_in(&mut call);
            call.finish();
        }
        Err(error) => call.fail(&error),
    }
}

async fn guard_stream(mut call: LlmCall, response: reqwest::Response) {
    let mut reader = StreamReader::new();
    let mut bytes = Box::pin(response.bytes_stream());
    while let Some(chunk) = call.scope(bytes.next()).await {
        let Ok(chunk) = chunk else { return call.fail(ErrorType::Stream) };
        let mut responses = reader.read(&chunk);
        while let Some(response) = responses.next() {
            if responses.has_content() {
                call.record_chunk();
            }
            response.record_in(&mut call);
        }
    }
    match reader.end() {
        StreamEnd::Missing => call.fail(ErrorType::Stream),
        _ => call.finish(),
    }
}

async fn async_openai(ask: Ask<'_>) {
    use async_openai::Client;
    use async_openai::config::OpenAIConfig;
    use async_openai::middleware::ReqwestService;
    use async_openai::types::chat::{ChatCompletionRequestUserMessageArgs, CreateChatCompletionRequestArgs};
    use tower::Layer;

    let config = OpenAIConfig::new().with_api_base(ask.url).with_api_key("key");
    let service = LlmLayer::new().with_endpoint(ask.url, "openai").layer(ReqwestService::new(http()));
    let client = Client::with_config(config).with_http_service(service);
    let message = ChatCompletionRequestUserMessageArgs::default().content(ask.prompt).build().expect("it has content");
    let mut request = CreateChatCompletionRequestArgs::default();
    let request = request.model(MODEL).messages([message.into()]).build().expect("it is complete");
    if !ask.is_streamed {
        let _ = client.chat().create(request).await;
    } else if let Ok(mut chunks) = client.chat().create_stream(request).await {
        while chunks.next().await.is_some() {}
    }
}

async fn rig(ask: Ask<'_>, has_middleware: bool) {
    use rig_core::completion::CompletionRequest;
    use rig_core::http_client::DynHttpClient;
    use rig_core::providers::openai::OpenAIConfig;
    use rig_core::providers::openai::wire::OPENAI;
    use rig_reqwest::{ReqwestClient, ReqwestMiddlewareClient};

    let http = if has_middleware {
        DynHttpClient::new(ReqwestMiddlewareClient::from(with_middleware(ask.url)))
    } else {
        DynHttpClient::new(ReqwestClient::from(http()))
    };
    let config = OpenAIConfig::with_key(&OPENAI, "key").with_base_url(ask.url);
    let model = config.client().with_http(http).chat(MODEL);
    let request = CompletionRequest::new(ask.prompt);
    if !ask.is_streamed {
        let _ = model.call(request).await;
    } else if let Ok(mut stream) = model.stream(request) {
        while let Some(Ok(_)) = stream.next().await {}
        let _ = stream.finish().await;
    }
}

async fn genai(ask: Ask<'_>) {
    use genai::adapter::AdapterKind;
    use genai::chat::{ChatMessage, ChatOptions, ChatRequest};
    use genai::resolver::{AuthData, Endpoint, Error, ServiceTargetResolver};
    use genai::{Client, ModelIden, ServiceTarget};

    let url = format!("{}/", ask.url);
    let resolver = ServiceTargetResolver::from_resolver_fn(move |target: ServiceTarget| -> Result<_, Error> {
        Ok(ServiceTarget {
            endpoint: Endpoint::from_owned(url.clone()),
            auth: AuthData::from_single("key"),
            model: ModelIden::new(AdapterKind::OpenAI, target.model.model_name),
        })
    });
    let client =
        Client::builder().with_reqwest(http()).with_service_target_resolver(resolver).build().expect("it can be built");
    let request = ChatRequest::default().append_message(ChatMessage::user(ask.prompt));
    let options = ChatOptions::default().with_capture_usage(true);
    if !ask.is_streamed {
        let _ = client.exec_chat(MODEL, request, Some(&options)).await;
    } else if let Ok(mut response) = client.exec_chat_stream(MODEL, request, Some(&options)).await {
        while let Some(Ok(_)) = response.stream.next().await {}
    }
}
