//! Questions by HTTP, and addresses that may be shown.

use std::time::Duration;

use serde_json::Value;

use crate::cause::innermost;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(2);

/// A client that asks directly: a proxy would answer for loopback.
#[derive(Clone, Debug)]
pub(super) struct Web(reqwest::Client);

/// An answer, whatever its status.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

impl Web {
    pub(super) fn new() -> Option<Self> {
        let client = crate::otlp::http::builder().ok()?.no_proxy().connect_timeout(TIMEOUT).timeout(TIMEOUT);
        client.build().ok().map(Self)
    }

    /// Asks for a page.
    ///
    /// # Errors
    ///
    /// The system's words, when there is no answer.
    pub(super) async fn get(&self, url: &str) -> Result<Answer, String> {
        let answer = self.0.get(url).send().await.map_err(told)?;
        let status = answer.status().as_u16();
        Ok(Answer { status, body: answer.text().await.map_err(told)? })
    }

    /// Asks for JSON.
    ///
    /// # Errors
    ///
    /// The system's words, or that the answer is something else.
    pub(super) async fn get_json(&self, url: &str) -> Result<Value, String> {
        let answer = self.get(url).await?;
        match serde_json::from_str(&answer.body) {
            Ok(json) if answer.status < 300 => Ok(json),
            _ => Err(format!("HTTP status {}, and not the answer expected", answer.status)),
        }
    }
}

/// Without the URL, which may hold a password, and down to the system's own words.
fn told(error: reqwest::Error) -> String {
    if error.is_timeout() {
        format!("no answer within {TIMEOUT:?}")
    } else {
        innermost(&error.without_url()).to_string()
    }
}

/// The address of a server that a variable names, or where it usually is.
#[derive(Clone, Debug)]
pub(super) struct Server {
    url: String,
    pub(super) variable: &'static str,
    /// Whether somebody has said that it is there.
    pub(super) is_set: bool,
}

impl Server {
    pub(super) fn new(variable: &'static str, set: Option<&str>, usual: &str) -> Self {
        let url = set.unwrap_or(usual).trim_end_matches('/');
        let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        Self { url, variable, is_set: set.is_some() }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Returns the address without what may be secret.
    pub(super) fn shown(&self) -> String {
        shown(&self.url)
    }
}

/// A URL without user, password, query and fragment.
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
