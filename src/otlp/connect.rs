//! Connections to an endpoint: directly or through a proxy, with TLS or without, the same for both transports.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Uri;
use http::uri::Scheme;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use tower_service::Service;

use super::resolve::Resolver;
#[cfg(feature = "otlp-tls")]
use super::tls::Tls;
use super::{CONNECT_TIMEOUT, Proxy};

/// Opens connections.
#[derive(Clone)]
pub(crate) struct Connector {
    tcp: HttpConnector<Resolver>,
    proxy: Option<Proxy>,
    #[cfg(feature = "otlp-tls")]
    tls: Option<Tls>,
    /// Whether a proxy gets plain requests as they are, instead of a tunnel. Only HTTP/1 has such requests.
    forwards: bool,
}

impl Connector {
    /// Creates a connector that encrypts nothing.
    pub(super) fn new(proxy: Option<Proxy>) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(Resolver::new());
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        Self {
            tcp,
            proxy,
            #[cfg(feature = "otlp-tls")]
            tls: None,
            forwards: false,
        }
    }

    /// Encrypts connections.
    #[cfg(feature = "otlp-tls")]
    pub(super) fn with_tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Gives a proxy the requests for `http://` URLs instead of asking it for a tunnel, which many proxies allow to port 443 only.
    #[cfg(feature = "otlp-http")]
    pub(super) fn with_forwarding(mut self) -> Self {
        self.forwards = true;
        self
    }

    async fn connect(mut self, to: Uri) -> io::Result<Stream> {
        let is_encrypted = self.is_encrypted(&to);
        let (io, is_forwarded): (Box<dyn Io>, bool) = match self.proxy.take() {
            None => (Box::new(self.tcp.call(to.clone()).await.map_err(io::Error::other)?), false),
            Some(proxy) if self.forwards && !is_encrypted => {
                let stream = self.tcp.call(proxy.uri.clone()).await;
                (Box::new(stream.map_err(|error| proxy.failed(error))?), true)
            }
            Some(proxy) => {
                let mut tunnel = Tunnel::new(proxy.uri.clone(), self.tcp.clone());
                if let Some(authorization) = &proxy.authorization {
                    tunnel = tunnel.with_auth(authorization.clone());
                }
                (Box::new(tunnel.call(to.clone()).await.map_err(|error| proxy.failed(error))?), false)
            }
        };
        #[cfg(feature = "otlp-tls")]
        let io = match &self.tls {
            Some(tls) if is_encrypted => tls.connect(&to, io).await?,
            _ => io,
        };
        Ok(Stream { io, is_forwarded })
    }

    /// Whether connections for this URL are encrypted. The URL of gRPC has the scheme `http` in any case: `tonic` refuses another one
    /// unless it encrypts itself.
    #[cfg(feature = "otlp-tls")]
    fn is_encrypted(&self, to: &Uri) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_for_grpc() || to.scheme() == Some(&Scheme::HTTPS))
    }

    #[cfg(not(feature = "otlp-tls"))]
    fn is_encrypted(&self, to: &Uri) -> bool {
        to.scheme() == Some(&Scheme::HTTPS)
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("proxy", &self.proxy).finish_non_exhaustive()
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            let connected = tokio::time::timeout(CONNECT_TIMEOUT, connector.connect(to)).await;
            connected.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no connection in time")))
        })
    }
}

/// What a connection reads and writes.
pub(super) trait Io: Read + Write + Send + Unpin {}

impl<T: Read + Write + Send + Unpin> Io for T {}

/// An open connection.
pub(crate) struct Stream {
    io: Box<dyn Io>,
    is_forwarded: bool,
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        // A proxy that forwards requests needs their whole URLs.
        Connected::new().proxy(self.is_forwarded)
    }
}

impl Read for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}
