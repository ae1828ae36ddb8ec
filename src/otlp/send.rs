//! One request to an OTLP endpoint, and its answer.

use std::fmt;
use std::future::Future;
use std::io;

use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
#[cfg(feature = "cli")]
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};

use super::{Config, Transport};

/// A connection that is made when it is first used; it belongs to a runtime.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    config: Config,
    connection: Connection,
}

#[derive(Clone, Debug)]
enum Connection {
    Grpc(tonic::transport::Channel),
    #[cfg(feature = "otlp-http")]
    Http(reqwest::Client),
}

/// Why a request was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The endpoint does not know this signal, and never will.
    UnknownSignal,
    /// So many data points were not taken, and would not be if they were sent again.
    Rejected(i64),
    /// Anything else, which may pass.
    Failed(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownSignal => f.write_str("the endpoint does not take this signal"),
            Self::Rejected(points) => write!(f, "{points} data points were rejected"),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

impl Sender {
    /// Prepares a connection on the runtime that is current; panics without one.
    ///
    /// # Errors
    ///
    /// When the certificate can't be read or the roots of the system can't be had.
    pub(crate) fn new(config: &Config) -> io::Result<Self> {
        let connection = match config.transport {
            Transport::Grpc => Connection::Grpc(super::grpc::channel(config)?),
            #[cfg(feature = "otlp-http")]
            Transport::Http => Connection::Http(super::http::client(config)?),
        };
        Ok(Self { config: config.clone(), connection })
    }

    /// Sends spans, within the time-out of the endpoint.
    ///
    /// # Errors
    ///
    /// When they were not taken.
    #[cfg(feature = "cli")]
    pub(crate) async fn traces(
        &self,
        request: ExportTraceServiceRequest,
    ) -> Result<ExportTraceServiceResponse, Refusal> {
        self.in_time(async {
            match &self.connection {
                Connection::Grpc(channel) => grpc::traces(&self.config, channel.clone(), request).await,
                Connection::Http(client) => http::post(&self.config, client, request).await,
            }
        })
        .await
    }

    /// Sends metrics, within the time-out of the endpoint.
    ///
    /// # Errors
    ///
    /// When they were not taken.
    pub(crate) async fn metrics(&self, request: ExportMetricsServiceRequest) -> Result<(), Refusal> {
        let answer: ExportMetricsServiceResponse = self
            .in_time(async {
                match &self.connection {
                    Connection::Grpc(channel) => grpc::metrics(&self.config, channel.clone(), request).await,
                    #[cfg(feature = "otlp-http")]
                    Connection::Http(client) => http::post(&self.config, client, request).await,
                }
            })
            .await?;
        match answer.partial_success.map_or(0, |partial| partial.rejected_data_points) {
            0 => Ok(()),
            rejected => Err(Refusal::Rejected(rejected)),
        }
    }

    async fn in_time<T>(&self, sending: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
        let limited = tokio::time::timeout(self.config.timeout, sending);
        limited.await.unwrap_or_else(|_| Err(Refusal::Failed(format!("no answer within {:?}", self.config.timeout))))
    }
}

mod grpc {
    use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
    use tonic::codec::CompressionEncoding::Gzip;
    use tonic::transport::Channel;
    use tonic::{Code, Request, Status};

    use super::{Config, ExportMetricsServiceRequest, ExportMetricsServiceResponse, Refusal};
    use crate::cause::innermost;
    use crate::otlp::grpc::metadata;

    pub(super) async fn metrics(
        config: &Config,
        channel: Channel,
        request: ExportMetricsServiceRequest,
    ) -> Result<ExportMetricsServiceResponse, Refusal> {
        let client = MetricsServiceClient::new(channel);
        let mut client = if config.gzip { client.send_compressed(Gzip) } else { client };
        let answer = client.export(with_headers(config, request)?).await;
        answer.map(tonic::Response::into_inner).map_err(|status| refusal(&status))
    }

    #[cfg(feature = "cli")]
    pub(super) async fn traces(
        config: &Config,
        channel: Channel,
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
        // A server that does not know gzip answers with the same code.
        let is_encoding = status.message().contains("compress") || status.message().contains("encoding");
        match status.code() {
            // tonic's words (0.14) for an answer that is HTTP's and not gRPC's: a server of OTLP/HTTP says 404 to gRPC.
            _ if status.message().contains("mapped from HTTP status code") => {
                Refusal::Failed("the endpoint does not speak gRPC; OTLP/HTTP has another port".to_owned())
            }
            Code::Unimplemented if !is_encoding => Refusal::UnknownSignal,
            // What a server says may hold secrets; where there was none, the transport's own words help.
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
    use prost::Message;
    use reqwest::StatusCode;

    use super::{Config, Refusal};
    use crate::cause::innermost;

    pub(super) async fn post<T: Message + Default>(
        config: &Config,
        client: &reqwest::Client,
        request: impl Message,
    ) -> Result<T, Refusal> {
        let request_body = request.encode_to_vec();
        let mut post = client.post(&config.endpoint).header("content-type", "application/x-protobuf");
        for (name, value) in &config.headers {
            post = post.header(name, value);
        }
        let post = if config.gzip {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            let encoded = encoder.write_all(&request_body).and_then(|()| encoder.finish());
            let encoded = encoded.map_err(|error| Refusal::Failed(error.to_string()))?;
            post.header("content-encoding", "gzip").body(encoded)
        } else {
            post.body(request_body)
        };
        let answer = post.send().await.map_err(failed)?;
        match answer.status() {
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => {
                Err(Refusal::UnknownSignal)
            }
            status if status.is_success() => {
                // An answer that is not protobuf is still a yes.
                Ok(T::decode(answer.bytes().await.map_err(failed)?).unwrap_or_default())
            }
            status => Err(Refusal::Failed(format!("HTTP status {status}"))),
        }
    }

    fn failed(error: reqwest::Error) -> Refusal {
        // Without the URL, which is told beside it, and down to the system's own words.
        Refusal::Failed(innermost(&error.without_url()).to_string())
    }
}
