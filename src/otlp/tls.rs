//! Root certificates for `https://` endpoints.

use std::io;

use super::Config;

/// Checks that an `https://` endpoint has at least one root certificate.
///
/// Without the check every export would fail later, with an error that does not name the cause.
///
/// # Errors
///
/// When no certificate is configured and the system has none.
pub(super) fn check_roots(config: &Config) -> io::Result<()> {
    let has_roots = !config.endpoint.starts_with("https:")
        || config.certificate.is_some()
        || !rustls_native_certs::load_native_certs().certs.is_empty();
    let message = "the system has no root certificates: install them, or name yours by OTEL_EXPORTER_OTLP_CERTIFICATE";
    if has_roots { Ok(()) } else { Err(io::Error::new(io::ErrorKind::NotFound, message)) }
}

/// Builds a TLS configuration with the given certificates, or else with the system's.
///
/// Cryptography and roots are the same as in the gRPC transport. The provider is passed explicitly, because the process may have
/// installed another default one, or none.
///
/// # Errors
///
/// When `certificate` is no valid PEM.
#[cfg(feature = "otlp-http")]
pub(super) fn client_config(certificate: Option<&[u8]>) -> io::Result<rustls::ClientConfig> {
    use std::sync::Arc;

    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    use rustls::{ClientConfig, RootCertStore};

    let mut roots = RootCertStore::empty();
    match certificate {
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
            }
        }
        None => {
            // Unreadable certificates are skipped: many systems have some.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(config.map_err(io::Error::other)?.with_root_certificates(roots).with_no_client_auth())
}
