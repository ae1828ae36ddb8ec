//! A request, as far as it is looked at.

use std::borrow::Cow;

#[cfg(feature = "tower")]
use http::Uri;
use http::{Extensions, HeaderMap, Method};
use percent_encoding::percent_decode_str;
#[cfg(feature = "_reqwest-layer")]
use url::Url;

use crate::json::Api;

/// An HTTP request that is about to be sent, for [recognizers](crate::http_layer#apis-of-your-own).
#[derive(Clone, Copy, Debug)]
pub struct HttpRequest<'a> {
    pub(super) method: &'a Method,
    pub(super) target: Target<'a>,
    pub(super) headers: &'a HeaderMap,
    pub(super) extensions: &'a Extensions,
    pub(super) body: Option<&'a [u8]>,
}

/// The parts of a URL.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    /// Empty where the URL is a path.
    pub(super) scheme: &'a str,
    /// As it is written, without a port.
    pub(super) host: &'a str,
    pub(super) port: Option<u16>,
    pub(super) path: &'a str,
    pub(super) query: &'a str,
}

impl<'a> Target<'a> {
    #[cfg(feature = "_reqwest-layer")]
    pub(super) fn of_url(url: &'a Url) -> Self {
        Self {
            scheme: url.scheme(),
            host: url.host_str().unwrap_or_default(),
            port: url.port(),
            path: url.path(),
            query: url.query().unwrap_or_default(),
        }
    }

    /// Returns that of a request, whose URI may be a path.
    #[cfg(feature = "tower")]
    pub(super) fn of_uri(uri: &'a Uri, headers: &'a HeaderMap) -> Self {
        let of_header = || headers.get(http::header::HOST)?.to_str().ok();
        let authority = uri.authority().map(http::uri::Authority::as_str).or_else(of_header).unwrap_or_default();
        // Without the password of its user.
        let authority = authority.rsplit('@').next().unwrap_or_default();
        let port = authority.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        Self {
            scheme: uri.scheme_str().unwrap_or_default(),
            host: port.map_or(authority, |(host, _)| host),
            port: port.map(|(_, port)| port),
            path: uri.path(),
            query: uri.query().unwrap_or_default(),
        }
    }

    pub(super) fn port_or_default(&self) -> u16 {
        self.port.unwrap_or(if self.scheme == "http" { 80 } else { 443 })
    }
}

impl<'a> HttpRequest<'a> {
    /// Returns the method.
    pub fn method(&self) -> &'a Method {
        self.method
    }

    /// Returns the host of the URL, or of the header `host` where the URL is a path; empty where neither names one.
    pub fn host(&self) -> &'a str {
        self.target.host
    }

    /// Returns the port, if the URL names one.
    pub fn port(&self) -> Option<u16> {
        self.target.port
    }

    /// Returns the path of the URL, as it is encoded.
    pub fn path(&self) -> &'a str {
        self.target.path
    }

    /// Returns the query of the URL without its `?`; empty where there is none.
    pub fn query(&self) -> &'a str {
        self.target.query
    }

    /// Returns the headers.
    pub fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// Returns the extensions: of an `http::Request` its own, and with `reqwest-middleware` those that its middlewares share.
    pub fn extensions(&self) -> &'a Extensions {
        self.extensions
    }

    /// Returns the body, if it is in memory as a whole. A stream is not, nor is a body of a type that this crate does not know.
    pub fn body(&self) -> Option<&'a [u8]> {
        self.body
    }

    /// Returns a part of the path without its encoding.
    pub(super) fn decode(text: &str) -> Cow<'_, str> {
        percent_decode_str(text).decode_utf8_lossy()
    }
}

/// A request to an LLM: what a [recognizer](crate::http_layer#apis-of-your-own) makes of an [`HttpRequest`].
///
/// ```
/// use botticelli_obs::http_layer::LlmRequest;
///
/// let request = LlmRequest::new("uffizi", "venus-2").with_operation("embeddings");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct LlmRequest {
    pub(super) provider: Cow<'static, str>,
    pub(super) model: Cow<'static, str>,
    pub(super) operation: Cow<'static, str>,
    pub(super) api: Option<Api>,
    pub(super) is_streaming: bool,
    pub(super) max_tokens: Option<u64>,
    pub(super) temperature: Option<f64>,
    pub(super) top_p: Option<f64>,
    /// It is a stream that may be asked for its usage by `stream_options`.
    pub(super) lacks_stream_options: bool,
}

impl LlmRequest {
    /// Creates a request to a model of a provider. Both become labels, so neither may hold ids or a user's text.
    pub fn new(provider: impl Into<Cow<'static, str>>, model: impl Into<Cow<'static, str>>) -> Self {
        Self {
            provider: provider.into(),
            model: model.into(),
            operation: Cow::Borrowed("chat"),
            api: None,
            is_streaming: false,
            max_tokens: None,
            temperature: None,
            top_p: None,
            lacks_stream_options: false,
        }
    }

    /// Sets the operation: `chat`, `generate_content`, `text_completion` or `embeddings`. Defaults to `chat`.
    #[must_use]
    pub fn with_operation(mut self, operation: impl Into<Cow<'static, str>>) -> Self {
        self.operation = operation.into();
        self
    }

    /// Sets the API as which the answer is read. Defaults to the one that its fields suggest.
    #[must_use]
    pub fn with_api(mut self, api: Api) -> Self {
        self.api = Some(api);
        self
    }

    /// Says that a stream is asked for. A stream that comes unasked is read all the same.
    #[must_use]
    pub fn with_streaming(mut self) -> Self {
        self.is_streaming = true;
        self
    }
}
