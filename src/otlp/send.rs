//! Sends single requests to an OTLP endpoint and reads the answers.

use std::fmt;
use std::future::Future;
use std::io;

use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};

use super::grpc::Answers;
use super::{Config, Transport};

/// A client of one endpoint, which connects on first use. It must be used on the runtime on which it was created.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    config: Config,
    connection: Connection,
}

#[derive(Clone, Debug)]
enum Connection {
    Grpc(Answers),
    #[cfg(feature = "otlp-http")]
    Http(Box<super::http::Client>),
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The endpoint has answered so, as endpoints do that do not support the signal. It may be temporary: during a roll-out others do so too.
    UnknownSignal(String),
    /// The endpoint rejected this number of data points. OTLP forbids to send them again.
    Rejected(i64),
    /// The message was too large.
    TooLarge(String),
    /// Any other failure, which may be temporary.
    Failed(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownSignal(text) | Self::TooLarge(text) | Self::Failed(text) => f.write_str(text),
            Self::Rejected(points) => write!(f, "{points} data points were rejected"),
        }
    }
}

impl Sender {
    /// Creates a sender on the current tokio runtime; OTLP/gRPC panics without one.
    ///
    /// # Errors
    ///
    /// When a certificate can't be used, or the system has no root certificates.
    pub(crate) fn new(config: &Config) -> io::Result<Self> {
        let connection = match config.transport {
            Transport::Grpc => Connection::Grpc(Answers(super::grpc::channel(config)?)),
            #[cfg(feature = "otlp-http")]
            Transport::Http => Connection::Http(Box::new(super::http::Client::new(config)?)),
        };
        Ok(Self { config: config.clone(), connection })
    }

    /// Returns a sender of spans to the same endpoint, over the same connection; `None` where the URL of the metrics does not tell that
    /// of the spans.
    pub(crate) fn for_traces(&self) -> Option<Self> {
        let endpoint = match &self.connection {
            Connection::Grpc(_) => self.config.endpoint.clone(),
            #[cfg(feature = "otlp-http")]
            Connection::Http(_) => format!("{}/v1/traces", self.config.endpoint.strip_suffix("/v1/metrics")?),
        };
        Some(Self { config: Config { endpoint, ..self.config.clone() }, connection: self.connection.clone() })
    }

    /// Sends spans, within the timeout of the endpoint.
    ///
    /// # Errors
    ///
    /// When the request failed or timed out.
    pub(crate) async fn traces(
        &self,
        request: ExportTraceServiceRequest,
    ) -> Result<ExportTraceServiceResponse, Refusal> {
        self.within_timeout(async {
            match &self.connection {
                Connection::Grpc(channel) => grpc::traces(&self.config, channel.clone(), request).await,
                #[cfg(feature = "otlp-http")]
                Connection::Http(client) => http::post(&self.config, client, request).await,
            }
        })
        .await
    }

    /// Sends metrics, within the timeout of the endpoint.
    ///
    /// # Errors
    ///
    /// When the request failed or timed out, or the endpoint rejected data points.
    pub(crate) async fn metrics(&self, request: ExportMetricsServiceRequest) -> Result<(), Refusal> {
        let answer: ExportMetricsServiceResponse = self
            .within_timeout(async {
                match &self.connection {
                    Connection::Grpc(channel) => grpc::metrics(&self.config, channel.clone(), request).await,
                    #[cfg(feature = "otlp-http")]
                    Connection::Http(client) => http::post(&self.config, client, request).await,
                }
            })
            .await?;
        match answer.partial_success.map_or(0, |partial| partial.rejected_data_points) {
            rejected @ 1.. => Err(Refusal::Rejected(rejected)),
            _ => Ok(()),
        }
    }

    async fn within_timeout<T>(&self, request: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
        let limited = tokio::time::timeout(self.config.timeout, request);
        limited.await.unwrap_or_else(|_| Err(Refusal::Failed(format!("no answer within {:?}", self.config.timeout))))
    }
}

mod grpc {
    use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
    use tonic::codec::CompressionEncoding::Gzip;
    use tonic::{Code, Request, Status};

