//! HTTP requests to servers, whose URLs are shown without secrets.

use std::io;
use std::time::Duration;

use http::{HeaderValue, Request, Response, header};
use hyper::body::Bytes;
use serde_json::Value;
use url::Url;

use crate::cause::innermost;
use crate::otlp::{self, http::Client};
use crate::scrape::Token;

/// The limit for an answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How many redirects of one request are followed.
const REDIRECTS: usize = 5;

/// An HTTP client that ignores proxies: a proxy would look for loopback addresses on its own machine.
#[derive(Clone, Debug)]
pub(crate) struct Web(Client);

/// An answer with any status.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Answer {
    /// Reads the body.
    ///
    /// # Errors
    ///
    /// When the answer is an error or no JSON.
    pub(super) fn json(&self) -> Result<Value, String> {
        match serde_json::from_str(&self.body) {
            Ok(json) if self.status < 300 => Ok(json),
            _ => Err(format!("HTTP status {} without the expected JSON", self.status)),
        }
    }
}

impl Web {
    /// # Errors
    ///
    /// When the system's root certificates can't be read.
    pub(crate) fn new() -> io::Result<Self> {
        Client::direct(TIMEOUT).map(Self)
    }

    /// Requests a URL.
    ///
    /// # Errors
    ///
    /// Returns the system's error message if there is no answer.
    async fn get(&self, url: Url) -> Result<Answer, String> {
        self.follow(url, None).await
    }

    /// Requests a page of metrics.
    ///
    /// # Errors
    ///
    /// Returns the system's error message if there is no answer.
    pub(crate) async fn get_page(&self, url: &str, token: Option<&Token>) -> Result<Answer, String> {
        let url = url.parse().map_err(|_| "not a URL".to_owned())?;
        self.follow(url, token.map(Token::to_header)).await
    }

    /// Requests a URL and what it redirects to. Other servers do not get the header.
    async fn follow(&self, mut url: Url, mut authorization: Option<HeaderValue>) -> Result<Answer, String> {
        for _ in 0..=REDIRECTS {
            let answer = self.0.send(request(&url, authorization.as_ref())?).await;
            let answer = answer.map_err(|error| innermost(&error).to_string())?;
            match redirect(&url, &answer) {
                Some(to) => {
                    authorization = authorization.filter(|_| to.origin() == url.origin());
                    url = to;
                }
                None => {
                    let (status, body) = (answer.status().as_u16(), String::from_utf8_lossy(answer.body()));
                    return Ok(Answer { status, body: body.into_owned() });
                }
            }
        }
        Err(format!("more than {REDIRECTS} redirects"))
    }
}

/// Builds a request. Without another authorization, it has the credentials of the URL.
fn request(url: &Url, authorization: Option<&HeaderValue>) -> Result<Request<Bytes>, String> {
    let uri: http::Uri = url.as_str().parse().map_err(|_| "not a URL".to_owned())?;
    let credentials = authorization.cloned().or_else(|| uri.authority().and_then(otlp::basic));
    let mut request = Request::get(uri);
    if let Some(credentials) = credentials {
        request = request.header(header::AUTHORIZATION, credentials);
    }
    request.body(Bytes::new()).map_err(|error| error.to_string())
}

/// Returns where an answer redirects to.
fn redirect(from: &Url, answer: &Response<Bytes>) -> Option<Url> {
    if !answer.status().is_redirection() {
        return None;
    }
    let location = answer.headers().get(header::LOCATION)?.to_str().ok()?;
    from.join(location).ok().filter(|to| matches!(to.scheme(), "http" | "https"))
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
    /// As [`ask`](Self::ask); also if the answer is an error or no JSON.
    pub(super) async fn get_json(&self, web: &Web, path: &str, query: &[(&str, &str)]) -> Result<Value, String> {
        self.ask(web, path, query).await?.json()
    }

    /// Requests a path below the URL.
    ///
    /// # Errors
    ///
    /// As [`Web::get`]; also if the value of the variable is not a URL.
    pub(super) async fn ask(&self, web: &Web, path: &str, query: &[(&str, &str)]) -> Result<Answer, String> {
        let mut url = self.url.clone().ok_or("not an http or https URL")?;
        url.set_path(&format!("{}{path}", url.path().trim_end_matches('/')));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        web.get(url).await
    }

    /// Returns the URL without user, password, query and fragment, which may be secret.
    pub(super) fn shown(&self) -> String {
        let Some(url) = &self.url else { return self.variable.to_owned() };
        let host = url.host_str().unwrap_or_default();
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}://{host}{port}{}", url.scheme(), url.path().trim_end_matches('/'))
    }
}
