//! The texts of settings, from a variable or from code, to values: used as meant, or refused by name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use tracing_subscriber::EnvFilter;

use super::error::InstallError;
#[cfg(any(feature = "otlp-grpc", feature = "otlp-http"))]
use crate::otlp::OtlpProtocol;
use crate::spans::Sampler;
use crate::store;

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

/// A comma-separated list without its empty items; there must be others.
pub(super) fn list<'a>(name: &str, value: &'a str) -> Parsed<Vec<&'a str>> {
    let items: Vec<&str> = value.split(',').map(str::trim).filter(|item| !item.is_empty()).collect();
    if items.is_empty() { Err(InstallError::invalid(name, value, "the list has no items")) } else { Ok(items) }
}

pub(super) fn count<T: std::str::FromStr>(name: &str, value: &str) -> Parsed<T> {
    let digits = Some(value).filter(|value| value.bytes().all(|byte| byte.is_ascii_digit()));
    let parsed = digits.and_then(|digits| digits.parse().ok());
    parsed.ok_or_else(|| InstallError::invalid(name, value, "not a whole number of the allowed size"))
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

/// Directives of an `EnvFilter`, such as `info,hyper=warn`, without the blanks around them.
pub(super) fn directives(name: &str, value: &str) -> Parsed<String> {
    let wrong = |why: &str| {
        let why = format!("{why}; write directives such as `info` or `info,hyper=warn`");
        InstallError::invalid(name, value, why)
    };
    let directives = list(name, value)?;
    for directive in &directives {
        let target = directive.split(['=', '[']).next().unwrap_or_default();
        // `EnvFilter` takes `info hyper` for the name of a target, and then everything is off.
        if target.contains(|c: char| c.is_whitespace() || c == ';') {
            return Err(wrong("directives are separated by commas"));
        }
    }
    // A blank before a directive makes `EnvFilter` cut it at the wrong places, or panic inside a character
    // (tracing-subscriber 0.3.23).
    let directives = directives.join(",");
    match EnvFilter::builder().parse(&directives) {
        Ok(_) => Ok(directives),
        Err(error) => Err(wrong(&error.to_string())),
    }
}

/// Where to listen, as `host:port`, or `None` for `off`.
pub(super) fn listen(name: &str, value: &str) -> Parsed<Option<String>> {
    if value.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    let forms = "write `ip:port`, `host:port`, `[v6]:port`, a port for 127.0.0.1, or `off`";
    if value.contains('@') {
        return Err(InstallError::invalid_secret(name, format!("the page takes no credentials: {forms}")));
    }
    let wrong = |why: &str| InstallError::invalid(name, value, format!("{why}: {forms}"));
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
    if !is_host(host) {
        return Err(wrong("the host is not a name or an address"));
    }
    Ok(Some(format!("{host}:{port}")))
}

/// The host of `OTEL_EXPORTER_PROMETHEUS_HOST`, in brackets if it is an IPv6 address.
pub(super) fn listen_host(name: &str, value: &str) -> Parsed<String> {
    if value.parse::<Ipv6Addr>().is_ok() {
        return Ok(format!("[{value}]"));
    }
    if is_host(value) {
        Ok(value.to_owned())
    } else {
        Err(InstallError::invalid(name, value, "not the name or address of a host"))
    }
}

/// A name, an IPv4 address, or an IPv6 address in brackets.
fn is_host(host: &str) -> bool {
    let v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    is_host_name(host) || host.parse::<Ipv4Addr>().is_ok() || v6.is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok())
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
pub(super) fn network(name: &str, value: &str) -> Parsed<IpNet> {
    let network = value.parse().or_else(|_| value.parse::<IpAddr>().map(IpNet::from));
    network.map_err(|_| InstallError::invalid(name, value, "not a network such as 10.0.0.0/8 or fd00::/8"))
}

/// A list `key=value,key=value` with percent-encoded values, as for resource attributes and headers.
///
/// Its errors don't quote the value: it may hold keys.
pub(super) fn pairs(name: &str, value: &str) -> Parsed<Vec<(String, String)>> {
    list(name, value)?
        .into_iter()
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
    if metric.trim().is_empty() {
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
    if store::is_label_name(name) {
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
/// `path_of_signal` is given if it is still to be appended.
#[cfg(any(feature = "otlp-grpc", feature = "otlp-http"))]
pub(super) fn otlp_endpoint(
    name: &str,
    value: &str,
    protocol: OtlpProtocol,
    path_of_signal: Option<&str>,
) -> Parsed<String> {
    if value.contains('@') {
        let why = "credentials don't belong into the URL: send them by OTEL_EXPORTER_OTLP_HEADERS";
        return Err(InstallError::invalid_secret(name, why));
    }
    // A query may hold a key, and `http::Uri` forgets a fragment.
    if value.contains(['?', '#']) {
        return Err(InstallError::invalid_secret(name, "the URL has a query or a fragment: leave it out"));
    }
    let wrong = |why: &str| InstallError::invalid(name, value, why);
    let url = if value.contains("://") { value.to_owned() } else { format!("http://{value}") };
    let uri: http::Uri = url.parse().map_err(|_| wrong("not a URL such as http://localhost:4317"))?;
    let host = uri.host().unwrap_or_default();
    if host.is_empty() {
        return Err(wrong("the URL names no host"));
    }
    if !is_host(host) {
        return Err(wrong("the host in the URL is not a name or an address"));
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
    let port = match authority.strip_prefix(host).unwrap_or_default().strip_prefix(':') {
        None => None,
        Some(port) => match count::<u16>(name, port) {
            Ok(port) if port > 0 => Some(port),
            Ok(_) | Err(_) => return Err(wrong("the port is not a number from 1 to 65535")),
        },
    };
    let path = uri.path().trim_end_matches('/');
    match (protocol, port) {
        (OtlpProtocol::Grpc, Some(4318)) => {
            let why = "4318 is the port of OTLP/HTTP: use port 4317, or set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf";
            Err(InstallError::wrong_port(name, value, why))
        }
        (OtlpProtocol::HttpProtobuf, Some(4317)) => {
            let why = "4317 is the port of OTLP/gRPC: use port 4318, or set OTEL_EXPORTER_OTLP_PROTOCOL=grpc";
            Err(InstallError::wrong_port(name, value, why))
        }
        (OtlpProtocol::Grpc, _) if !path.is_empty() => Err(wrong("OTLP/gRPC has no path: leave it out of the URL")),
        (OtlpProtocol::Grpc, _) => Ok(format!("{scheme}://{authority}")),
        (OtlpProtocol::HttpProtobuf, _) => match path_of_signal {
            Some(appended) => Ok(format!("{scheme}://{authority}{path}{appended}")),
            None => Ok(format!("{scheme}://{authority}{}", uri.path())),
        },
    }
}

pub(super) fn max_series(series: Option<usize>) -> Result<usize, InstallError> {
    match series {
        Some(0) => Err(InstallError::invalid("with_max_series", "0", "there must be room for one series at least")),
        series => Ok(series.unwrap_or(crate::store::MAX_SERIES)),
    }
}
