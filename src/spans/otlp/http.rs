//! Sends a request by HTTP.

use std::io;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use opentelemetry_http::{Bytes, Request};
use prost::Message;

use super::answer::{RpcStatus, Words, of_taken, of_transport_error};
use super::{Answer, Connection};
use crate::otlp::{Config, http as transport};

/// Sends each request as it is.
#[derive(Debug)]
pub(super) struct Client {
    client: reqwest::Client,
    words: Words,
}

/// The most that is read of an answer, in bytes.
const LARGEST_ANSWER: usize = 64 * 1024;

impl Client {
    /// # Errors
    ///
    /// When the certificate can't be read, or the system has no root certificates.
    pub(super) fn new(config: &Config, words: Words) -> io::Result<Self> {
        Ok(Self { client: transport::client(config)?, words })
    }

    async fn request(&self, request: Request<Bytes>) -> Result<Answer, reqwest::Error> {
        let mut response = self.client.execute(reqwest::Request::try_from(request)?).await?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            body.extend_from_slice(&chunk);
            if body.len() > LARGEST_ANSWER {
                break;
            }
        }
        let status = response.status();
        if status.is_success() {
            return Ok(of_taken(&body, &self.words));
        }
        Ok(self.refusal(status, response.headers(), &body))
    }

    /// Returns the answer for a status that is no success, by the rules of OTLP.
    fn refusal(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Answer {
        let what = format!("HTTP status {status}");
        let details = RpcStatus::decode(body).ok().filter(|_| has_type(headers, "application/x-protobuf"));
        let why = match &details {
            Some(details) => self.words.after(&what, &details.message),
            // A page for a browser says nothing more.
            None if has_type(headers, "text/plain") || has_type(headers, "application/json") => {
                self.words.after(&what, &String::from_utf8_lossy(body))
            }
            None => what,
        };
        match status {
            StatusCode::PAYLOAD_TOO_LARGE => Answer::TooLarge { why },
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => {
                let pause = retry_after(headers).or_else(|| details.and_then(|details| details.pause()));
                Answer::Later { why, pause }
            }
            _ => Answer::Refused { why },
        }
    }
}

#[async_trait]
impl Connection for Client {
    async fn send(&self, request: Request<Bytes>) -> Answer {
        // The URL is left out: log lines have the endpoint.
        self.request(request).await.unwrap_or_else(|error| of_transport_error(&error.without_url()))
    }
}

fn has_type(headers: &HeaderMap, name: &str) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(name.as_bytes()))
}

/// Reads `Retry-After`, which is a number of seconds or a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match value.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(value).ok()?.duration_since(SystemTime::now()).ok(),
    }
}
