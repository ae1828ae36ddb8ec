//! Sends the message of a request by gRPC.

use std::future::poll_fn;
use std::io;

use async_trait::async_trait;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, TE};
use http::{Method, StatusCode, Version};
use http_body_util::{BodyExt, Full, Limited};
use opentelemetry_http::{Bytes, Request};
use prost::Message;
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::answer::{RpcStatus, Words, of_taken, of_transport_error};
use super::{Answer, Connection};
use crate::cause::innermost;
use crate::otlp::Config;
use crate::otlp::grpc::{self, is_about_size};
use crate::worker::Worker;

/// Sends the body of each request as one message of OTLP/gRPC.
#[derive(Debug)]
pub(super) struct Client {
    channel: Channel,
    words: Words,
}

const PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// The most that is read of an answer, in bytes.
const LARGEST_ANSWER: usize = 64 * 1024;

/// The compression flag and the length, before a message.
const PREFIX: usize = 5;

impl Client {
    /// # Errors
    ///
    /// When the certificate can't be read, or the system has no root certificates.
    pub(super) fn new(config: &Config, words: Words, worker: &Worker) -> io::Result<Self> {
        // The channel spawns its tasks on the runtime that is current when it is built, and panics without one.
        let _entered = worker.handle().enter();
        Ok(Self { channel: grpc::channel(config)?, words })
    }

    /// Returns the answer for a status that is not OK, by the rules of OTLP.
    fn refusal(&self, status: &Status) -> Answer {
        let why = self.words.after(&format!("{:?}", status.code()), status.message());
        let pause = RpcStatus::decode(status.details()).ok().and_then(|details| details.pause());
        match status.code() {
            Code::ResourceExhausted | Code::OutOfRange if is_about_size(status.message()) => Answer::TooLarge { why },
            Code::ResourceExhausted if pause.is_none() => Answer::Refused { why },
            Code::Cancelled
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss => Answer::Later { why, pause },
            _ => Answer::Refused { why },
        }
    }
}

#[async_trait]
impl Connection for Client {
    async fn send(&self, request: Request<Bytes>) -> Answer {
        let mut channel = self.channel.clone();
        let sent = async {
            poll_fn(|cx| GrpcService::poll_ready(&mut channel, cx)).await?;
            GrpcService::call(&mut channel, to_grpc(request)).await
        };
        let (head, body) = match sent.await {
            Ok(response) => response.into_parts(),
            Err(error) => return of_transport_error(&error),
        };
        if !is_grpc(&head.headers) {
            return match head.status {
                StatusCode::TOO_MANY_REQUESTS
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT => {
                    Answer::Later { why: format!("HTTP status {}", head.status), pause: None }
                }
                status => {
                    let why =
                        format!("HTTP status {status}: the endpoint does not speak gRPC; OTLP/HTTP has another port");
                    Answer::Refused { why }
                }
            };
        }
        let body = match Limited::new(body, LARGEST_ANSWER).collect().await {
            Ok(body) => body,
            Err(error) => return Answer::Later { why: innermost(&*error).to_string(), pause: None },
        };
        // An answer without a message has its status among the headers.
        let status = body.trailers().and_then(status_of).or_else(|| status_of(&head.headers));
        match status {
            Some(status) if status.code() == Code::Ok => {
                of_taken(body.to_bytes().get(PREFIX..).unwrap_or_default(), &self.words)
            }
            Some(status) => self.refusal(&status),
            None => Answer::Later { why: "the answer breaks off".to_owned(), pause: None },
        }
    }
}

/// Makes a request of gRPC with the same headers and message. A message that is compressed already stays as it is.
fn to_grpc(request: Request<Bytes>) -> Request<Body> {
    let (mut head, message) = request.into_parts();
    let mut framed = Vec::with_capacity(PREFIX + message.len());
    let encoding = head.headers.remove(CONTENT_ENCODING);
    framed.push(u8::from(encoding.is_some()));
    // A batch has 4 MiB at most.
    framed.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    framed.extend_from_slice(&message);
    head.headers.remove(CONTENT_LENGTH);
    head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    head.headers.insert(TE, HeaderValue::from_static("trailers"));
    if let Some(encoding) = encoding {
        head.headers.insert("grpc-encoding", encoding);
    }
    let mut request = Request::new(Body::new(Full::new(Bytes::from(framed))));
    *request.method_mut() = Method::POST;
    *request.version_mut() = Version::HTTP_2;
    // The channel adds scheme and host.
    *request.uri_mut() = http::Uri::from_static(PATH);
    *request.headers_mut() = head.headers;
    request
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// Reads the status of an answer. `Status::from_header_map` of tonic 0.14 panics if the details are no base64.
fn status_of(headers: &HeaderMap) -> Option<Status> {
    const DETAILS: &str = "grpc-status-details-bin";
    let mut headers = headers.clone();
    let details =
        MetadataMap::from_headers(headers.clone()).get_bin(DETAILS).and_then(|details| details.to_bytes().ok());
    headers.remove(DETAILS);
    let status = Status::from_header_map(&headers)?;
    Some(Status::with_details(status.code(), status.message(), details.unwrap_or_default()))
}
