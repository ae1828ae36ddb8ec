//! The settings of the OTLP export, for each signal.

use std::time::Duration;

use super::{Resolver, Shared};
use crate::install::endpoint::Target;
use crate::install::error::InstallError;
use crate::install::push;
use crate::install::setting::Setting;
use crate::otlp::{Config, Identity, OtlpProtocol, Transport};

impl Resolver<'_> {
    /// Resolves the push of metrics.
    #[cfg(feature = "otlp-metrics")]
    pub(super) fn push(&self, shared: &Shared) -> Result<Option<push::Config>, InstallError> {
        // Checked even if nothing is pushed, so that an error shows before someone turns the push on.
        let interval = self.variable("OTEL_METRIC_EXPORT_INTERVAL", Setting::milliseconds)?;
        let limit = self.variable("OTEL_METRIC_EXPORT_TIMEOUT", Setting::milliseconds)?;
        let temporality = self.variable("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", Setting::parse)?;
        self.variable("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", |setting| {
            match setting.word(&[("explicit_bucket_histogram", true), ("base2_exponential_bucket_histogram", false)])? {
                // It is about pushes alone, and may be set for other programs too.
                false if shared.exporters.otlp => Err(setting.invalid(
                    "histograms are pushed with the buckets of the page: use explicit_bucket_histogram, or unset it",
                )),
                _ => Ok(()),
            }
        })?;
        if !shared.exporters.otlp {
            return Ok(None);
        }
        let Some(otlp) = self.otlp_config(&METRICS)? else { return Ok(None) };
        Ok(Some(push::Config {
            otlp,
            interval: interval.unwrap_or(Duration::from_secs(60)),
            limit: limit.unwrap_or(Duration::from_secs(30)),
            temporality: temporality.unwrap_or_default(),
            resource: shared.resource.clone(),
            listen: None,
        }))
    }

    #[cfg(not(feature = "otlp-metrics"))]
    pub(super) fn push(&self, _: &Shared) -> Result<Option<push::Config>, InstallError> {
        Ok(None)
    }

    /// Resolves the export of spans by OTLP, which `requested_by` has turned on; `None` if the endpoint is `off`.
    pub(super) fn otlp(&self, requested_by: &str) -> Result<Option<Config>, InstallError> {
        if !cfg!(feature = "_otlp") {
            let why = "OTLP needs the feature `otlp-grpc` or `otlp-http` of botticelli_obs, and neither is compiled in";
            // The value is not shown, since an endpoint may contain a password.
            return Err(InstallError::invalid_secret(requested_by, why));
        }
        self.otlp_config(&TRACES)
    }

    fn otlp_config(&self, signal: &Signal) -> Result<Option<Config>, InstallError> {
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
        let timeout = self.first(signal.timeouts, Setting::milliseconds)?;
        let compressions = [("gzip", true), ("none", false), ("off", false)];
        let gzip = self.first(signal.compressions, |setting| setting.word(&compressions))?;
        let headers = self.first(signal.headers, Setting::headers)?;
        let certificate = self.first(signal.certificates, |setting| setting.pem(PEM_CERTIFICATE))?;
        let identity = self.identity(signal)?;
        let insecure = self.first(signal.insecures, Setting::boolean)?;
        if endpoint.is_off() {
            return Ok(None);
        }
        let endpoint = endpoint.otlp_endpoint(Target {
            protocol,
            path_of_signal: (endpoint.name != signal.endpoints[0]).then_some(signal.path),
            // Only gRPC has URLs without a scheme. Without `…_INSECURE` they mean `http://`, which local backends use.
            is_secure: protocol == OtlpProtocol::Grpc && insecure == Some(false),
        })?;
        Ok(Some(Config {
            transport,
            proxy: self.proxy(&endpoint)?,
            endpoint,
            headers: headers.unwrap_or_default(),
            timeout: timeout.unwrap_or(Duration::from_secs(10)),
            gzip: gzip.unwrap_or(false),
            certificate,
            identity,
        }))
    }

    /// Returns what is odd, though valid, about the endpoint of spans.
    pub(super) fn oddity_of_traces(&self, config: &Config) -> Option<String> {
        self.oddity(&TRACES, config)
    }

    /// Returns what is odd, though valid, about the endpoint of metrics.
    #[cfg(feature = "otlp-metrics")]
    pub(super) fn oddity_of_push(&self, config: &push::Config) -> Option<String> {
        self.oddity(&METRICS, &config.otlp)
    }

    #[cfg(not(feature = "otlp-metrics"))]
    pub(super) fn oddity_of_push(&self, _: &push::Config) -> Option<String> {
        None
    }

    fn oddity(&self, signal: &Signal, config: &Config) -> Option<String> {
        let is_http = Transport::of(OtlpProtocol::HttpProtobuf) == Ok(config.transport);
        let url = config.endpoint.strip_suffix('/').filter(|url| is_http && url.matches('/').count() == 2)?;
        let (name, path) = (signal.endpoints[0], signal.path);
        Some(format!("{name} has no path and is used as it is: Collectors and Jaeger answer at {url}{path}"))
    }

    /// Resolves the certificate that the program shows, and its key.
    fn identity(&self, signal: &Signal) -> Result<Option<Identity>, InstallError> {
        let (certificate, key) =
            (self.environment.first(signal.client_certificates)?, self.environment.first(signal.client_keys)?);
        let (certificate, key) = match (certificate, key) {
            (None, None) => return Ok(None),
            (Some(certificate), Some(key)) => (certificate, key),
            (Some(alone), None) => return Err(alone.invalid(format!("needs {} too", signal.client_keys[1]))),
            (None, Some(alone)) => return Err(alone.invalid(format!("needs {} too", signal.client_certificates[1]))),
        };
        let identity = Identity { certificate: certificate.pem(PEM_CERTIFICATE)?, key: key.pem(PEM_KEY)? };
        #[cfg(all(feature = "otlp-tls", feature = "_otlp"))]
        crate::otlp::tls::check(&identity)
            .map_err(|why| certificate.invalid(format!("not usable with the key of {}: {why}", key.name)))?;
        Ok(Some(identity))
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

impl Setting<'_> {
    /// Reads a PEM file that contains `marker`, for a build with TLS.
    fn pem(self, marker: &str) -> Result<Vec<u8>, InstallError> {
        if !cfg!(feature = "otlp-tls") {
            return Err(self.invalid("needs the feature `otlp-tls` of botticelli_obs, which is not compiled in"));
        }
        let pem = self.read_file(LARGEST_PEM).map_err(|error| self.invalid(error))?;
        if pem.windows(marker.len()).any(|window| window == marker.as_bytes()) {
            Ok(pem)
        } else {
            let what = if marker == PEM_CERTIFICATE { "certificate" } else { "private key" };
            Err(self.invalid(format!("the file has no {what} in PEM format")))
        }
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
    insecures: &'static [&'static str; 2],
    protocols: &'static [&'static str; 2],
    headers: &'static [&'static str; 2],
    timeouts: &'static [&'static str; 2],
    compressions: &'static [&'static str; 2],
    certificates: &'static [&'static str; 2],
    client_certificates: &'static [&'static str; 2],
    client_keys: &'static [&'static str; 2],
    path: &'static str,
}

