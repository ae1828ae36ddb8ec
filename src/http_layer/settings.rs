//! What a user sets, for every place where the layer stands.

use std::fmt;
use std::sync::Arc;

use url::Url;

use super::hosts;
use super::request::{HttpRequest, LlmRequest, Target};

type Recognizer = Arc<dyn Fn(&HttpRequest<'_>) -> Option<LlmRequest> + Send + Sync>;

#[derive(Clone, Default)]
pub(super) struct Settings {
    endpoints: Vec<Endpoint>,
    recognizers: Vec<Recognizer>,
    pub(super) asks_for_usage: bool,
}

/// The servers whose URLs begin in some way.
#[derive(Clone, Debug)]
struct Endpoint {
    /// `None` of a prefix that is no URL, which is the prefix of nothing.
    prefix: Option<Url>,
    has_scheme: bool,
    provider: Box<str>,
    propagates: bool,
}

/// Who a request goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Server<'a> {
    /// `None` of one that is in neither table.
    pub(super) provider: Option<&'a str>,
    /// Whether it may see the ids of traces.
    pub(super) takes_trace: bool,
}

impl Settings {
    pub(super) fn add_endpoint(&mut self, prefix: &str, provider: &str) {
        let has_scheme = prefix.contains("://");
        let prefix = if has_scheme { Url::parse(prefix) } else { Url::parse(&format!("http://{prefix}")) };
        let prefix = prefix.ok().filter(Url::has_host);
        self.endpoints.push(Endpoint { prefix, has_scheme, provider: provider.into(), propagates: false });
    }

    /// Lets the endpoint that was added last see the ids of traces.
    pub(super) fn propagate(&mut self) {
        if let Some(endpoint) = self.endpoints.last_mut() {
            endpoint.propagates = true;
        }
    }

    pub(super) fn add_recognizer(&mut self, recognizer: Recognizer) {
        self.recognizers.push(recognizer);
    }

    pub(super) fn recognizers(&self) -> impl Iterator<Item = &Recognizer> {
        self.recognizers.iter()
    }

