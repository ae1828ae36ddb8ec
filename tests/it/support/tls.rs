//! Peers that speak TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;

/// A certificate that signs itself, for 127.0.0.1 and `collector.test`.
pub struct Certificate {
    pub certificate: String,
    pub key: String,
    der: (Vec<u8>, Vec<u8>),
}

impl Certificate {
    pub fn new() -> Self {
        let signed = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned(), "collector.test".to_owned()])
            .expect("a key can be made");
        Self {
            certificate: signed.cert.pem(),
            key: signed.signing_key.serialize_pem(),
            der: (signed.cert.der().to_vec(), signed.signing_key.serialize_der()),
        }
    }

    /// An acceptor that offers these protocols, such as `h2`, and demands this certificate of clients, if any.
    fn acceptor(&self, protocols: &[&str], client: Option<&Self>) -> TlsAcceptor {
        let (der, key) = self.der.clone();
        let provider = Arc::new(default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("ring knows them");
        let builder = match client {
            None => builder.with_no_client_auth(),
            Some(client) => {
                let mut roots = RootCertStore::empty();
                roots.add(client.der.0.clone().into()).expect("the certificate is valid");
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(verifier.expect("it has a root"))
            }
        };
        let mut config = builder
            .with_single_cert(vec![der.into()], PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key)))
            .expect("the certificate is valid");
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// A listener for `axum::serve`.
pub struct TlsListener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl TlsListener {
    pub fn new(listener: TcpListener, certificate: &Certificate, client: Option<&Certificate>) -> Self {
        Self { listener, acceptor: certificate.acceptor(&[], client) }
    }
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            if let Ok((stream, addr)) = self.listener.accept().await
                && let Ok(stream) = self.acceptor.accept(stream).await
            {
                return (stream, addr);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// What stands before a collector that speaks no TLS itself; it ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    _runtime: Runtime,
    pub addr: SocketAddr,
}

impl Proxy {
    /// Starts a proxy to this address.
    pub fn start(certificate: &Certificate, to: SocketAddr) -> Self {
        let runtime = Runtime::new().expect("a runtime can be had");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("loopback has free ports");
        let addr = listener.local_addr().expect("it is bound");
        // Without `h2` in its hello no gRPC client goes on.
        let acceptor = certificate.acceptor(&["h2", "http/1.1"], None);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let (mut outside, mut inside) = tokio::try_join!(acceptor.accept(stream), TcpStream::connect(to))?;
                    tokio::io::copy_bidirectional(&mut outside, &mut inside).await
                });
            }
        });
        Self { _runtime: runtime, addr }
    }
}
