//! HTTP requests to servers, whose URLs are shown without secrets.

use std::time::Duration;

use reqwest::{RequestBuilder, Url};
use serde_json::Value;

use crate::cause::innermost;
use crate::scrape::Token;

/// The limit for an answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// An HTTP client that ignores proxies: a proxy would look for loopback addresses on its own machine.
#[derive(Clone, Debug)]
pub(super) struct Web(reqwest::Client);

/// An answer with any status.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

impl Web {
    pub(super) fn new() -> Option<Self> {
        let client = crate::otlp::http::builder().ok()?.no_proxy().connect_timeout(TIMEOUT).timeout(TIMEOUT);
        client.build().ok().map(Self)
    }

    /// Requests a URL.
    ///
    /// # Errors
    ///
    /// Returns the system's error message if there is no answer.
    async fn get(&self, url: Url) -> Result<Answer, String> {
        Self::answer(self.0.get(url)).await
    }

    /// Requests a page of metrics.
    ///
    /// # Errors
    ///
    /// Returns the system's error message if there is no answer.
    pub(super) async fn get_page(&self, url: &str, token: Option<&Token>) -> Result<Answer, String> {
        let request = self.0.get(url);
        Self::answer(match token {
            Some(token) => token.add_to(request),
            None => request,
        })
        .await
    }

    async fn answer(request: RequestBuilder) -> Result<Answer, String> {
        let answer = request.send().await.map_err(message)?;
        let status = answer.status().as_u16();
        Ok(Answer { status, body: answer.text().await.map_err(message)? })
    }
}

/// Returns the innermost error message, which is the system's. The URL is left out, because it may contain a password.
fn message(error: reqwest::Error) -> String {
    if error.is_timeout() {
        format!("no answer within {TIMEOUT:?}")
    } else {
        innermost(&error.without_url()).to_string()
    }
}

/// The URL of a server: the value of a variable, or a default.
#[derive(Clone, Debug)]
pub(super) struct Server {
    /// `None` if the value is not a URL.
    url: Option<Url>,
    pub(super) variable: &'static str,
    /// Whether the variable is set. Then the server is expected to be there.
    pub(super) is_set: bool,
}

impl Server {
    pub(super) fn new(variable: &'static str, set: Option<&str>, default: &str) -> Self {
        let url = set.unwrap_or(default);
        let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let url = url.parse().ok().filter(|url: &Url| url.has_host() && matches!(url.scheme(), "http" | "https"));
        Self { url, variable, is_set: set.is_some() }
    }

    /// Requests JSON from a path below the URL.
    ///
    /// # Errors
    ///
    /// As [`Web::get`]; also if the answer is an error or no JSON, or if the value of the variable is not a URL.
    pub(super) async fn get_json(&self, web: &Web, path: &str, query: &[(&str, &str)]) -> Result<Value, String> {
        let mut url = self.url.clone().ok_or("not an http or https URL")?;
        url.set_path(&format!("{}{path}", url.path().trim_end_matches('/')));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let answer = web.get(url).await?;
        match serde_json::from_str(&answer.body) {
            Ok(json) if answer.status < 300 => Ok(json),
            _ => Err(format!("HTTP status {} without the expected JSON", answer.status)),
        }
    }

    /// Returns the URL without user, password, query and fragment, which may be secret.
    pub(super) fn shown(&self) -> String {
        let Some(url) = &self.url else { return self.variable.to_owned() };
        let host = url.host_str().unwrap_or_default();
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}://{host}{port}{}", url.scheme(), url.path().trim_end_matches('/'))
    }
}
