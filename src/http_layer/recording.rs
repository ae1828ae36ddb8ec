//! What records one request.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::HeaderMap;
use tracing::Span;

use super::request::{LlmRequest, Target};
use crate::call::{Attempt, LlmCall};
use crate::error_type::ErrorType;
use crate::json::Api;
use crate::propagation;

/// A call of its own, or an attempt that hands its facts to the call around it.
#[derive(Debug)]
pub(super) struct Recording {
    attempt: Option<Attempt>,
    call: LlmCall,
    pub(super) api: Option<Api>,
    pub(super) is_streaming: bool,
}

impl Recording {
    /// Starts to record a request; `None` if nothing is recorded.
    pub(super) fn start(request: &LlmRequest, target: &Target<'_>) -> Option<Self> {
        let mut call = LlmCall::builder(&request.provider, &request.model).with_operation(&request.operation);
        if !target.host.is_empty() {
            call = call.with_server(target.host, target.port_or_default());
        }
        if request.is_streaming {
            call = call.with_streaming();
        }
        if let Some(tokens) = request.max_tokens {
            call = call.with_max_tokens(tokens);
        }
        if let Some(temperature) = request.temperature {
            call = call.with_temperature(temperature);
        }
        if let Some(top_p) = request.top_p {
            call = call.with_top_p(top_p);
        }
        let (call, attempt) = call.start_request()?;
        Some(Self { attempt, call, api: request.api, is_streaming: request.is_streaming })
    }

    /// The span of the attempt or the call.
    pub(super) fn span(&self) -> &Span {
        self.attempt.as_ref().map_or(self.call.span(), Attempt::span)
    }

    /// Adds the trace context of the call around an attempt to the headers.
    pub(super) fn inject_around(&self, headers: &mut HeaderMap) {
        if self.attempt.is_some() {
            propagation::inject(&self.call.span_around(), headers);
        }
    }

    /// The call, or the part of a call.
    pub(super) fn call(&mut self) -> &mut LlmCall {
        &mut self.call
    }

    /// Runs code inside.
    pub(super) fn run<T>(&mut self, code: impl FnOnce() -> T) -> T {
        let attempt = self.attempt.as_ref();
        self.call.scope_sync(|| match attempt {
            Some(attempt) => attempt.scope_sync(code),
            None => code(),
        })
    }

    /// Runs a future inside, which is made there.
    #[cfg(feature = "_reqwest-layer")]
    pub(super) async fn scope<F: Future>(&mut self, make: impl FnOnce() -> F) -> F::Output {
        let mut future = std::pin::pin!(self.run(make));
        std::future::poll_fn(|cx| self.poll(future.as_mut(), cx)).await
    }

    pub(super) fn poll<F: Future>(&mut self, future: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.run(|| future.poll(cx))
    }

    pub(super) fn record_error(&mut self, error: ErrorType) {
        self.call.record_error(error);
        if let Some(attempt) = &mut self.attempt {
            attempt.record_error(error);
        }
    }

    /// Records what the answer says about a failure.
    pub(super) fn record_answer(&mut self, status: u16, request_id: Option<&str>, code: Option<&str>) {
        self.call.record_status(status);
        if let Some(attempt) = &mut self.attempt {
            attempt.record_status(status);
        }
        if let Some(id) = request_id {
            self.call.record_request_id(id);
            if let Some(attempt) = &mut self.attempt {
                attempt.record_request_id(id);
            }
        }
        if let Some(code) = code {
            self.call.record_error_code(code);
            if let Some(attempt) = &mut self.attempt {
                attempt.record_error_code(code);
            }
        }
    }

    /// Ends it: as a success, or with the error that was recorded.
    pub(super) fn finish(self) {
        if let Some(attempt) = self.attempt {
            attempt.finish();
        }
        self.call.finish();
    }

    pub(super) fn fail(mut self, error: ErrorType) {
        self.record_error(error);
        self.finish();
    }
}
