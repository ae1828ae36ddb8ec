//! OTLP endpoints: their configuration, and the connection to them.

#[cfg(feature = "otlp-grpc")]
pub(crate) mod grpc;
#[cfg(feature = "otlp-http")]
pub(crate) mod http;
#[cfg(all(feature = "otlp-metrics", any(feature = "otlp-grpc", feature = "otlp-http")))]
pub(crate) mod send;
#[cfg(all(feature = "otlp-tls", any(feature = "otlp-grpc", feature = "otlp-http")))]
mod tls;

#[cfg(any(feature = "otlp-grpc", feature = "otlp-http"))]
use std::{fmt, time::Duration};

/// The limit for connecting. Without one, a host that drops packets delays an export for about two minutes.
#[cfg(any(feature = "otlp-grpc", feature = "otlp-http"))]
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Selects the transport of OTLP. Defaults to [`Grpc`](Self::Grpc) where it is compiled in.
///
/// ```
/// use botticelli_obs::{Builder, OtlpProtocol};
///
/// let builder = Builder::new().with_otlp_protocol(OtlpProtocol::Grpc).with_otlp_endpoint("http://localhost:4317");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OtlpProtocol {
    /// OTLP/gRPC, usually on port 4317; needs the feature `otlp-grpc`.
    Grpc,
    /// OTLP/HTTP with protobuf bodies, usually on port 4318; needs the feature `otlp-http`.
    HttpProtobuf,
}

/// The configuration of an endpoint. It is validated: endpoint and headers can be parsed.
#[cfg(any(feature = "otlp-grpc", feature = "otlp-http"))]
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) protocol: OtlpProtocol,
    /// The whole URL, including the path.
    pub(crate) endpoint: String,
    /// The headers of every request. Names are lower-case; values may be secrets.
    pub(crate) headers: Vec<(String, String)>,
    /// The limit for one request.
    pub(crate) timeout: Duration,
    pub(crate) gzip: bool,
    /// Root certificates to trust instead of the system's, as PEM.
    #[cfg_attr(not(feature = "otlp-tls"), expect(dead_code, reason = "refused where TLS is not compiled in"))]
    pub(crate) certificate: Option<Vec<u8>>,
}

#[cfg(any(feature = "otlp-grpc", feature = "otlp-http"))]
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = match self.protocol {
            OtlpProtocol::Grpc => "gRPC",
            OtlpProtocol::HttpProtobuf => "HTTP",
        };
        write!(f, "OTLP/{transport} to {}", self.endpoint)
    }
}

#[cfg(any(feature = "otlp-grpc", feature = "otlp-http"))]
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not derived: headers hold keys and must not be logged.
        fmt::Display::fmt(self, f)
    }
}
