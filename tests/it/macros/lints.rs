//! Lints that are denied around `#[llm_call]` find nothing in its expansions.
#![deny(
    warnings,
    let_underscore,
    nonstandard_style,
    rust_2018_idioms,
    unused,
    clippy::all,
    clippy::cargo,
    clippy::nursery,
    clippy::pedantic,
    clippy::absolute_paths,
    clippy::allow_attributes,
    clippy::as_conversions,
    clippy::expect_used,
    clippy::let_underscore_untyped,
    clippy::multiple_unsafe_ops_per_block,
    clippy::panic,
    clippy::pattern_type_mismatch,
    clippy::shadow_reuse,
    clippy::shadow_same,
    clippy::shadow_unrelated,
    clippy::single_call_fn,
    clippy::unreachable,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    missing_copy_implementations,
    missing_debug_implementations,
    missing_docs,
    single_use_lifetimes,
    trivial_casts,
    trivial_numeric_casts,
    unit_bindings,
    unreachable_pub,
    unsafe_code,
    unused_import_braces,
    unused_lifetimes,
    unused_qualifications,
    unused_results,
    variant_size_differences
)]
#![allow(
    clippy::absolute_paths,
    clippy::cargo_common_metadata,
    clippy::multiple_crate_versions,
    clippy::single_call_fn,
    reason = "of this file and not of expansions"
)]

use std::pin::Pin;
use std::time::Duration;

use async_trait::async_trait;
use botticelli_obs::{ClassifyError, ErrorType, LlmResponse, Usage, llm_call};
use futures_util::{Stream, StreamExt, stream};

#[derive(Clone, Copy, Debug)]
struct Reply(u64);

impl LlmResponse for Reply {}

#[derive(Clone, Copy, Debug)]
struct ApiError;

impl ClassifyError for ApiError {
    fn error_type(&self) -> ErrorType {
        ErrorType::Unknown
    }
}

#[derive(Clone, Copy, Debug)]
struct Foreign(u64);

type Chunks = Pin<Box<dyn Stream<Item = Result<Reply, ApiError>> + Send>>;

#[llm_call(provider = "gemini", model = model)]
async fn one_expression(model: &str) -> Result<Reply, ApiError> {
    model.parse().map(Reply).map_err(|_| ApiError)
}

#[llm_call(provider = "gemini", model = model)]
async fn only_awaits(model: &str) -> Result<Reply, ApiError> {
    one_expression(model).await
}

#[llm_call(provider = "gemini", model = model, operation = "chat", timeout = Duration::from_secs(1))]
async fn items_first(model: String) -> Result<Reply, ApiError> {
    const LIMIT: usize = 5;

    if model.len() > LIMIT {
        return Err(ApiError);
    }
    Ok(Reply(0))
}

#[llm_call(provider = "gemini", model = "m")]
async fn branches(first: bool) -> Reply {
    if first { Reply(1) } else { Reply(2) }
}

#[llm_call(provider = "gemini", model = "m")]
async fn nothing() {}

#[llm_call(provider = "gemini", model = "m")]
fn nothing_sync(count: &mut u64) {
    *count += 1;
}

#[llm_call(provider = "gemini", model = "m")]
fn one_call() -> Reply {
    reply()
}

const fn reply() -> Reply {
    Reply(3)
}

#[llm_call(
    provider = "gemini",
    model = "m",
    usage = |reply| Some(Usage::new(reply.0, 0)),
    error_type = |_| ErrorType::Unknown,
)]
fn closures(result: Result<Foreign, Foreign>) -> Result<Foreign, Foreign> {
    result
}

#[llm_call(provider = "gemini", model = "m", usage = |reply| Some(Usage::new(reply.0, 0)))]
async fn plain() -> Foreign {
    Foreign(1)
}

#[llm_call(provider = "gemini", model = "m", stream)]
async fn opaque_stream() -> Result<impl Stream<Item = Result<Reply, ApiError>>, ApiError> {
    Ok(stream::empty())
}

#[llm_call(provider = "gemini", model = "m", stream)]
async fn boxed_stream() -> Result<Chunks, ApiError> {
    Ok(Box::pin(stream::empty()))
}

#[llm_call(provider = "gemini", model = "m", stream)]
fn stream_at_once() -> Chunks {
    Box::pin(stream::empty())
}

#[derive(Clone, Copy, Debug)]
struct Client {
    model: &'static str,
}

impl Client {
    #[llm_call(provider = "gemini", model = self.model)]
    async fn generate(&self, prompt: &str) -> Result<Reply, ApiError> {
        let reply = one_expression(prompt).await?;
        Ok(reply)
    }

    #[llm_call(provider = "gemini", model = self.model)]
    fn future(&self) -> Pin<Box<dyn Future<Output = Result<Reply, ApiError>> + Send + '_>> {
        Box::pin(async move { self.generate("1").await })
    }
}

#[async_trait]
trait Driver {
    async fn ask(&self) -> Result<Reply, ApiError>;
}

#[async_trait]
impl Driver for Client {
    #[llm_call(provider = "gemini", model = self.model)]
    async fn ask(&self) -> Result<Reply, ApiError> {
        self.future().await
    }
}

#[tokio::test]
async fn annotated_functions_run() {
    let client = Client { model: "m" };
    let mut count = 0;
    nothing_sync(&mut count);
    nothing().await;
    assert_eq!(count, 1);
    assert!(only_awaits("1").await.is_ok());
    assert!(items_first("m".to_owned()).await.is_ok());
    assert_eq!(branches(true).await.0 + branches(false).await.0 + one_call().0, 6);
    assert!(closures(Ok(Foreign(1))).is_ok());
    assert_eq!(plain().await.0, 1);
    assert!(opaque_stream().await.is_ok());
    assert!(boxed_stream().await.is_ok());
    assert!(stream_at_once().next().await.is_none());
    assert!(client.ask().await.is_ok());
}
