//! The settings of the OTLP export, for each signal.

use std::time::Duration;

use super::{Resolver, Shared};
use crate::install::error::InstallError;
use crate::install::push;
use crate::install::setting::Setting;
use crate::otlp::{Config, OtlpProtocol, Transport};
use crate::spans::Backend;

impl Resolver<'_> {
    /// Resolves the push of metrics.
    #[cfg(feature = "otlp-metrics")]
    pub(super) fn push(&self, shared: &Shared, listen: Option<String>) -> Result<Option<push::Config>, InstallError> {
        // Checked even if nothing is pushed, so that an error shows before someone turns the push on.
        let interval = self.variable("OTEL_METRIC_EXPORT_INTERVAL", Setting::milliseconds)?;
        if !shared.exporters.otlp {
            return Ok(None);
        }
        Ok(Some(push::Config {
            otlp: self.otlp_config(&METRICS)?,
            interval: interval.unwrap_or(Duration::from_secs(60)),
            resource: shared.resource.clone(),
            listen,
        }))
    }

    #[cfg(not(feature = "otlp-metrics"))]
    pub(super) fn push(&self, _: &Shared, _: Option<String>) -> Result<Option<push::Config>, InstallError> {
        Ok(None)
    }

    /// Resolves the export of spans by OTLP, which `requested_by` has turned on.
    pub(super) fn otlp(&self, requested_by: &str) -> Result<Backend, InstallError> {
        if !cfg!(feature = "_otlp") {
            let why = "OTLP needs the feature `otlp-grpc` or `otlp-http` of botticelli_obs, and neither is compiled in";
            // The value is not shown, since an endpoint may contain a password.
            return Err(InstallError::invalid_secret(requested_by, why));
        }
        Ok(Backend::Otlp(self.otlp_config(&TRACES)?))
    }

    fn otlp_config(&self, signal: &Signal) -> Result<Config, InstallError> {
        let (protocol, transport) = self.otlp_protocol(signal)?;
        let default = match protocol {
            OtlpProtocol::Grpc => "http://localhost:4317",
            OtlpProtocol::HttpProtobuf => "http://localhost:4318",
        };
        let endpoint = match (self.metrics_variable(signal.endpoints)?, &self.builder.otlp_endpoint) {
            (Some(own), _) => own,
            (None, Some(endpoint)) => Setting::new("with_otlp_endpoint", endpoint.trim()),
            (None, None) => self.environment.first(signal.endpoints)?.unwrap_or(Setting::new("default", default)),
        };
        let path = (endpoint.name != signal.endpoints[0]).then_some(signal.path);
        let timeout = self.first(signal.timeouts, Setting::milliseconds)?;
        let compressions = [("gzip", true), ("none", false)];
        let gzip = self.first(signal.compressions, |setting| setting.word(&compressions))?;
        let headers = self.first(signal.headers, Setting::headers)?;
        let certificate = self.first(signal.certificates, |setting| {
            if !cfg!(feature = "otlp-tls") {
                return Err(setting.invalid("needs the feature `otlp-tls` of botticelli_obs, which is not compiled in"));
            }
            let pem = setting.read_file(LARGEST_CERTIFICATE).map_err(|error| setting.invalid(error))?;
            if pem.windows(PEM_CERTIFICATE.len()).any(|window| window == PEM_CERTIFICATE) {
                Ok(pem)
            } else {
                Err(setting.invalid("the file has no certificate in PEM format"))
            }
        })?;
        Ok(Config {
            transport,
            endpoint: endpoint.otlp_endpoint(protocol, path)?,
            headers: headers.unwrap_or_default(),
            timeout: timeout.unwrap_or(Duration::from_secs(10)),
            gzip: gzip.unwrap_or(false),
            certificate,
        })
    }

    fn otlp_protocol(&self, signal: &Signal) -> Result<(OtlpProtocol, Transport), InstallError> {
        let compiled = |name: &str, protocol: OtlpProtocol| {
            let transport = Transport::of(protocol).map_err(|feature| {
                let why = format!("needs the feature `{feature}` of botticelli_obs, which is not compiled in");
                Setting::new(name, &protocol.to_string()).invalid(why)
            })?;
            Ok((protocol, transport))
        };
        let read = |setting: Setting<'_>| compiled(setting.name, setting.parse()?);
        if let Some(own) = self.metrics_variable(signal.protocols)? {
            return read(own);
        }
        if let Some(protocol) = self.builder.otlp_protocol {
            return compiled("with_otlp_protocol", protocol);
        }
        match self.first(signal.protocols, read)? {
            Some(read) => Ok(read),
            None => compiled("default", DEFAULT_PROTOCOL),
        }
    }

    /// Returns the first of these variables if it is one for metrics only. It takes precedence over the builder, whose option is
    /// for all signals.
    fn metrics_variable(&self, names: &'static [&'static str; 2]) -> Result<Option<Setting<'_>>, InstallError> {
        if names[0].contains("_METRICS_") { self.environment.first(&names[..1]) } else { Ok(None) }
    }
}

/// gRPC, except in a build with the feature `otlp-http` and without `otlp-grpc`.
const DEFAULT_PROTOCOL: OtlpProtocol = if cfg!(feature = "otlp-http") && !cfg!(feature = "otlp-grpc") {
    OtlpProtocol::HttpProtobuf
} else {
    OtlpProtocol::Grpc
};

/// The environment variables and the URL path of a signal. The variable of the signal is before the one for all signals.
struct Signal {
    endpoints: &'static [&'static str; 2],
    protocols: &'static [&'static str; 2],
    headers: &'static [&'static str; 2],
    timeouts: &'static [&'static str; 2],
    compressions: &'static [&'static str; 2],
    certificates: &'static [&'static str; 2],
    path: &'static str,
}

macro_rules! signal {
    ($signal:literal, $path:literal) => {
        Signal {
            endpoints: &[concat!("OTEL_EXPORTER_OTLP_", $signal, "_ENDPOINT"), "OTEL_EXPORTER_OTLP_ENDPOINT"],
            protocols: &[concat!("OTEL_EXPORTER_OTLP_", $signal, "_PROTOCOL"), "OTEL_EXPORTER_OTLP_PROTOCOL"],
            headers: &[concat!("OTEL_EXPORTER_OTLP_", $signal, "_HEADERS"), "OTEL_EXPORTER_OTLP_HEADERS"],
            timeouts: &[concat!("OTEL_EXPORTER_OTLP_", $signal, "_TIMEOUT"), "OTEL_EXPORTER_OTLP_TIMEOUT"],
            compressions: &[concat!("OTEL_EXPORTER_OTLP_", $signal, "_COMPRESSION"), "OTEL_EXPORTER_OTLP_COMPRESSION"],
            certificates: &[concat!("OTEL_EXPORTER_OTLP_", $signal, "_CERTIFICATE"), "OTEL_EXPORTER_OTLP_CERTIFICATE"],
            path: $path,
        }
    };
}

const TRACES: Signal = signal!("TRACES", "/v1/traces");

#[cfg(feature = "otlp-metrics")]
const METRICS: Signal = signal!("METRICS", "/v1/metrics");

/// In bytes. A bundle of all public roots has about a quarter of that.
const LARGEST_CERTIFICATE: u64 = 1024 * 1024;

/// A file must contain this. Without a root certificate every export would fail.
const PEM_CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";
