//! The OTLP transports, on the runtime of the pipeline's own.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_otlp::{Compression, SpanExporter};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{self, SpanData};
use tokio::runtime::Handle;

use super::OtlpProtocol;
use crate::worker::Worker;

/// How long connecting may take. Without a limit a host that drops packets holds an export for two minutes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// What the exporter is built from; every value is valid.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) protocol: OtlpProtocol,
    /// The whole URL, path included.
    pub(crate) endpoint: String,
    /// Header names are lower-case; values may be secrets.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) timeout: Duration,
    pub(crate) gzip: bool,
    /// The roots to trust instead of the system's, as PEM.
    #[cfg_attr(not(feature = "otlp-tls"), expect(dead_code, reason = "refused where TLS is not compiled in"))]
    pub(crate) certificate: Option<Vec<u8>>,
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = match self.protocol {
            OtlpProtocol::Grpc => "gRPC",
            OtlpProtocol::HttpProtobuf => "HTTP",
        };
        write!(f, "OTLP/{transport} to {}", self.endpoint)
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the headers: they hold keys.
        fmt::Display::fmt(self, f)
    }
}

/// Builds the exporter, whose every export ends within the limit.
///
/// # Errors
///
/// When the certificate can't be read or the roots of the system can't be had.
pub(super) fn exporter(config: &Config, limit: Duration, worker: &Worker) -> io::Result<Exporter> {
    #[cfg(feature = "otlp-tls")]
    tls::check_roots(config)?;
    let transport = match config.protocol {
        #[cfg(feature = "otlp-grpc")]
        OtlpProtocol::Grpc => grpc::exporter(config, worker)?,
        #[cfg(feature = "otlp-http")]
        OtlpProtocol::HttpProtobuf => http::exporter(config)?,
        #[cfg(not(all(feature = "otlp-grpc", feature = "otlp-http")))]
        other => return Err(io::Error::new(io::ErrorKind::Unsupported, format!("{other:?} is not compiled in"))),
    };
    Ok(Exporter { transport: Arc::new(transport), limit, runtime: worker.handle().clone() })
}

/// Exports on the pipeline's runtime, with which a hanging export ends.
///
/// The batch thread that asks has no runtime: there the pauses between tries would block, and a timer would panic that
/// outlives its runtime.
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
        // Told before the first export, thus not shared yet.
        if let Some(transport) = Arc::get_mut(&mut self.transport) {
            trace::SpanExporter::set_resource(transport, resource);
        }
    }
}

fn compression(config: &Config) -> Option<Compression> {
    config.gzip.then_some(Compression::Gzip)
}

#[cfg(feature = "otlp-grpc")]
mod grpc {
    use std::io;

    use opentelemetry_otlp::{WithExportConfig, WithTonicConfig};
    use tonic::metadata::MetadataMap;
    use tonic::transport::{Channel, Endpoint};

    use super::{CONNECT_TIMEOUT, Config, SpanExporter, Worker, compression};

    pub(super) fn exporter(config: &Config, worker: &Worker) -> io::Result<SpanExporter> {
        let mut headers = http::HeaderMap::new();
        for (name, value) in &config.headers {
            let name: http::HeaderName = name.parse().map_err(io::Error::other)?;
            headers.append(name, value.parse().map_err(io::Error::other)?);
        }
        // The channel spawns its tasks on the runtime that is current while it is made, and panics without one.
        let _entered = worker.handle().enter();
        let builder = SpanExporter::builder()
            .with_tonic()
            .with_channel(channel(config)?)
            .with_timeout(config.timeout)
            .with_metadata(MetadataMap::from_headers(headers));
        match compression(config) {
            Some(compression) => builder.with_compression(compression),
            None => builder,
        }
        .build()
        .map_err(io::Error::other)
    }

    fn channel(config: &Config) -> io::Result<Channel> {
        let endpoint = Endpoint::from_shared(config.endpoint.clone()).map_err(io::Error::other)?;
        #[cfg(feature = "otlp-tls")]
        let endpoint = if config.endpoint.starts_with("https:") {
            let tls = tonic::transport::ClientTlsConfig::new();
            let tls = match &config.certificate {
                Some(pem) => tls.ca_certificate(tonic::transport::Certificate::from_pem(pem)),
                None => tls.with_native_roots(),
            };
            endpoint.tls_config(tls).map_err(io::Error::other)?
        } else {
            endpoint
        };
        Ok(endpoint.connect_timeout(CONNECT_TIMEOUT).timeout(config.timeout).connect_lazy())
    }
}

#[cfg(feature = "otlp-http")]
mod http {
    use std::io;

    use async_trait::async_trait;
    use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
    use opentelemetry_otlp::{WithExportConfig, WithHttpConfig};

    use super::{CONNECT_TIMEOUT, Config, SpanExporter, compression};

    pub(super) fn exporter(config: &Config) -> io::Result<SpanExporter> {
        let client = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT).timeout(config.timeout);
        #[cfg(feature = "otlp-tls")]
        let client = if config.endpoint.starts_with("https:") {
            client.tls_backend_preconfigured(super::tls::client_config(config)?)
        } else {
            client
        };
        let client = client.build().map_err(io::Error::other)?;
        let builder = SpanExporter::builder()
            .with_http()
            .with_http_client(Client(client))
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

#[cfg(feature = "otlp-tls")]
mod tls {
    use std::io;

    use super::Config;

    /// Refuses an `https://` endpoint where there is nothing to trust: every export would fail, and not say why.
    pub(super) fn check_roots(config: &Config) -> io::Result<()> {
        let has_roots = !config.endpoint.starts_with("https:")
            || config.certificate.is_some()
            || !rustls_native_certs::load_native_certs().certs.is_empty();
        let message =
            "the system has no root certificates: install them, or name yours by OTEL_EXPORTER_OTLP_CERTIFICATE";
        if has_roots { Ok(()) } else { Err(io::Error::new(io::ErrorKind::NotFound, message)) }
    }

    /// The same provider and roots as the gRPC transport has; nothing depends on a provider the process may have set.
    #[cfg(feature = "otlp-http")]
    pub(super) fn client_config(config: &Config) -> io::Result<rustls::ClientConfig> {
        use std::sync::Arc;

        use rustls::pki_types::CertificateDer;
        use rustls::pki_types::pem::PemObject;
        use rustls::{ClientConfig, RootCertStore};

        let mut roots = RootCertStore::empty();
        match &config.certificate {
            Some(pem) => {
                for certificate in CertificateDer::pem_slice_iter(pem) {
                    roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
                }
            }
            None => {
                // A few unreadable certificates among the system's are usual.
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        Ok(config.map_err(io::Error::other)?.with_root_certificates(roots).with_no_client_auth())
    }
}