    pub(super) fn server(&self, target: &Target<'_>) -> Server<'_> {
        let matching = self.endpoints.iter().filter(|endpoint| endpoint.is_of(target));
        // Of several the longest, and of equal ones the last.
        let endpoint = matching.max_by_key(|endpoint| endpoint.prefix.as_ref().map_or(0, |url| url.path().len()));
        let is_public = hosts::is_public(target.host);
        Server {
            provider: endpoint.map(|endpoint| &*endpoint.provider).or_else(|| hosts::provider(target)),
            takes_trace: !is_public
                && (hosts::is_loopback(target.host) || endpoint.is_some_and(|endpoint| endpoint.propagates)),
        }
    }
}

impl Endpoint {
    fn is_of(&self, target: &Target<'_>) -> bool {
        let Some(prefix) = &self.prefix else { return false };
        let is_host = prefix.host_str().is_some_and(|host| host.eq_ignore_ascii_case(target.host));
        let is_port = match (self.has_scheme, prefix.port()) {
            (true, _) => prefix.port_or_known_default() == Some(target.port_or_default()),
            (false, None) => true,
            (false, port) => port == Some(target.port_or_default()),
        };
        let is_scheme = !self.has_scheme || target.scheme.is_empty() || prefix.scheme() == target.scheme;
        let path = prefix.path().trim_end_matches('/');
        let is_path = target.path.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        is_host && is_port && is_scheme && is_path
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}

/// The methods by which a user sets all of this.
macro_rules! setters {
    ($type:ty, $new:literal) => {
        impl $type {
            #[doc = $new]
            pub fn new() -> Self {
                Self::default()
            }

            /// Names the provider of the servers whose URLs begin with this prefix, such as `http://10.0.0.5:8000/v1`. Without a scheme
            /// it applies to both, and without a port to all. The longest prefix wins, also against the table of public hosts.
            ///
            /// On a server that is named, a request is recognised by its path alone. A prefix that is no URL applies to nothing.
            #[must_use]
            pub fn with_endpoint(mut self, prefix: impl AsRef<str>, provider: impl AsRef<str>) -> Self {
                std::sync::Arc::make_mut(&mut self.settings).add_endpoint(prefix.as_ref(), provider.as_ref());
                self
            }

            /// Sends the trace context, `traceparent` and `tracestate`, to the servers that were named last by
            /// [`with_endpoint`](Self::with_endpoint).
            ///
            /// Servers on this machine get it anyway. The public hosts of providers never get it, nor does a request that is signed
            /// already. A `traceparent` that a request has stays.
            #[must_use]
            pub fn with_propagation(mut self) -> Self {
                std::sync::Arc::make_mut(&mut self.settings).propagate();
                self
            }

            /// Recognises requests of further APIs. The function is asked before this crate's own rules, for every request; it returns
            /// `None` for what it does not know.
            #[must_use]
            pub fn with_recognizer(
                mut self,
                recognizer: impl Fn(&$crate::http_layer::HttpRequest<'_>) -> Option<$crate::http_layer::LlmRequest>
                + Send
                + Sync
                + 'static,
            ) -> Self {
                std::sync::Arc::make_mut(&mut self.settings).add_recognizer(std::sync::Arc::new(recognizer));
                self
            }

            /// Asks OpenAI-compatible streams for their usage: adds `"stream_options": {"include_usage": true}` to requests for a
            /// stream that have no `stream_options`. Without it most of these streams report no tokens.
            ///
            /// It changes what is sent, and the stream has one more event, without choices. Signed requests and bodies that are not in
            /// memory stay as they are.
            #[must_use]
            pub fn with_stream_usage(mut self) -> Self {
                std::sync::Arc::make_mut(&mut self.settings).asks_for_usage = true;
                self
            }
        }
    };
}

pub(super) use setters;

#[cfg(all(test, feature = "_reqwest-layer"))]
mod tests {
    use super::*;

    fn server<'a>(settings: &'a Settings, url: &str) -> Server<'a> {
        let url = Url::parse(url).expect("a URL");
        settings.server(&Target::of_url(&url))
    }

    #[test]
    fn the_longest_prefix_names_the_provider() {
        let mut settings = Settings::default();
        settings.add_endpoint("http://10.0.0.5:8000", "vllm");
        settings.add_endpoint("http://10.0.0.5:8000/v1/special/", "special");
        settings.propagate();
        settings.add_endpoint("gateway.internal/llm", "gateway");
        settings.add_endpoint("https://api.openai.com/v1", "ours");
        settings.propagate();
        settings.add_endpoint("no url", "nothing");
        for (url, provider, takes_trace) in [
            ("http://10.0.0.5:8000/v1/chat/completions", Some("vllm"), false),
            ("http://10.0.0.5:8000/v1/special/x", Some("special"), true),
            ("http://10.0.0.5:8000/v1/specials/x", Some("vllm"), false),
            ("http://10.0.0.5:8001/v1/chat/completions", None, false),
            ("https://10.0.0.5:8000/v1/chat/completions", None, false),
            ("https://Gateway.internal:7000/llm/v1", Some("gateway"), false),
            ("http://gateway.internal/other", None, false),
            ("https://api.openai.com/v1/chat/completions", Some("ours"), false),
            ("https://api.openai.com:443/v2/chat/completions", Some("openai"), false),
            ("http://localhost:11434/api/chat", Some("ollama"), true),
            ("http://localhost:8080/api/chat", None, true),
            ("http://[::1]:8080/api/chat", None, true),
            ("http://127.0.0.2/api/chat", None, true),
            ("https://example.org/api/chat", None, false),
        ] {
            assert_eq!(server(&settings, url), Server { provider, takes_trace }, "{url}");
        }
    }
}
