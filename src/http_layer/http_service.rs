//! The layer for `tower` services of `http::Request`.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::body::LlmBody;
use super::reading::Reading;
use super::recording::Recording;
use super::request::{HttpRequest, Target};
use super::service::LlmService;
use super::{failure, visible};

impl<S, B, R> Service<Request<B>> for LlmService<S>
where
    S: Service<Request<B>, Response = Response<R>, Error: 'static>,
    B: 'static,
    R: Body,
{
    type Response = Response<LlmBody<R>>;
    type Error = S::Error;
    type Future = LlmFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if crate::call::is_inert() {
            return LlmFuture { future: self.inner.call(request), recording: None };
        }
        let started = {
            let body = visible::bytes(request.body());
            let view = HttpRequest {
                method: request.method(),
                target: Target::of_uri(request.uri(), request.headers()),
                headers: request.headers(),
                extensions: request.extensions(),
                body: body.as_deref(),
            };
            let started = super::start(&self.settings, &view);
            started.map(|(recording, changes)| {
                let mut headers = request.headers().clone();
                changes.apply_to_headers(&mut headers);
                let body = changes.body(body.as_deref(), &mut headers);
                (recording, headers, body)
            })
        };
        let Some((mut recording, headers, body)) = started else {
            return LlmFuture { future: self.inner.call(request), recording: None };
        };
        *request.headers_mut() = headers;
        if let Some(body) = body {
            visible::replace(request.body_mut(), body);
        }
        let future = recording.run(|| self.inner.call(request));
        LlmFuture { future, recording: Some(recording) }
    }
}

pin_project! {
    /// The future of an answer that will be read as it passes. Returned by [`LlmService`].
    #[must_use = "futures do nothing unless you `.await` or poll them"]
    pub struct LlmFuture<F> {
        // Declared before the recording, and so dropped before it: what is recorded further in ends first.
        #[pin]
        future: F,
        // `None` if nothing is recorded, and after the end.
        recording: Option<Recording>,
    }
}

impl<F, R, E> Future for LlmFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: Body,
    E: 'static,
{
    type Output = Result<Response<LlmBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(match this.recording {
            Some(recording) => recording.poll(this.future, cx),
            None => this.future.poll(cx),
        });
        let recording = this.recording.take();
        Poll::Ready(match result {
            Ok(response) => {
                let (parts, body) = response.into_parts();
                let reading =
                    recording.map(|recording| Reading::start(recording, parts.status.as_u16(), &parts.headers));
                Ok(Response::from_parts(parts, LlmBody::new(body, reading)))
            }
            Err(error) => {
                if let Some(recording) = recording {
                    recording.fail(failure::of_request(&error as &dyn Any));
                }
                Err(error)
            }
        })
    }
}

impl<F> fmt::Debug for LlmFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LlmFuture").field("recording", &self.recording).finish_non_exhaustive()
    }
}
