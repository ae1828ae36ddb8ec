//! Requests and answers of `reqwest`.

use http::Extensions;
use reqwest::{Body, Request, Response, ResponseBuilderExt};

use super::body::LlmBody;
use super::change::Changes;
use super::reading::Reading;
use super::recording::Recording;
use super::request::{HttpRequest, Target};
use super::settings::Settings;

/// Recognises a request and starts to record it.
pub(super) fn start(settings: &Settings, request: &Request, extensions: &Extensions) -> Option<(Recording, Changes)> {
    let view = HttpRequest {
        method: request.method(),
        target: Target::of_url(request.url()),
        headers: request.headers(),
        extensions,
        body: request.body().and_then(Body::as_bytes),
    };
    super::start(settings, &view)
}

pub(super) fn apply(changes: &Changes, request: &mut Request) {
    let mut headers = std::mem::take(request.headers_mut());
    changes.apply_to_headers(&mut headers);
    let body = changes.body(request.body().and_then(Body::as_bytes), &mut headers);
    *request.headers_mut() = headers;
    if let Some(body) = body {
        *request.body_mut() = Some(body.into());
    }
}

/// Returns the answer with a body that is read as it passes.
pub(super) fn observed(recording: Recording, response: Response) -> Response {
    let url = response.url().clone();
    let (mut parts, body) = http::Response::<Body>::from(response).into_parts();
    let reading = Reading::start(recording, parts.status.as_u16(), &parts.headers);
    // The conversion above loses the URL.
    if let Ok(with_url) = http::Response::builder().url(url).body(()) {
        parts.extensions.extend(with_url.into_parts().0.extensions);
    }
    let body = Body::wrap(LlmBody::new(body, Some(reading)));
    http::Response::from_parts(parts, body).into()
}
