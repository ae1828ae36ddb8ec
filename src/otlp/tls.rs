//! Whom `https://` endpoints are trusted by.

use std::io;

use super::Config;

/// Refuses an `https://` endpoint where there is nothing to trust: every export would fail, and not say why.
pub(super) fn check_roots(config: &Config) -> io::Result<()> {
    let has_roots = !config.endpoint.starts_with("https:")
        || config.certificate.is_some()
        || !rustls_native_certs::load_native_certs().certs.is_empty();
    let message = "the system has no root certificates: install them, or name yours by OTEL_EXPORTER_OTLP_CERTIFICATE";
    if has_roots { Ok(()) } else { Err(io::Error::new(io::ErrorKind::NotFound, message)) }
}

/// The same provider and roots as the gRPC transport has; nothing depends on a provider the process may have set.
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
            // A few unreadable certificates among the system's are usual.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(config.map_err(io::Error::other)?.with_root_certificates(roots).with_no_client_auth())
}
