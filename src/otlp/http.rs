//! The client of OTLP/HTTP.

use std::io;

use super::{CONNECT_TIMEOUT, Config};

/// Builds the client.
///
/// # Errors
///
/// When the certificate can't be read or the roots of the system can't be had.
pub(crate) fn client(config: &Config) -> io::Result<reqwest::Client> {
    let client = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT).timeout(config.timeout);
    #[cfg(feature = "otlp-tls")]
    let client = if config.endpoint.starts_with("https:") {
        client.tls_backend_preconfigured(tls::client_config(config.certificate.as_deref())?)
    } else {
        client
    };
    client.build().map_err(io::Error::other)
}

/// Begins a client that trusts the roots of the system, for other questions than those of OTLP.
///
/// # Errors
///
/// When the roots of the system can't be had.
#[cfg(feature = "cli")]
pub(crate) fn builder() -> io::Result<reqwest::ClientBuilder> {
    Ok(reqwest::Client::builder().tls_backend_preconfigured(tls::client_config(None)?))
}

#[cfg(feature = "otlp-tls")]
mod tls {
    use std::io;
    use std::sync::Arc;

    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    use rustls::{ClientConfig, RootCertStore};

    /// The same provider and roots as the gRPC transport has; nothing depends on a provider the process may have set.
    pub(super) fn client_config(certificate: Option<&[u8]>) -> io::Result<ClientConfig> {
        let mut roots = RootCertStore::empty();
        match certificate {
            Some(pem) => {
                for certificate in CertificateDer::pem_slice_iter(pem) {
                    roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
                }
            }
            None => {
                // A few unreadable certificates among the system's are usual; an empty store fails at the first export.
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        Ok(config.map_err(io::Error::other)?.with_root_certificates(roots).with_no_client_auth())
    }
}