macro_rules! signal {
    ($signal:literal, $path:literal) => {
        Signal {
            endpoints: &[concat!("OTEL_EXPORTER_OTLP_", $signal, "_ENDPOINT"), "OTEL_EXPORTER_OTLP_ENDPOINT"],
            insecures: &[concat!("OTEL_EXPORTER_OTLP_", $signal, "_INSECURE"), "OTEL_EXPORTER_OTLP_INSECURE"],
            protocols: &[concat!("OTEL_EXPORTER_OTLP_", $signal, "_PROTOCOL"), "OTEL_EXPORTER_OTLP_PROTOCOL"],
            headers: &[concat!("OTEL_EXPORTER_OTLP_", $signal, "_HEADERS"), "OTEL_EXPORTER_OTLP_HEADERS"],
            timeouts: &[concat!("OTEL_EXPORTER_OTLP_", $signal, "_TIMEOUT"), "OTEL_EXPORTER_OTLP_TIMEOUT"],
            compressions: &[concat!("OTEL_EXPORTER_OTLP_", $signal, "_COMPRESSION"), "OTEL_EXPORTER_OTLP_COMPRESSION"],
            certificates: &[concat!("OTEL_EXPORTER_OTLP_", $signal, "_CERTIFICATE"), "OTEL_EXPORTER_OTLP_CERTIFICATE"],
            client_certificates: &[
                concat!("OTEL_EXPORTER_OTLP_", $signal, "_CLIENT_CERTIFICATE"),
                "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
            ],
            client_keys: &[concat!("OTEL_EXPORTER_OTLP_", $signal, "_CLIENT_KEY"), "OTEL_EXPORTER_OTLP_CLIENT_KEY"],
            path: $path,
        }
    };
}

const TRACES: Signal = signal!("TRACES", "/v1/traces");

#[cfg(feature = "otlp-metrics")]
const METRICS: Signal = signal!("METRICS", "/v1/metrics");

/// In bytes. A bundle of all public roots has about a quarter of that.
const LARGEST_PEM: u64 = 1024 * 1024;

/// A file with certificates must contain this. Without a root certificate every export would fail.
const PEM_CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";

/// What a file with a key must contain; before it stands the kind of key.
const PEM_KEY: &str = "PRIVATE KEY-----";
