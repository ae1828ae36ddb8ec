//! Recognises requests to LLMs.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use http::Method;

use super::fields::{Asks, Fields};
use super::request::{HttpRequest, LlmRequest};
use super::route::{Model, Route};
use super::settings::{Server, Settings};

/// The provider and the model that nobody has named.
const UNKNOWN: &str = "unknown";

/// Returns what a request asks an LLM for; `None` of any other request.
pub(super) fn recognize(settings: &Settings, request: &HttpRequest<'_>) -> Option<LlmRequest> {
    // A recogniser that panics must not take the request with it.
    let ask = |recognizer: &dyn Fn(&HttpRequest<'_>) -> Option<LlmRequest>| {
        catch_unwind(AssertUnwindSafe(|| recognizer(request))).ok().flatten()
    };
    let of_user = settings.recognizers().find_map(|recognizer| ask(&**recognizer));
    of_user.or_else(|| known(request, || settings.server(&request.target)))
}

fn known<'a>(request: &HttpRequest<'_>, server: impl FnOnce() -> Server<'a>) -> Option<LlmRequest> {
    if request.method() != Method::POST {
        return None;
    }
    let route = Route::find(request)?;
    let server = server();
    let fields = request.body().and_then(Fields::read);
    let is_asked = |fields: &Fields| route.asks.is_empty() || route.asks.iter().any(|asks| fields.has(*asks));
    // Paths such as `/responses` mean other things elsewhere.
    let is_certain = server.provider.is_some() || (route.asks.is_empty() && matches!(route.model, Model::Path(_)));
    if !is_certain && !fields.as_ref().is_some_and(is_asked) {
        return None;
    }
    let fields = fields.unwrap_or_default();
    let model = match route.model {
        Model::Path(model) => Cow::Owned(model.into_owned()),
        Model::Body => match &fields.model {
            Some(model) => Cow::Owned(String::from(&**model)),
            None if is_certain => Cow::Borrowed(UNKNOWN),
            None => return None,
        },
    };
    let is_embedding = route.api.is_none()
        && [Asks::Texts, Asks::Input].iter().any(|asks| route.asks.contains(asks) && fields.has(*asks))
        && route.asks.contains(&Asks::Messages)
        && ![Asks::Messages, Asks::Prompt].iter().any(|asks| fields.has(*asks));
    let is_streaming = fields.stream.unwrap_or(route.streams);
    let is_embedding = is_embedding || route.operation == "embeddings";
    Some(LlmRequest {
        provider: server.provider.map_or(Cow::Borrowed(UNKNOWN), |provider| Cow::Owned(provider.to_owned())),
        model,
        operation: Cow::Borrowed(if is_embedding { "embeddings" } else { route.operation }),
        api: route.api,
        is_streaming: is_streaming && !is_embedding,
        max_tokens: fields.max_tokens,
        temperature: fields.temperature,
        top_p: fields.top_p,
        lacks_stream_options: route.has_stream_options && is_streaming && !fields.has_stream_options,
    })
}
