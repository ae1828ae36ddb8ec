//! The texts of settings, from a variable or from code, to values: used as meant, or refused by name.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tracing_subscriber::EnvFilter;

use super::error::InstallError;
use crate::scrape;
#[cfg(any(feature = "otlp-grpc", feature = "otlp-http"))]
use crate::spans::OtlpProtocol;
use crate::spans::Sampler;

type Parsed<T> = Result<T, InstallError>;

/// One of a list of words, in any case.
pub(super) fn word<T: Copy>(name: &str, value: &str, words: &[(&str, T)]) -> Parsed<T> {
    let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(value));
    found.map(|&(_, meaning)| meaning).ok_or_else(|| {
        let words: Vec<&str> = words.iter().map(|&(word, _)| word).collect();
        InstallError::invalid(name, value, format!("not one of {}", words.join(", ")))
    })
}

pub(super) fn boolean(name: &str, value: &str) -> Parsed<bool> {
    word(name, value, &[("true", true), ("false", false)])
}

/// A comma-separated list without its empty items.
pub(super) fn list(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|item| !item.is_empty())
}

pub(super) fn count<T: std::str::FromStr>(name: &str, value: &str) -> Parsed<T> {
    value.parse().map_err(|_| InstallError::invalid(name, value, "not a whole number of the allowed size"))
}

pub(super) fn positive(name: &str, value: &str) -> Parsed<usize> {
    match count(name, value)? {
        0 => Err(InstallError::invalid(name, value, "must be at least 1")),
        // The queue is allocated up front, and a million spans are more than a gigabyte.
        number if number > 1_000_000 => Err(InstallError::invalid(name, value, "must be at most 1000000")),
        number => Ok(number),
    }
}

/// A time in milliseconds, more than 0 and at most a day.
pub(super) fn milliseconds(name: &str, value: &str) -> Parsed<Duration> {
    match count(name, value)? {
        0 => Err(InstallError::invalid(name, value, "must be at least 1 millisecond")),
        number if number > 86_400_000 => Err(InstallError::invalid(name, value, "must be at most a day (86400000 ms)")),
        number => Ok(Duration::from_millis(number)),
    }
}

pub(super) fn ratio(name: &str, value: &str) -> Parsed<f64> {
    let parsed = value.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    parsed.ok_or_else(|| InstallError::invalid(name, value, "not a number from 0.0 to 1.0"))
}

pub(super) const SAMPLERS: &[(&str, Sampler)] = &[
    ("always_on", Sampler::AlwaysOn),
    ("always_off", Sampler::AlwaysOff),
    ("traceidratio", Sampler::TraceIdRatio(1.0)),
    ("parentbased_always_on", Sampler::ParentBasedAlwaysOn),
    ("parentbased_always_off", Sampler::ParentBasedAlwaysOff),
    ("parentbased_traceidratio", Sampler::ParentBasedTraceIdRatio(1.0)),
];

/// Directives of an `EnvFilter`, such as `info,hyper=warn`.
pub(super) fn directives(name: &str, value: &str) -> Parsed<String> {
    match EnvFilter::builder().parse(value) {
        Ok(_) => Ok(value.to_owned()),
        Err(error) => Err(InstallError::invalid(
            name,
            value,
            format!("{error}; write directives such as `info` or `info,hyper=warn`"),
        )),
    }
}

