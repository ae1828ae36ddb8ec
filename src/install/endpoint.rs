//! Parses the URL of an OTLP endpoint, and the headers that are sent to it.

use super::address::is_host;
use super::error::InstallError;
use super::setting::{Parsed, Setting};
use crate::otlp::OtlpProtocol;

/// What the URL of an endpoint is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub(super) protocol: OtlpProtocol,
    /// What is appended to the path for OTLP/HTTP; `None` where the URL is used as it is.
    pub(super) path_of_signal: Option<&'static str>,
    /// Whether a URL without a scheme means `https://`.
    pub(super) is_secure: bool,
}

impl Setting<'_> {
    /// Parses the URL of an OTLP endpoint and checks that it fits the protocol. Returns the URL that the exporter needs.
    pub(super) fn otlp_endpoint(self, target: Target) -> Parsed<String> {
        let Self { name, value } = self;
        let Target { protocol, path_of_signal, is_secure } = target;
        if value.contains('@') {
            let why = "the URL must not have credentials: send them with OTEL_EXPORTER_OTLP_HEADERS";
            return Err(self.invalid_secret(why));
        }
        // A query may contain a key, and `http::Uri` drops a fragment.
        if value.contains(['?', '#']) {
            return Err(self.invalid_secret("the URL has a query or a fragment: leave it out"));
        }
        let url = match value.contains("://") {
            true => value.to_owned(),
            false if is_secure => format!("https://{value}"),
            false => format!("http://{value}"),
        };
        let uri: http::Uri = url.parse().map_err(|_| self.invalid("not a URL such as http://localhost:4317"))?;
        let host = uri.host().unwrap_or_default();
        if host.is_empty() {
            return Err(self.invalid("the URL names no host"));
        }
        if !is_host(host) {
            return Err(self.invalid("the host in the URL is not a name or an address"));
        }
        let scheme = uri.scheme_str().unwrap_or_default().to_ascii_lowercase();
        match scheme.as_str() {
            "http" => {}
            "https" if cfg!(feature = "otlp-tls") => {}
            "https" => {
                let why = "https needs the feature `otlp-tls` of botticelli_obs, which is not compiled in";
                return Err(self.invalid(why));
            }
            _ => return Err(self.invalid("the scheme is neither http nor https")),
        }
        let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        // `http::Uri` accepts any text as a port, and then returns no port.
        let port = match authority.strip_prefix(host).unwrap_or_default().strip_prefix(':') {
            None => None,
            Some(port) => match Setting::new(name, port).number::<u16>(1..=u16::MAX.into()) {
                Ok(port) => Some(port),
                Err(_) => return Err(self.invalid("the port is not a number from 1 to 65535")),
            },
        };
        let path = uri.path().trim_end_matches('/');
        match (protocol, port) {
            (OtlpProtocol::Grpc, Some(4318)) => {
                let why =
                    "4318 is the port of OTLP/HTTP: use port 4317, or set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf";
                Err(InstallError::wrong_port(name, value, why))
            }
            (OtlpProtocol::HttpProtobuf, Some(4317)) => {
                let why = "4317 is the port of OTLP/gRPC: use port 4318, or set OTEL_EXPORTER_OTLP_PROTOCOL=grpc";
                Err(InstallError::wrong_port(name, value, why))
            }
            (OtlpProtocol::Grpc, _) if !path.is_empty() => {
                Err(self.invalid("OTLP/gRPC has no path: leave it out of the URL"))
            }
            (OtlpProtocol::Grpc, Some(_)) => Ok(format!("{scheme}://{authority}")),
            (OtlpProtocol::Grpc, None) => Ok(format!("{scheme}://{authority}:{GRPC_PORT}")),
            (OtlpProtocol::HttpProtobuf, _) => match path_of_signal {
                Some(_) if PATHS.iter().any(|appended| path.ends_with(appended)) => {
                    let own = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or OTEL_EXPORTER_OTLP_METRICS_ENDPOINT";
                    Err(self.invalid(format!(
                        "the path of each signal is appended to this URL: leave out its own, or use {own}"
                    )))
                }
                Some(appended) => Ok(format!("{scheme}://{authority}{path}{appended}")),
                None => Ok(format!("{scheme}://{authority}{}", uri.path())),
            },
        }
    }

    /// Parses the headers of the exporter. Returns names in lower case and values that can be sent by both transports.
    pub(super) fn headers(self) -> Parsed<Vec<(String, String)>> {
        let mut headers = self.pairs()?;
        for (index, (key, value)) in headers.iter_mut().enumerate() {
            let wrong = |why| self.invalid_secret(format!("item {} {why}", index + 1));
            key.make_ascii_lowercase();
            http::HeaderName::from_bytes(key.as_bytes()).map_err(|_| wrong("has a key that is not a header name"))?;
            // gRPC expects a binary value for such names.
            if key.ends_with("-bin") {
                return Err(wrong("has a key that ends in `-bin`"));
            }
            http::HeaderValue::from_str(value).map_err(|_| wrong("has a value that is not a header value"))?;
            if !value.is_ascii() {
                return Err(wrong("has a value that is not ASCII"));
            }
        }
        Ok(headers)
    }
}

/// The port of OTLP/gRPC.
const GRPC_PORT: u16 = 4317;

/// What OTLP/HTTP has at the end of URLs.
const PATHS: &[&str] = &["/v1/traces", "/v1/metrics", "/v1/logs"];
