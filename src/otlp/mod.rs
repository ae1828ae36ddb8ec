//! The way to an OTLP endpoint: where it is, and the connection to it.

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

use crate::word::words;

/// How long connecting may take. Without a limit a host that drops packets holds an export for two minutes.
#[cfg(any(feature = "otlp-grpc", feature = "otlp-http"))]
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The transport of OTLP.
///
/// Parsed from the words the OpenTelemetry specification has for `OTEL_EXPORTER_OTLP_PROTOCOL`, `grpc` and `http/protobuf` in any
/// case, and displayed as them; `http/json` is not supported.
///
/// ```
/// use botticelli_obs::OtlpProtocol;
///
/// assert_eq!("http/protobuf".parse(), Ok(OtlpProtocol::HttpProtobuf));
/// assert_eq!(OtlpProtocol::Grpc.to_string(), "grpc");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OtlpProtocol {
    /// OTLP/gRPC, usually on port 4317; needs the feature `otlp-grpc`.
    Grpc,
    /// OTLP/HTTP with protobuf bodies, usually on port 4318; needs the feature `otlp-http`.
    HttpProtobuf,
}

words! { OtlpProtocol: "grpc" = Grpc, "http/protobuf" = HttpProtobuf }

/// What an exporter is built from; every value is valid.
#[cfg(any(feature = "otlp-grpc", feature = "otlp-http"))]
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
        // Without the headers: they hold keys.
        fmt::Display::fmt(self, f)
    }
}