/// Where to listen, as `host:port`, or `None` for `off`.
pub(super) fn listen(name: &str, value: &str) -> Parsed<Option<String>> {
    if value.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    let wrong = |why: &str| {
        let forms = "write `ip:port`, `host:port`, `[v6]:port`, a port for 127.0.0.1, or `off`";
        InstallError::invalid(name, value, format!("{why}: {forms}"))
    };
    if value.parse::<IpAddr>().is_ok() {
        return Err(wrong("a port is missing"));
    }
    if value.parse::<SocketAddr>().is_ok() {
        return Ok(Some(value.to_owned()));
    }
    let (host, port) = match value.rsplit_once(':') {
        Some(("", port)) => ("127.0.0.1", port),
        Some(host_and_port) => host_and_port,
        None if value.bytes().all(|byte| byte.is_ascii_digit()) => ("127.0.0.1", value),
        None => return Err(wrong("not an address with a port")),
    };
    if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) || port.parse::<u16>().is_err() {
        return Err(wrong("the port is not a number from 0 to 65535"));
    }
    if host != "127.0.0.1" && !is_host_name(host) {
        return Err(wrong("the host is not a name or an address"));
    }
    Ok(Some(format!("{host}:{port}")))
}

/// The host of `OTEL_EXPORTER_PROMETHEUS_HOST`, in brackets if it is an IPv6 address.
pub(super) fn listen_host(name: &str, value: &str) -> Parsed<String> {
    match value.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(IpAddr::V6(ip)) => Ok(format!("[{ip}]")),
        Ok(IpAddr::V4(ip)) => Ok(ip.to_string()),
        Err(_) if is_host_name(value) => Ok(value.to_owned()),
        Err(_) => Err(InstallError::invalid(name, value, "not the name or address of a host")),
    }
}

fn is_host_name(host: &str) -> bool {
    let in_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    !host.is_empty()
        && host.len() <= 253
        && host.chars().all(in_name)
        // `1.2.3` is neither an address nor a name that resolves everywhere alike.
        && host.chars().any(|c| c.is_ascii_alphabetic())
}

/// A network in CIDR notation; a single address is a network of one.
pub(super) fn network(name: &str, value: &str) -> Parsed<String> {
    let cidr = match value.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => format!("{ip}/32"),
        Ok(IpAddr::V6(ip)) => format!("{ip}/128"),
        Err(_) => value.to_owned(),
    };
    if scrape::is_network(&cidr) {
        Ok(cidr)
    } else {
        Err(InstallError::invalid(name, value, "not a network such as 10.0.0.0/8 or fd00::/8"))
    }
}

/// A list `key=value,key=value` with percent-encoded values, as for resource attributes and headers.
///
/// Its errors don't quote the value: it may hold keys.
pub(super) fn pairs(name: &str, value: &str) -> Parsed<Vec<(String, String)>> {
    list(value)
        .enumerate()
        .map(|(index, item)| {
            let wrong =
                |why| InstallError::invalid_secret(name, format!("item {} {why}: write `key=value,…`", index + 1));
            let (key, value) = item.split_once('=').ok_or_else(|| wrong("has no `=`"))?;
            let key = decode(key.trim()).ok_or_else(|| wrong("has a key that is not UTF-8"))?;
            let value = decode(value.trim()).ok_or_else(|| wrong("has a value that is not UTF-8"))?;
            if key.is_empty() { Err(wrong("has no key")) } else { Ok((key, value)) }
        })
        .collect()
}

fn decode(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(Into::into)
}

/// Bucket bounds: sorted, each once.
pub(super) fn bounds(metric: &str, bounds: &[f64]) -> Parsed<Vec<f64>> {
    let wrong = |why| InstallError::invalid("with_buckets", metric, why);
    if metric.is_empty() {
        return Err(wrong("the metric has no name"));
    }
    if bounds.is_empty() {
        return Err(wrong("there are no bounds"));
    }
    if bounds.iter().any(|bound| !bound.is_finite()) {
        return Err(wrong("a bound is not finite; the bucket up to infinity is always there"));
    }
    let mut sorted = bounds.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.dedup();
    Ok(sorted)
}

/// A label for every series.
pub(super) fn global_label(name: &str, value: &str) -> Parsed<(String, String)> {
    if scrape::is_label_name(name) {
        Ok((name.to_owned(), value.to_owned()))
    } else {
        let why = "not a label name: letters, digits and `_`, not starting with a digit or `__`, and neither `le` nor \
                   `quantile`";
        Err(InstallError::invalid("add_global_label", name, why))
    }
}

