//! The HTTP client of OTLP/HTTP.
//!
//! It is not `reqwest`, whose features for TLS would be on for the whole program: there the program's own clients would use them too,
//! and panic where it has no root certificates or no provider of cryptography.

use std::fmt;
use std::io;
use std::time::Duration;

use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::Config;
use super::connect::Connector;
#[cfg(feature = "otlp-tls")]
use super::tls::Tls;

/// How much is read of the body of an answer, in bytes. Answers of OTLP are far smaller.
const READ_OF_ANSWER: usize = 64 * 1024;

/// The same of other servers, whose pages are read whole.
#[cfg(feature = "cli")]
const READ_OF_PAGE: usize = 64 * 1024 * 1024;

/// A client that keeps its connections. Its requests must be made on the same tokio runtime.
#[derive(Clone)]
pub(crate) struct Client {
    inner: legacy::Client<Connector, Full<Bytes>>,
    timeout: Duration,
    /// How much is read of the body of an answer, in bytes.
    read: usize,
    /// For a proxy that forwards requests.
    proxy_authorization: Option<HeaderValue>,
}

impl Client {
    /// Creates the client of an endpoint.
    ///
    /// # Errors
    ///
    /// When a certificate can't be used, or the system has no root certificates.
    pub(crate) fn new(config: &Config) -> io::Result<Self> {
        let connector = Connector::new(config.proxy.clone()).with_forwarding();
        #[cfg(feature = "otlp-tls")]
        let connector = match Tls::of(config)? {
            Some(tls) => connector.with_tls(tls),
            None => connector,
        };
        let authorization = config.proxy.as_ref().and_then(|proxy| proxy.authorization.clone());
        let proxy_authorization = authorization.filter(|_| config.endpoint.starts_with("http:"));
        Ok(Self { proxy_authorization, ..Self::of(connector, config.timeout, READ_OF_ANSWER) })
    }

    /// Creates a client for servers other than OTLP endpoints: it trusts the system's root certificates, and uses no proxy.
    ///
    /// # Errors
    ///
    /// When the system's root certificates can't be read.
    #[cfg(feature = "cli")]
    pub(crate) fn direct(timeout: Duration) -> io::Result<Self> {
        Ok(Self::of(Connector::new(None).with_tls(Tls::of_system()?), timeout, READ_OF_PAGE))
    }

    fn of(connector: Connector, timeout: Duration, read: usize) -> Self {
        let inner = legacy::Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        Self { inner, timeout, read, proxy_authorization: None }
    }

    /// Sends a request and reads the answer, within the timeout. Of a body that is too large the beginning is read. Redirects are not
    /// followed.
    ///
    /// # Errors
    ///
    /// When there is no answer in time.
    pub(crate) async fn send(&self, request: Request<Bytes>) -> io::Result<Response<Bytes>> {
        let answer = tokio::time::timeout(self.timeout, self.exchange(request)).await;
        let late = |_| Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {:?}", self.timeout)));
        answer.unwrap_or_else(late)
    }

    async fn exchange(&self, request: Request<Bytes>) -> io::Result<Response<Bytes>> {
        let mut request = request.map(Full::new);
        if let Some(authorization) = &self.proxy_authorization {
            request.headers_mut().insert(header::PROXY_AUTHORIZATION, authorization.clone());
        }
        let (head, mut body) = self.inner.request(request).await.map_err(io::Error::other)?.into_parts();
        let mut read = Vec::new();
        while read.len() < self.read
            && let Some(frame) = body.frame().await
        {
            let data = frame.map_err(io::Error::other)?.into_data().unwrap_or_default();
            read.extend_from_slice(&data[..data.len().min(self.read - read.len())]);
        }
        Ok(Response::from_parts(head, read.into()))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not derived: the header holds a password.
        f.debug_struct("Client").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}
