//! The channel and the metadata of OTLP/gRPC.

use std::io;

#[cfg(feature = "otlp-metrics")]
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};

use super::{CONNECT_TIMEOUT, Config};

/// Creates a channel that connects on first use.
///
/// Its tasks run on the current tokio runtime; without one this panics.
///
/// # Errors
///
/// When the certificate can't be read, or the system has no root certificates.
pub(crate) fn channel(config: &Config) -> io::Result<Channel> {
    #[cfg(feature = "otlp-tls")]
    super::tls::check_roots(config)?;
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

/// Returns the headers as gRPC metadata.
///
/// # Errors
///
/// When a name or value is no valid header.
#[cfg(feature = "otlp-metrics")]
pub(crate) fn metadata(config: &Config) -> io::Result<MetadataMap> {
    let mut headers = http::HeaderMap::new();
    for (name, value) in &config.headers {
        let name: http::HeaderName = name.parse().map_err(io::Error::other)?;
        headers.append(name, value.parse().map_err(io::Error::other)?);
    }
    Ok(MetadataMap::from_headers(headers))
}