    use super::{Answers, Config, ExportMetricsServiceRequest, ExportMetricsServiceResponse, Refusal};
    use crate::cause::innermost;
    use crate::otlp::grpc::{is_about_size, metadata};

    pub(super) async fn metrics(
        config: &Config,
        channel: Answers,
        request: ExportMetricsServiceRequest,
    ) -> Result<ExportMetricsServiceResponse, Refusal> {
        let client = MetricsServiceClient::new(channel);
        let mut client = if config.gzip { client.send_compressed(Gzip) } else { client };
        let answer = client.export(with_headers(config, request)?).await;
        answer.map(tonic::Response::into_inner).map_err(|status| refusal(&status))
    }

    pub(super) async fn traces(
        config: &Config,
        channel: Answers,
        request: super::ExportTraceServiceRequest,
    ) -> Result<super::ExportTraceServiceResponse, Refusal> {
        use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;

        let client = TraceServiceClient::new(channel);
        let mut client = if config.gzip { client.send_compressed(Gzip) } else { client };
        let answer = client.export(with_headers(config, request)?).await;
        answer.map(tonic::Response::into_inner).map_err(|status| refusal(&status))
    }

    fn with_headers<T>(config: &Config, message: T) -> Result<Request<T>, Refusal> {
        let mut request = Request::new(message);
        *request.metadata_mut() = metadata(config).map_err(|error| Refusal::Failed(error.to_string()))?;
        Ok(request)
    }

    fn refusal(status: &Status) -> Refusal {
        // A server that does not support gzip answers with the code `Unimplemented` too.
        let is_encoding = status.message().contains("compress") || status.message().contains("encoding");
        match status.code() {
            // The text of tonic 0.14 for an answer that is not gRPC. A server of OTLP/HTTP answers gRPC requests with status 404.
            _ if status.message().contains("mapped from HTTP status code") => {
                Refusal::Failed("the endpoint does not speak gRPC; OTLP/HTTP has another port".to_owned())
            }
            Code::Unimplemented if !is_encoding => Refusal::UnknownSignal("gRPC status Unimplemented".to_owned()),
            code @ (Code::ResourceExhausted | Code::OutOfRange) if is_about_size(status.message()) => {
                Refusal::TooLarge(format!("gRPC status {code:?}: the message is too large"))
            }
            // The server's message is not shown: it may repeat secrets. A status without metadata and with a source comes from the
            // transport, whose error is safe and says more.
            code if status.metadata().is_empty() && std::error::Error::source(status).is_some() => {
                Refusal::Failed(format!("{code:?}: {}", innermost(status)))
            }
            code => Refusal::Failed(format!("gRPC status {code:?}")),
        }
    }
}

#[cfg(feature = "otlp-http")]
mod http {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use http::{Request, StatusCode};
    use prost::Message;

    use super::{Config, Refusal};
    use crate::cause::innermost;
    use crate::otlp::http::Client;

    /// Posts a message as protobuf and decodes the answer.
    pub(super) async fn post<T: Message + Default>(
        config: &Config,
        client: &Client,
        request: impl Message,
    ) -> Result<T, Refusal> {
        let mut post = Request::post(&config.endpoint).header("content-type", "application/x-protobuf");
        for (name, value) in &config.headers {
            post = post.header(name, value);
        }
        let message = request.encode_to_vec();
        let body = if config.gzip {
            post = post.header("content-encoding", "gzip");
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(&message).and_then(|()| encoder.finish()).map_err(failed)?
        } else {
            message
        };
        let answer = client.send(post.body(body.into()).map_err(failed)?).await.map_err(failed)?;
        match answer.status() {
            status @ (StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED) => {
                Err(Refusal::UnknownSignal(format!("HTTP status {status}")))
            }
            status @ StatusCode::PAYLOAD_TOO_LARGE => Err(Refusal::TooLarge(format!("HTTP status {status}"))),
            // The request succeeded even if the body of the answer is no protobuf.
            status if status.is_success() => Ok(T::decode(answer.into_body()).unwrap_or_default()),
            status => Err(Refusal::Failed(format!("HTTP status {status}"))),
        }
    }

    fn failed(error: impl std::error::Error + 'static) -> Refusal {
        Refusal::Failed(innermost(&error).to_string())
    }
}
