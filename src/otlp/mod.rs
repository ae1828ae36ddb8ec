//! OTLP endpoints: their configuration, and the connection to them.

#[cfg(feature = "_otlp")]
mod connect;
#[cfg(feature = "_grpc")]
pub(crate) mod grpc;
#[cfg(feature = "otlp-http")]
pub(crate) mod http;
mod proxy;
#[cfg(feature = "_otlp")]
mod resolve;
#[cfg(feature = "otlp-metrics")]
pub(crate) mod send;
#[cfg(all(feature = "otlp-tls", feature = "_otlp"))]
pub(crate) mod tls;

use std::fmt;
use std::time::Duration;

use crate::word::words;
pub(crate) use proxy::Proxy;
#[cfg(feature = "cli")]
pub(crate) use proxy::basic;
#[cfg(feature = "_otlp")]
pub(crate) use proxy::{is_excluded, is_loopback};

/// The limit for connecting, through a proxy and with TLS if there are any. Without one, a host that drops packets delays an export for about two minutes.
#[cfg(feature = "_otlp")]
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The most that the items of a message may have, in bytes. Servers of gRPC take 4 MiB unless they are configured otherwise; the rest is
/// for what a message has beside its items.
pub(crate) const LARGEST_MESSAGE: usize = 4 * 1024 * 1024 - 32 * 1024;

/// In bytes. No message is made smaller than that for an endpoint that finds messages too large.
pub(crate) const LEAST_LIMIT: usize = 64 * 1024;

/// Selects the transport of OTLP. Defaults to [`Grpc`](Self::Grpc) where it is compiled in.
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
    /// OTLP/gRPC, usually on port 4317; needs the feature `otlp-grpc`, or `otlp-metrics`.
    Grpc,
    /// OTLP/HTTP with protobuf bodies, usually on port 4318; needs the feature `otlp-http`.
    HttpProtobuf,
}

words! { OtlpProtocol: "grpc" = Grpc, "http/protobuf" = HttpProtobuf }

/// A transport that is compiled in; without any of them this type has no values, and nothing is exported by OTLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    #[cfg(feature = "_grpc")]
    Grpc,
    #[cfg(feature = "otlp-http")]
    Http,
}

impl Transport {
    /// Returns the transport of a protocol, or the feature that is missing.
    pub(crate) fn of(protocol: OtlpProtocol) -> Result<Self, &'static str> {
        match protocol {
            #[cfg(feature = "_grpc")]
            OtlpProtocol::Grpc => Ok(Self::Grpc),
            #[cfg(not(feature = "_grpc"))]
            OtlpProtocol::Grpc => Err("otlp-grpc"),
            #[cfg(feature = "otlp-http")]
            OtlpProtocol::HttpProtobuf => Ok(Self::Http),
            #[cfg(not(feature = "otlp-http"))]
            OtlpProtocol::HttpProtobuf => Err("otlp-http"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            #[cfg(feature = "_grpc")]
            Self::Grpc => "gRPC",
            #[cfg(feature = "otlp-http")]
            Self::Http => "HTTP",
        }
    }
}

/// The configuration of an endpoint. It is validated: endpoint and headers can be parsed.
#[derive(Clone)]
#[cfg_attr(not(feature = "_otlp"), expect(dead_code, reason = "there is no value without a transport"))]
pub(crate) struct Config {
    pub(crate) transport: Transport,
    /// The whole URL, path included.
    pub(crate) endpoint: String,
    /// The headers of every request. Names are lower-case; values may be secrets.
    pub(crate) headers: Vec<(String, String)>,
    /// The limit for one request.
    pub(crate) timeout: Duration,
    pub(crate) gzip: bool,
    /// Root certificates to trust instead of the system's, as PEM.
    #[cfg_attr(not(feature = "otlp-tls"), expect(dead_code, reason = "refused where TLS is not compiled in"))]
    pub(crate) certificate: Option<Vec<u8>>,
    /// What the program shows to an endpoint that demands a certificate.
    #[cfg_attr(not(feature = "otlp-tls"), expect(dead_code, reason = "refused where TLS is not compiled in"))]
    pub(crate) identity: Option<Identity>,
    /// The proxy on the way; `None` to connect directly.
    pub(crate) proxy: Option<Proxy>,
}

/// A certificate with its key, as PEM.
#[derive(Clone)]
#[cfg_attr(
    not(all(feature = "otlp-tls", feature = "_otlp")),
    expect(dead_code, reason = "refused where TLS is not compiled in, and not used without a transport")
)]
pub(crate) struct Identity {
    pub(crate) certificate: Vec<u8>,
    pub(crate) key: Vec<u8>,
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OTLP/{} to {}", self.transport.name(), self.endpoint)?;
        match &self.proxy {
            Some(proxy) => write!(f, " through the proxy {proxy}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not derived: headers hold keys and must not be logged.
        fmt::Display::fmt(self, f)
    }
}