/// Headers of the exporter: names in lower case, values that may be sent.
#[cfg(any(feature = "otlp-grpc", feature = "otlp-http"))]
pub(super) fn headers(name: &str, value: &str) -> Parsed<Vec<(String, String)>> {
    let mut headers = pairs(name, value)?;
    for (index, (key, value)) in headers.iter_mut().enumerate() {
        let wrong = |why| InstallError::invalid_secret(name, format!("item {} {why}", index + 1));
        key.make_ascii_lowercase();
        http::HeaderName::from_bytes(key.as_bytes()).map_err(|_| wrong("has a key that is no header name"))?;
        // gRPC takes such names for binary values.
        if key.ends_with("-bin") {
            return Err(wrong("has a key that ends in `-bin`"));
        }
        http::HeaderValue::from_str(value).map_err(|_| wrong("has a value that is no header value"))?;
        if !value.is_ascii() {
            return Err(wrong("has a value that is not ASCII"));
        }
    }
    Ok(headers)
}

/// The URL of an OTLP endpoint as the exporter takes it, checked against the protocol.
///
/// `base` tells that the path of the signal is still to be appended.
#[cfg(any(feature = "otlp-grpc", feature = "otlp-http"))]
pub(super) fn otlp_endpoint(name: &str, value: &str, protocol: OtlpProtocol, base: bool) -> Parsed<String> {
    if value.contains('@') {
        let why = "credentials don't belong into the URL: send them by OTEL_EXPORTER_OTLP_HEADERS";
        return Err(InstallError::invalid_secret(name, why));
    }
    let wrong = |why: &str| InstallError::invalid(name, value, why);
    let url = if value.contains("://") { value.to_owned() } else { format!("http://{value}") };
    let uri: http::Uri = url.parse().map_err(|_| wrong("not a URL such as http://localhost:4317"))?;
    let host = uri.host().filter(|host| !host.is_empty() && !host.starts_with(':'));
    if host.is_none() {
        return Err(wrong("the URL names no host"));
    }
    let scheme = uri.scheme_str().unwrap_or_default().to_ascii_lowercase();
    match scheme.as_str() {
        "http" => {}
        "https" if cfg!(feature = "otlp-tls") => {}
        "https" => return Err(wrong("https needs the feature `otlp-tls` of botticelli_obs, which is not compiled in")),
        _ => return Err(wrong("the scheme is neither http nor https")),
    }
    let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    // `http::Uri` takes any text for a port, and then says that there is none.
    let after_host = authority.strip_prefix(host.unwrap_or_default()).unwrap_or_default();
    let port = match after_host.strip_prefix(':').map(str::parse::<u16>) {
        None => None,
        Some(Ok(port)) if port > 0 => Some(port),
        Some(_) => return Err(wrong("the port is not a number from 1 to 65535")),
    };
    if uri.query().is_some() {
        return Err(wrong("the URL has a query"));
    }
    let path = uri.path().trim_end_matches('/');
    match (protocol, port) {
        (OtlpProtocol::Grpc, Some(4318)) => {
            Err(wrong("4318 is the port of OTLP/HTTP: use port 4317, or set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"))
        }
        (OtlpProtocol::HttpProtobuf, Some(4317)) => {
            Err(wrong("4317 is the port of OTLP/gRPC: use port 4318, or set OTEL_EXPORTER_OTLP_PROTOCOL=grpc"))
        }
        (OtlpProtocol::Grpc, _) if !path.is_empty() => Err(wrong("OTLP/gRPC has no path: leave it out of the URL")),
        (OtlpProtocol::Grpc, _) => Ok(format!("{scheme}://{authority}")),
        (OtlpProtocol::HttpProtobuf, _) if base => Ok(format!("{scheme}://{authority}{path}/v1/traces")),
        (OtlpProtocol::HttpProtobuf, _) => Ok(format!("{scheme}://{authority}{}", uri.path())),
    }
}
