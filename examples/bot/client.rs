//! Wraps the client crate in types that implement the traits of botticelli_obs.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use async_openai::Client;
use async_openai::config::OpenAIConfig;
use async_openai::error::OpenAIError;
use async_openai::middleware::ReqwestService;
use async_openai::types::chat::{
    ChatCompletionMessageToolCall, ChatCompletionMessageToolCalls, ChatCompletionRequestAssistantMessageArgs,
    ChatCompletionRequestMessage, ChatCompletionRequestToolMessageArgs, ChatCompletionRequestUserMessageArgs,
    ChatCompletionStreamOptions, ChatCompletionTool, ChatCompletionTools, CompletionUsage, CreateChatCompletionRequest,
    CreateChatCompletionRequestArgs, FinishReason, FunctionCall, FunctionObjectArgs,
};
use botticelli_obs::{ClassifyError, ErrorType, LlmResponse, Usage};
use futures_util::{Stream, StreamExt, stream};

/// The facts about the call in a reply, or in a chunk of one.
#[derive(Debug)]
pub struct Reply {
    usage: Option<Usage>,
    model: String,
    finish_reason: Option<&'static str>,
    tool_call: Option<ToolCall>,
}

/// What a model asks for.
#[derive(Clone, Debug)]
pub struct ToolCall {
    pub id: String,
    pub name: String,
    pub arguments: String,
}

impl Reply {
    /// Returns the first tool call that the model asks for.
    pub fn tool_call(&self) -> Option<&ToolCall> {
        self.tool_call.as_ref()
    }
}

impl LlmResponse for Reply {
    fn usage(&self) -> Option<Usage> {
        self.usage
    }

    fn response_model(&self) -> Option<&str> {
        Some(&self.model)
    }

    fn finish_reason(&self) -> Option<&str> {
        self.finish_reason
    }
}

/// Why there is no reply.
#[derive(Debug)]
pub enum Error {
    Api(OpenAIError),
    /// Nothing has come for this time.
    TimedOut(Duration),
}

/// Says why, without the URL and the content of an answer, which may be secret.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut(limit) => write!(f, "no answer within {limit:?}"),
            Self::Api(OpenAIError::Reqwest(error)) => match error.source() {
                Some(source) => write!(f, "{}", innermost(source)),
                None => f.write_str("the request could not be sent"),
            },
            Self::Api(OpenAIError::JSONDeserialize(error, _)) => write!(f, "the answer can't be read: {error}"),
            Self::Api(error) => write!(f, "{error}"),
        }
    }
}

