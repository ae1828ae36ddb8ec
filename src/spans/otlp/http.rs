//! Sends a request by HTTP.

use std::io;
use std::time::{Duration, SystemTime};

use ::http::StatusCode;
use ::http::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use async_trait::async_trait;
use opentelemetry_http::{Bytes, Request};
use prost::Message;

use super::answer::{RpcStatus, Words, of_taken, of_transport_error};
use super::{Answer, Connection};
use crate::otlp::{Config, http};

/// Sends each request as it is.
#[derive(Debug)]
pub(super) struct Client {
    client: http::Client,
    words: Words,
}

impl Client {
    /// # Errors
    ///
    /// When a certificate can't be used, or the system has no root certificates.
    pub(super) fn new(config: &Config, words: Words) -> io::Result<Self> {
        Ok(Self { client: http::Client::new(config)?, words })
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
        match self.client.send(request).await {
            Ok(response) if response.status().is_success() => of_taken(response.body(), &self.words),
            Ok(response) => self.refusal(response.status(), response.headers(), response.body()),
            Err(error) => of_transport_error(&error),
        }
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
