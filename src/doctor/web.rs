//! HTTP requests, and URLs without secrets.

use std::time::Duration;

use serde_json::Value;

use crate::cause::innermost;

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

    /// Requests a page.
    ///
    /// # Errors
    ///
    /// Returns the system's error message if there is no answer.
    pub(super) async fn get(&self, url: &str) -> Result<Answer, String> {
        let answer = self.0.get(url).send().await.map_err(message)?;
        let status = answer.status().as_u16();
        Ok(Answer { status, body: answer.text().await.map_err(message)? })
    }

    /// Requests JSON.
    ///
    /// # Errors
    ///
    /// Returns the system's error message if there is no answer, or the status if the answer is an error or no JSON.
    pub(super) async fn get_json(&self, url: &str) -> Result<Value, String> {
        let answer = self.get(url).await?;
        match serde_json::from_str(&answer.body) {
            Ok(json) if answer.status < 300 => Ok(json),
            _ => Err(format!("HTTP status {} without the expected JSON", answer.status)),
        }
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
    url: String,
    pub(super) variable: &'static str,
    /// Whether the variable is set. Then the server is expected to be there.
    pub(super) is_set: bool,
}

impl Server {
    pub(super) fn new(variable: &'static str, set: Option<&str>, default: &str) -> Self {
        let url = set.unwrap_or(default).trim_end_matches('/');
        let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        Self { url, variable, is_set: set.is_some() }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Returns the URL without its secret parts.
    pub(super) fn shown(&self) -> String {
        shown(&self.url)
    }
}

/// Removes user, password, query and fragment from a URL.
pub(super) fn shown(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let end = rest.find('/').unwrap_or(rest.len());
            let (authority, path) = rest.split_at(end);
            let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            format!("{scheme}://{host}{path}")
        }
        None => url.rsplit_once('@').map_or(url, |(_, host)| host).to_owned(),
    }
}

/// Percent-encodes a query.
pub(super) fn encoded(query: &str) -> String {
    percent_encoding::utf8_percent_encode(query, percent_encoding::NON_ALPHANUMERIC).to_string()
}
