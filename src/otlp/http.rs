//! The HTTP client of OTLP/HTTP.

use std::io;

#[cfg(feature = "otlp-tls")]
use super::tls;
use super::{CONNECT_TIMEOUT, Config};

/// Builds the client.
///
/// # Errors
///
/// When the certificate can't be read, or the system has no root certificates.
pub(crate) fn client(config: &Config) -> io::Result<reqwest::Client> {
    let client = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT).timeout(config.timeout);
    #[cfg(feature = "otlp-tls")]
    tls::check_roots(config)?;
    #[cfg(feature = "otlp-tls")]
    let client = if config.endpoint.starts_with("https:") {
        client.tls_backend_preconfigured(tls::client_config(config.certificate.as_deref())?)
    } else {
        client
    };
    client.build().map_err(io::Error::other)
}

/// Returns the builder of a client that trusts the system's root certificates, for requests other than OTLP.
///
/// # Errors
///
/// When the TLS configuration can't be built.
#[cfg(feature = "cli")]
pub(crate) fn builder() -> io::Result<reqwest::ClientBuilder> {
    Ok(reqwest::Client::builder().tls_backend_preconfigured(tls::client_config(None)?))
}
