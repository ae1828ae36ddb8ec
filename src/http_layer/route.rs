//! Which API a path belongs to.

use std::borrow::Cow;

use super::fields::Asks;
use super::request::HttpRequest;
use crate::json::Api;

const CHAT: &str = "chat";
const TEXT: &str = "text_completion";
const EMBEDDINGS: &str = "embeddings";

/// What is known of a request by its path.
#[derive(Debug)]
pub(super) struct Route<'a> {
    pub(super) api: Option<Api>,
    pub(super) operation: &'static str,
    pub(super) model: Model<'a>,
    /// Whether the answer is streamed where the body does not say.
    pub(super) streams: bool,
    /// Whether it takes `stream_options`.
    pub(super) has_stream_options: bool,
    /// What the body has one of; nothing where the path is like no other.
    pub(super) asks: &'static [Asks],
}

/// Where the model is named.
#[derive(Debug)]
pub(super) enum Model<'a> {
    Body,
    Path(Cow<'a, str>),
}

impl<'a> Route<'a> {
    fn new(api: Api, operation: &'static str, asks: &'static [Asks]) -> Self {
        Self { api: Some(api), operation, model: Model::Body, streams: false, has_stream_options: false, asks }
    }

    fn guessed(operation: &'static str, asks: &'static [Asks]) -> Self {
        Self { api: None, ..Self::new(Api::OpenAiChat, operation, asks) }
    }

    fn of_model(self, model: &'a str) -> Self {
        let model = HttpRequest::decode(model);
        // The resource names of AWS have the number of an account before the model.
        let model = match model.rsplit_once('/') {
            Some((before, name)) if before.starts_with("arn:") => Cow::Owned(name.to_owned()),
            _ => model,
        };
        Self { model: Model::Path(model), asks: &[], ..self }
    }

    fn streaming(self) -> Self {
        Self { streams: true, ..self }
    }

    /// Finds the route of a path; `None` for what is no request to an LLM.
    pub(super) fn find(request: &HttpRequest<'a>) -> Option<Self> {
        let path = request.path().trim_end_matches('/');
        let (before, last) = path.rsplit_once('/')?;
        if let Some((model, method)) = last.split_once(':') {
            return google(before, model, method);
        }
        if let Some((_, model)) = path.split_once("/ai/run/") {
            let asks = &[Asks::Messages, Asks::Prompt, Asks::Texts];
            return Some(Self { asks, ..Self::guessed(CHAT, asks).of_model(model) });
        }
        let route = match (last, before.rsplit('/').next().unwrap_or_default()) {
            ("completions", "chat") => {
                let route = Self::new(Api::OpenAiChat, CHAT, &[Asks::Messages]);
                of_deployment(Self { has_stream_options: true, ..route }, before)
            }
            // Mistral's agents have messages.
            ("completions", "agents") => Self::new(Api::OpenAiChat, CHAT, &[Asks::Messages]),
            ("completions", _) => {
                let route = Self::new(Api::OpenAiChat, TEXT, &[Asks::Prompt]);
                of_deployment(Self { has_stream_options: true, ..route }, before)
            }
            ("responses", _) => Self::new(Api::OpenAiResponses, CHAT, &[Asks::Input, Asks::Prompt]),
            ("embeddings", "api") => Self::new(Api::Ollama, EMBEDDINGS, &[Asks::Prompt]),
            ("embeddings", _) => of_deployment(Self::new(Api::OpenAiChat, EMBEDDINGS, &[Asks::Input]), before),
            ("messages", parent) if parent == "v1" || request.headers().contains_key("anthropic-version") => {
                Self::new(Api::AnthropicMessages, CHAT, &[Asks::Messages])
            }
            ("chat", "api") => Self::new(Api::Ollama, CHAT, &[Asks::Messages]).streaming(),
            ("generate", "api") => Self::new(Api::Ollama, TEXT, &[Asks::Prompt]).streaming(),
            ("embed", "api") => Self::new(Api::Ollama, EMBEDDINGS, &[Asks::Input]),
            ("chat", "v1" | "v2") => Self::new(Api::Cohere, CHAT, &[Asks::Messages]),
            ("generate", "v1") => Self::new(Api::Cohere, TEXT, &[Asks::Prompt]),
            ("embed", "v1" | "v2") => Self::new(Api::Cohere, EMBEDDINGS, &[Asks::Texts]),
            // The stream of Converse is no text, but the events of AWS in binary.
            ("converse", _) => Self::new(Api::BedrockConverse, CHAT, &[]).of_model(after(before, "/model/")?),
            ("invoke", _) => {
                let model = after(before, "/model/")?;
                let operation = if model.contains("embed") { EMBEDDINGS } else { CHAT };
                Self::guessed(operation, &[]).of_model(model)
            }
            ("interactions", parent) if parent.starts_with('v') => {
                Self::new(Api::GeminiInteractions, CHAT, &[Asks::Input])
            }
            // Databricks.
            ("invocations", _) => {
                let asks = &[Asks::Messages, Asks::Prompt, Asks::Input];
                Self { asks, ..Self::guessed(CHAT, asks).of_model(after(before, "/serving-endpoints/")?) }
            }
            // watsonx.
            ("chat", "text") => Self::guessed(CHAT, &[Asks::Messages]),
            ("chat_stream", "text") => Self::guessed(CHAT, &[Asks::Messages]).streaming(),
            ("generation", "text") => Self::guessed(TEXT, &[Asks::Input]),
            ("generation_stream", "text") => Self::guessed(TEXT, &[Asks::Input]).streaming(),
            // Qwen's own API.
            ("generation", "text-generation" | "multimodal-generation") => Self::guessed(CHAT, &[Asks::Input]),
            // llama.cpp.
            ("completion", _) => Self::guessed(TEXT, &[Asks::Prompt]),
            _ => return None,
        };
        Some(route)
    }
}

/// Azure has the name of a deployment in the path, where others have the model in the body.
fn of_deployment<'a>(route: Route<'a>, path: &'a str) -> Route<'a> {
    let asks = route.asks;
    match after(path, "/deployments/").and_then(|rest| rest.split('/').next()) {
        Some(name) => Route { asks, ..route.of_model(name) },
        None => route,
    }
}

/// Returns the route of a method of Gemini or Vertex, such as `models/gemini-2.5-flash:generateContent`.
fn google<'a>(before: &'a str, model: &'a str, method: &str) -> Option<Route<'a>> {
    let parent = before.rsplit('/').next().unwrap_or_default();
    if !matches!(parent, "models" | "tunedModels" | "endpoints") {
        return None;
    }
    let publisher = after(before, "/publishers/").and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let raw = || match publisher {
        "anthropic" => Route::new(Api::AnthropicMessages, CHAT, &[]),
        _ => Route::guessed(CHAT, &[]),
    };
    let generate = || Route::new(Api::GeminiGenerateContent, "generate_content", &[]);
    let route = match method {
        "generateContent" => generate(),
        "streamGenerateContent" => generate().streaming(),
        "embedContent" | "batchEmbedContents" => Route::new(Api::GeminiGenerateContent, EMBEDDINGS, &[]),
        // Of other models it makes images and videos.
        "predict" if model.contains("embed") => Route::guessed(EMBEDDINGS, &[]),
        "rawPredict" => raw(),
        "streamRawPredict" => raw().streaming(),
        _ => return None,
    };
    Some(route.of_model(model))
}

/// Returns what comes after a part of a path, unless that is nothing.
fn after<'a>(path: &'a str, part: &str) -> Option<&'a str> {
    path.split_once(part).map(|(_, rest)| rest).filter(|rest| !rest.is_empty())
}
