//! The layer for `tower` services.

use std::sync::Arc;

use tower_layer::Layer;

use super::settings::{Settings, setters};

/// Records the LLM requests that go through a `tower` service, as a layer around it. Features `tower` and `async-openai`.
///
/// With the feature `tower` it is for services of `http::Request`, and with `async-openai` for those of its
/// `HttpRequestFactory`. See [the module](crate::http_layer) for what it records.
///
/// ```
/// # #[cfg(feature = "tower")] {
/// use botticelli_obs::http_layer::LlmLayer;
/// use bytes::Bytes;
/// use http_body_util::Full;
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # async fn example() -> Result<(), std::convert::Infallible> {
/// // In a program: a client of hyper, or a stack of other layers.
/// let client = service_fn(async |_: http::Request<Full<Bytes>>| {
///     Ok::<_, std::convert::Infallible>(http::Response::new(Full::<Bytes>::default()))
/// });
/// let client = ServiceBuilder::new().layer(LlmLayer::new()).service(client);
/// client.oneshot(http::Request::new(Full::default())).await?;
/// # Ok(())
/// # }
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct LlmLayer {
    settings: Arc<Settings>,
}

setters!(LlmLayer, "Creates a layer that knows the public APIs.");

/// A service whose LLM requests are recorded. Created by [`LlmLayer`].
#[derive(Clone, Debug)]
pub struct LlmService<S> {
    pub(super) inner: S,
    pub(super) settings: Arc<Settings>,
}

impl<S> Layer<S> for LlmLayer {
    type Service = LlmService<S>;

    fn layer(&self, inner: S) -> LlmService<S> {
        LlmService { inner, settings: Arc::clone(&self.settings) }
    }
}