/// Returns the system's error, which the errors of libraries are wrapped around.
fn innermost<'e>(error: &'e (dyn StdError + 'static)) -> &'e (dyn StdError + 'static) {
    error.source().map_or(error, innermost)
}

impl ClassifyError for Error {
    fn error_type(&self) -> ErrorType {
        match self {
            Self::TimedOut(_) => ErrorType::Timeout,
            Self::Api(OpenAIError::ApiError(refusal)) => ErrorType::from_http_status(refusal.status_code.as_u16()),
            Self::Api(OpenAIError::Reqwest(error)) if error.is_timeout() => ErrorType::Timeout,
            Self::Api(OpenAIError::Reqwest(_)) => ErrorType::Network,
            Self::Api(OpenAIError::JSONDeserialize(..)) => ErrorType::Decode,
            Self::Api(OpenAIError::StreamError(_)) => ErrorType::Stream,
            Self::Api(OpenAIError::InvalidArgument(_)) => ErrorType::InvalidRequest,
            Self::Api(_) => ErrorType::Unknown,
        }
    }
}

impl From<OpenAIError> for Error {
    fn from(error: OpenAIError) -> Self {
        Self::Api(error)
    }
}

/// A client of any OpenAI-compatible server.
pub struct LlmClient {
    client: Client<OpenAIConfig>,
    timeout: Duration,
}

impl LlmClient {
    /// Creates a client with a limit for each answer, and for each chunk of one.
    ///
    /// # Errors
    ///
    /// When there is no HTTP client to be had, as on a system without root certificates.
    pub fn new(base_url: &str, key: &str, timeout: Duration) -> Result<Self, String> {
        let config = OpenAIConfig::new().with_api_base(base_url).with_api_key(key);
        // The defaults of the client crate and of `reqwest` panic where this is an error.
        let http = reqwest::Client::builder().build().map_err(|error| {
            format!("no HTTP client: {}; install the package ca-certificates, or set SSL_CERT_FILE", innermost(&error))
        })?;
        // Turns off the retries of the client crate: each guard is one request, so that the counts can be compared.
        let client = Client::build(http.clone(), config).with_http_service(ReqwestService::new(http));
        Ok(Self { client, timeout })
    }

    pub async fn ask(&self, model: &str, prompt: &str) -> Result<Reply, Error> {
        self.complete(request(model, prompt)?).await
    }

    /// Asks with a tool that the model may call, and with the results of earlier calls.
    pub async fn ask_with_tools(
        &self,
        model: &str,
        prompt: &str,
        results: &[(ToolCall, String)],
    ) -> Result<Reply, Error> {
        let mut request = request(model, prompt)?;
        let parameters = serde_json::json!({"type": "object", "properties": {"query": {"type": "string"}}});
        let function = FunctionObjectArgs::default().name("search").parameters(parameters).build()?;
        request.tools = Some(vec![ChatCompletionTools::Function(ChatCompletionTool { function })]);
        for (call, result) in results {
            request.messages.extend(exchange(call, result)?);
        }
        self.complete(request).await
    }

    async fn complete(&self, request: CreateChatCompletionRequest) -> Result<Reply, Error> {
        let completion = self.within_timeout(self.client.chat().create(request)).await??;
        let choice = completion.choices.into_iter().next();
        let finish_reason = choice.as_ref().and_then(|choice| choice.finish_reason);
        Ok(Reply {
            usage: completion.usage.map(usage),
            model: completion.model,
            finish_reason: finish_reason.map(reason),
            tool_call: choice.and_then(|choice| choice.message.tool_calls).and_then(first_call),
        })
    }

    pub async fn ask_streaming(
        &self,
        model: &str,
        prompt: &str,
    ) -> Result<impl Stream<Item = Result<Reply, Error>> + use<>, Error> {
        let mut request = request(model, prompt)?;
        let include_usage = ChatCompletionStreamOptions { include_usage: Some(true), ..Default::default() };
        request.stream_options = Some(include_usage);
        let chunks = self.within_timeout(self.client.chat().create_stream(request)).await??;
        let timeout = self.timeout;
        Ok(stream::unfold(Some(chunks), move |chunks| async move {
            let mut chunks = chunks?;
            match tokio::time::timeout(timeout, chunks.next()).await {
                Ok(Some(Ok(chunk))) => {
                    let finish_reason = chunk.choices.first().and_then(|choice| choice.finish_reason);
                    let reply = Reply {
                        usage: chunk.usage.map(usage),
                        model: chunk.model,
                        finish_reason: finish_reason.map(reason),
                        tool_call: None,
                    };
                    Some((Ok(reply), Some(chunks)))
                }
                Ok(Some(Err(error))) => Some((Err(Error::Api(error)), None)),
                Ok(None) => None,
                Err(_) => Some((Err(Error::TimedOut(timeout)), None)),
            }
        }))
    }

    async fn within_timeout<F: Future>(&self, future: F) -> Result<F::Output, Error> {
        tokio::time::timeout(self.timeout, future).await.map_err(|_| Error::TimedOut(self.timeout))
    }
}

fn request(model: &str, prompt: &str) -> Result<CreateChatCompletionRequest, Error> {
    let message = ChatCompletionRequestUserMessageArgs::default().content(prompt).build()?;
    Ok(CreateChatCompletionRequestArgs::default().model(model).messages([message.into()]).build()?)
}

/// The messages by which a model is told the result of a tool.
fn exchange(call: &ToolCall, result: &str) -> Result<[ChatCompletionRequestMessage; 2], Error> {
    let function = FunctionCall { name: call.name.clone(), arguments: call.arguments.clone() };
    let asked = ChatCompletionMessageToolCall { id: call.id.clone(), function };
    let asked = ChatCompletionRequestAssistantMessageArgs::default()
        .tool_calls(vec![ChatCompletionMessageToolCalls::Function(asked)])
        .build()?;
    let told = ChatCompletionRequestToolMessageArgs::default().tool_call_id(&call.id).content(result).build()?;
    Ok([asked.into(), told.into()])
}

fn first_call(calls: Vec<ChatCompletionMessageToolCalls>) -> Option<ToolCall> {
    calls.into_iter().find_map(|call| match call {
        ChatCompletionMessageToolCalls::Function(ChatCompletionMessageToolCall { id, function }) => {
            Some(ToolCall { id, name: function.name, arguments: function.arguments })
        }
        ChatCompletionMessageToolCalls::Custom(_) => None,
    })
}

fn usage(usage: CompletionUsage) -> Usage {
    let cached = usage.prompt_tokens_details.and_then(|details| details.cached_tokens);
    let reasoning = usage.completion_tokens_details.and_then(|details| details.reasoning_tokens);
    Usage::new(usage.prompt_tokens.into(), usage.completion_tokens.into())
        .with_cache_read(cached.unwrap_or(0).into())
        .with_reasoning(reasoning.unwrap_or(0).into())
}

fn reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::ToolCalls => "tool_calls",
        FinishReason::ContentFilter => "content_filter",
        FinishReason::FunctionCall => "function_call",
    }
}
