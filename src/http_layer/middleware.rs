//! The layer for clients with `reqwest-middleware`.

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;
use http::Extensions;
use reqwest::{Request, Response};
use reqwest_middleware::{Middleware, Next, Result};

use super::settings::{Settings, setters};
use super::{failure, reqwest as client};

/// Records the LLM requests of a `reqwest` client, as a middleware of `reqwest-middleware` 0.5. Feature `reqwest-middleware`.
///
/// See [the module](crate::http_layer) for what it records.
///
/// ```
/// use botticelli_obs::http_layer::LlmMiddleware;
/// use reqwest_middleware::ClientBuilder;
///
/// let client = ClientBuilder::new(reqwest::Client::new()).with(LlmMiddleware::new()).build();
/// ```
#[derive(Clone, Debug, Default)]
pub struct LlmMiddleware {
    settings: Arc<Settings>,
}

setters!(LlmMiddleware, "Creates a middleware that knows the public APIs.");

#[async_trait]
impl Middleware for LlmMiddleware {
    async fn handle(&self, mut request: Request, extensions: &mut Extensions, next: Next<'_>) -> Result<Response> {
        let Some((mut recording, changes)) = client::start(&self.settings, &request, extensions) else {
            return next.run(request, extensions).await;
        };
        client::apply(&changes, &mut request);
        match recording.scope(|| next.run(request, extensions)).await {
            Ok(response) => Ok(client::observed(recording, response)),
            Err(error) => {
                recording.fail(failure::of_request(&error as &dyn Any));
                Err(error)
            }
        }
    }
}
