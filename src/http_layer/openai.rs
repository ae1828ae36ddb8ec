//! The layer for the services of async-openai, whose requests are factories of requests.

use std::any::Any;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use async_openai::error::OpenAIError;
use async_openai::middleware::HttpRequestFactory;
use http::Extensions;
use reqwest::{Request, Response};
use tower_service::Service;

use super::change::Changes;
use super::service::LlmService;
use super::{failure, reqwest as client};
use crate::lock::unpoisoned;

impl<S> Service<HttpRequestFactory> for LlmService<S>
where
    S: Service<HttpRequestFactory, Response = Response, Error: Send, Future: Send> + Clone + Send + 'static,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, factory: HttpRequestFactory) -> Self::Future {
        // The service that is ready is this one, not its clone.
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone);
        let settings = Arc::clone(&self.settings);
        Box::pin(async move {
            if crate::call::is_inert() {
                return inner.call(factory).await;
            }
            let mut built = factory.build().await;
            let started = built.as_ref().ok().and_then(|request| client::start(&settings, request, &Extensions::new()));
            let Some((mut recording, changes)) = started else {
                return inner.call(first_built(factory, built, Changes::default())).await;
            };
            if let Ok(request) = &mut built {
                client::apply(&changes, request);
            }
            match recording.scope(|| inner.call(first_built(factory, built, changes))).await {
                Ok(response) => Ok(client::observed(recording, response)),
                Err(error) => {
                    recording.fail(failure::of_request(&error as &dyn Any));
                    Err(error)
                }
            }
        })
    }
}

/// Returns a factory whose first request is built already.
fn first_built(
    factory: HttpRequestFactory,
    built: Result<Request, OpenAIError>,
    changes: Changes,
) -> HttpRequestFactory {
    let first = Mutex::new(Some(built));
    let changes = Arc::new(changes);
    HttpRequestFactory::new(move || {
        let first = unpoisoned(first.lock()).take();
        let (factory, changes) = (factory.clone(), Arc::clone(&changes));
        async move {
            if let Some(first) = first {
                return first;
            }
            let mut request = factory.build().await?;
            client::apply(&changes, &mut request);
            Ok(request)
        }
    })
}
