//! Answers requests.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, ALLOW, AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName,
    HeaderValue, VARY, WWW_AUTHENTICATE,
};
use hyper::{Method, Request, Response, StatusCode};

use super::Access;
use super::pages::{Kind, Page, Pages};
use super::stream::{Progress, Writing};
#[cfg(feature = "console")]
use crate::console::{Console, Reply};
use crate::scrape::accept::{accepts_gzip, negotiate};

const PLAIN: &str = "text/plain; charset=utf-8";

/// The page at `/`.
const INDEX: &str = "<!DOCTYPE html>\n<html lang=\"en\"><head><title>botticelli_obs</title></head><body>\n\
    <h1>botticelli_obs</h1>\n<ul>\n<li><a href=\"/metrics\">/metrics</a>: metrics for Prometheus</li>\n\
    <li><a href=\"/health\">/health</a>: whether the program is there</li>\n</ul>\n</body></html>\n";

/// Makes the answers.
pub(super) struct Answers {
    pub(super) access: Access,
    pub(super) pages: Pages,
    /// Whether a request waits for a slot. Every answer then closes its connection.
    pub(super) is_contended: AtomicBool,
}

/// The body of an answer; hyper drops it when all of it is written.
struct Body {
    source: Source,
    _writing: Writing,
}

enum Source {
    Text(&'static str),
    Page(Arc<Page>),
    #[cfg(feature = "console")]
    Bytes(Bytes),
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        match &self.source {
            Source::Text(text) => text.as_bytes(),
            Source::Page(page) => &page.bytes,
            #[cfg(feature = "console")]
            Source::Bytes(bytes) => bytes,
        }
    }
}

/// An answer before it is converted to hyper's type.
struct Answer {
    status: StatusCode,
    content_type: &'static str,
    headers: Vec<(HeaderName, &'static str)>,
    source: Source,
}

impl Answer {
    fn text(status: StatusCode, text: &'static str) -> Self {
        Self { status, content_type: PLAIN, headers: Vec::new(), source: Source::Text(text) }
    }

    fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }
}

impl Answers {
    /// Answers a request; hyper omits the body of an answer to HEAD.
    pub(super) async fn answer<B>(
        &self,
        request: &Request<B>,
        peer: IpAddr,
        progress: &Arc<Progress>,
    ) -> Response<Full<Bytes>> {
        progress.request_arrived();
        let answer = self.choose(request, peer).await;
        let body = Body { source: answer.source, _writing: progress.answer_begins() };
        let is_refused = matches!(answer.status, StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED);
        let mut response = Response::new(Full::new(Bytes::from_owner(body)));
        *response.status_mut() = answer.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
        headers.extend(answer.headers.into_iter().map(|(name, value)| (name, HeaderValue::from_static(value))));
        if is_refused || self.is_contended.load(Ordering::Relaxed) {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn choose<B>(&self, request: &Request<B>, peer: IpAddr) -> Answer {
        let path = request.uri().path();
        if !self.allows(peer) {
            return Answer::text(StatusCode::FORBIDDEN, "");
        }
        #[cfg(feature = "console")]
        if let Some(console) = self.access.console.as_ref().filter(|_| Console::has(path)) {
            let Reply { status, content_type, body, headers } =
                console.answer(request.method(), request.uri(), request.headers()).await;
            return Answer { status, content_type, headers, source: Source::Bytes(body) };
        }
        if path != "/health" && !self.has_token(request.headers()) {
            return Answer::text(StatusCode::UNAUTHORIZED, "a token is needed\n").with(WWW_AUTHENTICATE, "Bearer");
        }
        if !matches!(path, "/metrics" | "/health" | "/") {
            return Answer::text(StatusCode::NOT_FOUND, "there is /metrics and /health\n");
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Answer::text(StatusCode::METHOD_NOT_ALLOWED, "there is GET and HEAD\n").with(ALLOW, "GET, HEAD");
        }
        match path {
            "/metrics" => {
                #[cfg(feature = "console")]
                if let Some(console) = &self.access.console {
                    console.scraped(peer, request.headers());
                }
                self.page(request.headers()).await
            }
            "/health" => Answer::text(StatusCode::OK, "ok"),
            _ => Answer { content_type: "text/html; charset=utf-8", ..Answer::text(StatusCode::OK, INDEX) },
        }
    }

    fn allows(&self, peer: IpAddr) -> bool {
        let allowed = &self.access.allowed;
        // A listener on `[::]` sees IPv4 peers at addresses such as `::ffff:10.0.0.1`.
        let peer = peer.to_canonical();
        allowed.is_empty() || allowed.iter().any(|network| network.contains(&peer))
    }

    fn has_token(&self, headers: &HeaderMap) -> bool {
        let authorization = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
        self.access.token.as_ref().is_none_or(|token| token.is_shown_by(authorization))
    }

    async fn page(&self, headers: &HeaderMap) -> Answer {
        let format = negotiate(joined(headers, &ACCEPT).as_deref());
        let gzip = accepts_gzip(joined(headers, &ACCEPT_ENCODING).as_deref());
        let Some(page) = self.pages.get(Kind { format, gzip }).await else {
            return Answer::text(StatusCode::INTERNAL_SERVER_ERROR, "the page could not be rendered\n");
        };
        let is_compressed = page.kind().gzip;
        let answer = Answer {
            status: StatusCode::OK,
            content_type: format.content_type(),
            headers: vec![(VARY, "accept, accept-encoding")],
            source: Source::Page(page),
        };
        if is_compressed { answer.with(CONTENT_ENCODING, "gzip") } else { answer }
    }
}

/// Returns the value of a header; the values of several lines are joined to one list.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let values: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    (!values.is_empty()).then(|| values.join(","))
}
