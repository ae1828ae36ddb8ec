//! Exports spans by OTLP, on the pipeline's own runtime.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_otlp::{Compression, SpanExporter};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{self, SpanData};
use tokio::runtime::Handle;

use crate::otlp::{Config, Transport};
use crate::worker::Worker;

/// Builds the exporter. Each export takes at most `limit`.
///
/// # Errors
///
/// When the certificate can't be read, or the system has no root certificates.
pub(super) fn exporter(config: &Config, limit: Duration, worker: &Worker) -> io::Result<Exporter> {
    let transport = match config.transport {
        #[cfg(feature = "_grpc")]
        Transport::Grpc => grpc::exporter(config, worker)?,
        #[cfg(feature = "otlp-http")]
        Transport::Http => http::exporter(config)?,
    };
    Ok(Exporter { transport: Arc::new(transport), limit, runtime: worker.handle().clone() })
}

/// Runs each export on the pipeline's runtime; dropping the runtime ends an export that hangs.
///
/// The SDK's batch thread has no runtime. There the pauses between two attempts would block the thread, and a timer that outlives
/// its runtime would panic.
#[derive(Debug)]
pub(super) struct Exporter {
    transport: Arc<SpanExporter>,
    limit: Duration,
    runtime: Handle,
}

impl trace::SpanExporter for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let (transport, limit) = (Arc::clone(&self.transport), self.limit);
        let export = self.runtime.spawn(async move {
            let limited = tokio::time::timeout(limit, trace::SpanExporter::export(&*transport, batch));
            limited.await.unwrap_or(Err(OTelSdkError::Timeout(limit)))
        });
        export.await.unwrap_or_else(|ended| Err(OTelSdkError::InternalFailure(ended.to_string())))
    }

    fn set_resource(&mut self, resource: &Resource) {
        // The SDK calls this before the first export, so the transport is not shared yet.
        if let Some(transport) = Arc::get_mut(&mut self.transport) {
            trace::SpanExporter::set_resource(transport, resource);
        }
    }
}

fn compression(config: &Config) -> Option<Compression> {
    config.gzip.then_some(Compression::Gzip)
}

#[cfg(feature = "_grpc")]
mod grpc {
    use std::io;

    use opentelemetry_otlp::{WithExportConfig, WithTonicConfig};

    use super::{Config, SpanExporter, Worker, compression};
    use crate::otlp::grpc;

    pub(super) fn exporter(config: &Config, worker: &Worker) -> io::Result<SpanExporter> {
        // The channel spawns its tasks on the runtime that is current when it is built, and panics without one.
        let _entered = worker.handle().enter();
        let builder = SpanExporter::builder()
            .with_tonic()
            .with_channel(grpc::channel(config)?)
            .with_timeout(config.timeout)
            .with_metadata(grpc::metadata(config)?);
        match compression(config) {
            Some(compression) => builder.with_compression(compression),
            None => builder,
        }
        .build()
        .map_err(io::Error::other)
    }
}

#[cfg(feature = "otlp-http")]
mod http {
    use std::io;

    use async_trait::async_trait;
    use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
    use opentelemetry_otlp::{WithExportConfig, WithHttpConfig};

    use super::{Config, SpanExporter, compression};
    use crate::otlp::http;

    pub(super) fn exporter(config: &Config) -> io::Result<SpanExporter> {
        let builder = SpanExporter::builder()
            .with_http()
            .with_http_client(Client(http::client(config)?))
            .with_endpoint(&config.endpoint)
            .with_timeout(config.timeout)
            .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
            .with_headers(config.headers.iter().cloned().collect());
        match compression(config) {
            Some(compression) => builder.with_compression(compression),
            None => builder,
        }
        .build()
        .map_err(io::Error::other)
    }

    /// Implements the client of the OTLP crate with this crate's version of `reqwest`.
    #[derive(Debug)]
    struct Client(reqwest::Client);

    #[async_trait]
    impl HttpClient for Client {
        async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
            let response = self.0.execute(reqwest::Request::try_from(request)?).await?;
            let status = response.status();
            let headers = response.headers().clone();
            let mut response = Response::new(response.bytes().await?);
            *response.status_mut() = status;
            *response.headers_mut() = headers;
            Ok(response)
        }
    }
}
