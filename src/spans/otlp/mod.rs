//! Exports spans by OTLP.
//!
//! The exporter of `opentelemetry-otlp` encodes them and makes the request. It is given a client of this crate, which sends the
//! request, by HTTP as it is or the same message by gRPC, and reads the whole answer: the exporter's own clients keep to themselves
//! what the server says, when it wants to be asked again, and how many spans it has rejected.

mod answer;
#[cfg(feature = "_grpc")]
mod grpc;
#[cfg(feature = "otlp-http")]
mod http;

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Compression, RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{self, SpanData};

use super::export::{Answer, Export};
use crate::lock::unpoisoned;
use crate::otlp::{Config, Transport};
use crate::worker::Worker;
use answer::Words;

/// Builds the exporter. Each export takes at most `limit`.
///
/// # Errors
///
/// When the certificate can't be read, or the system has no root certificates.
pub(super) fn exporter(config: &Config, limit: Duration, resource: &Resource, worker: &Worker) -> io::Result<Exporter> {
    let answer = Arc::default();
    let words = Words::new(config);
    let connection: Box<dyn Connection> = match config.transport {
        #[cfg(feature = "_grpc")]
        Transport::Grpc => Box::new(grpc::Client::new(config, words, worker)?),
        #[cfg(feature = "otlp-http")]
        Transport::Http => Box::new(http::Client::new(config, words)?),
    };
    #[cfg(not(feature = "_grpc"))]
    let _ = worker;
    let builder = SpanExporter::builder()
        .with_http()
        .with_http_client(Client { connection, answer: Arc::clone(&answer) })
        .with_endpoint(&config.endpoint)
        .with_timeout(config.timeout)
        .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
        .with_retry_policy(RetryPolicy::disabled())
        .with_headers(config.headers.iter().cloned().collect());
    let mut exporter = match config.gzip {
        true => builder.with_compression(Compression::Gzip),
        false => builder,
    }
    .build()
    .map_err(io::Error::other)?;
    trace::SpanExporter::set_resource(&mut exporter, resource);
    Ok(Exporter { exporter, answer, limit })
}

/// Exports one batch at a time.
#[derive(Debug)]
pub(super) struct Exporter {
    exporter: SpanExporter,
    answer: Arc<Mutex<Option<Answer>>>,
    limit: Duration,
}

impl Export for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> Answer {
        let export = trace::SpanExporter::export(&self.exporter, batch);
        match tokio::time::timeout(self.limit, export).await {
            Ok(result) => unpoisoned(self.answer.lock()).take().unwrap_or_else(|| {
                // The request was not sent.
                let why = result.err().map_or_else(|| "no request was made".to_owned(), |error| error.to_string());
                Answer::Refused { why }
            }),
            Err(_) => Answer::Later { why: format!("no answer within {:?}", self.limit), pause: None },
        }
    }
}

/// A way to send a request.
#[async_trait]
trait Connection: std::fmt::Debug + Send + Sync {
    async fn send(&self, request: Request<Bytes>) -> Answer;
}

/// The client of the exporter. It tells the exporter that everything has succeeded, and keeps the answer.
#[derive(Debug)]
struct Client {
    connection: Box<dyn Connection>,
    answer: Arc<Mutex<Option<Answer>>>,
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.connection.send(request).await;
        *unpoisoned(self.answer.lock()) = Some(answer);
        Ok(Response::new(Bytes::new()))
    }
}
