//! TLS of `https://` endpoints: root certificates, and the certificate that the program shows.
//!
//! Both transports use it. The provider of the cryptography is passed explicitly, because the process may have installed another default
//! one, or none; nothing is installed for the process.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use super::connect::Io;
use super::{Config, Identity};
use crate::file;

/// The protocol of ALPN for gRPC.
const HTTP2: &[u8] = b"h2";

/// Encrypts connections.
#[derive(Clone)]
pub(super) struct Tls {
    config: Arc<ClientConfig>,
}

impl Tls {
    /// Creates the TLS of an endpoint; `None` for `http://`.
    ///
    /// # Errors
    ///
    /// When a certificate is invalid, or none is configured and the system's can't be read or it has none. Without that check every export would fail later,
    /// with an error that does not name the cause.
    pub(super) fn of(config: &Config) -> io::Result<Option<Self>> {
        if !config.endpoint.starts_with("https:") {
            return Ok(None);
        }
        let roots = match &config.certificate {
            Some(pem) => given(pem)?,
            None => system()?,
        };
        if roots.is_empty() {
            let none = match Named::of_process() {
                Named { file: None, folders } if folders.is_empty() => {
                    "the system has no root certificates: install them"
                }
                _ => "SSL_CERT_FILE and SSL_CERT_DIR name no root certificates: correct or unset them",
            };
            let message = format!("{none}, or name yours by OTEL_EXPORTER_OTLP_CERTIFICATE");
            return Err(io::Error::new(io::ErrorKind::NotFound, message));
        }
        let builder = builder(roots)?;
        let mut tls = match &config.identity {
            Some(identity) => {
                let (chain, key) = parse(identity).map_err(io::Error::other)?;
                builder.with_client_auth_cert(chain, key).map_err(io::Error::other)?
            }
            None => builder.with_no_client_auth(),
        };
        let protocol = match config.transport {
            #[cfg(feature = "_grpc")]
            super::Transport::Grpc => HTTP2,
            #[cfg(feature = "otlp-http")]
            super::Transport::Http => b"http/1.1",
        };
        tls.alpn_protocols = vec![protocol.to_vec()];
        Ok(Some(Self { config: Arc::new(tls) }))
    }

    /// Creates the TLS of a client that trusts the system's roots, for servers other than OTLP endpoints.
    ///
    /// # Errors
    ///
    /// When the system's roots can't be read.
    #[cfg(feature = "cli")]
    pub(super) fn of_system() -> io::Result<Self> {
        Ok(Self { config: Arc::new(builder(system()?)?.with_no_client_auth()) })
    }

    pub(super) fn is_for_grpc(&self) -> bool {
        self.config.alpn_protocols.iter().any(|protocol| protocol == HTTP2)
    }

    /// Encrypts a connection to the host of this URL.
    ///
    /// # Errors
    ///
    /// When the host has no certificate to trust, or does not speak the protocol of the transport.
    pub(super) async fn connect(&self, to: &Uri, io: Box<dyn Io>) -> io::Result<Box<dyn Io>> {
        let host = to.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host).map_err(io::Error::other)?;
        let stream = TlsConnector::from(Arc::clone(&self.config)).connect(name, TokioIo::new(io)).await?;
        if self.is_for_grpc() && stream.get_ref().1.alpn_protocol() != Some(HTTP2) {
            return Err(io::Error::other("the endpoint does not offer HTTP/2, which gRPC needs"));
        }
        Ok(Box::new(TokioIo::new(stream)))
    }
}

/// Checks that a certificate and a key can be read and belong together.
///
/// # Errors
///
/// Returns what is wrong with them.
pub(crate) fn check(identity: &Identity) -> Result<(), String> {
    let (chain, key) = parse(identity)?;
    let key = CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider());
    key.map(drop).map_err(|error| error.to_string())
}

fn parse(identity: &Identity) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&identity.certificate).collect();
    let chain = chain.map_err(|error| format!("the certificate can't be read: {error}"))?;
    let key = PrivateKeyDer::from_pem_slice(&identity.key);
    Ok((chain, key.map_err(|error| format!("the key can't be read: {error}"))?))
}

fn given(pem: &[u8]) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
    }
    Ok(roots)
}

/// Returns the roots of the system, or those that are named instead.
fn system() -> io::Result<RootCertStore> {
    Named::of_process().check()?;
    let mut roots = RootCertStore::empty();
    // Unreadable certificates are skipped: many systems have some.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    Ok(roots)
}

/// Where `rustls-native-certs` looks instead of the system's places.
struct Named {
    file: Option<PathBuf>,
    folders: Vec<PathBuf>,
}

impl Named {
    fn of_process() -> Self {
        let folders = std::env::var_os("SSL_CERT_DIR").unwrap_or_default();
        Self {
            file: std::env::var_os("SSL_CERT_FILE").map(PathBuf::from),
            folders: std::env::split_paths(&folders).filter(|folder| !folder.as_os_str().is_empty()).collect(),
        }
    }

    /// Checks what `rustls-native-certs` does not: it would read a file that is no regular one, or has no end. In folders it reads
    /// regular files alone.
    fn check(&self) -> io::Result<()> {
        let wrong = |variable: &str, path: &Path, why: String| {
            let message = format!("{variable}={}: {why}", file::shown(path));
            io::Error::new(io::ErrorKind::InvalidInput, message)
        };
        let too_large = format!("it has more than {LARGEST_ROOTS} bytes");
        if let Some(file) = &self.file {
            file::check(file).map_err(|error| wrong("SSL_CERT_FILE", file, error.to_string()))?;
            if length(file) > LARGEST_ROOTS {
                return Err(wrong("SSL_CERT_FILE", file, too_large));
            }
        }
        for folder in &self.folders {
            let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|file| length(&file.path()));
            if files.fold(0, u64::saturating_add) > LARGEST_ROOTS {
                return Err(wrong("SSL_CERT_DIR", folder, too_large));
            }
        }
        Ok(())
    }
}

/// In bytes; over a hundred times what systems have.
const LARGEST_ROOTS: u64 = 64 * 1024 * 1024;

/// Returns the length of a file, or 0 if there is none.
fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

fn builder(roots: RootCertStore) -> io::Result<rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(config.map_err(io::Error::other)?.with_root_certificates(roots))
}
