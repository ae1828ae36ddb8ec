//! Finds environment variables that look like this crate's, but are not read by it.

use std::ffi::OsStr;

use super::{Finding, Mistake};
use crate::install::Environment;

/// The other variables of version 1.60 of the OpenTelemetry specification
/// (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>), of earlier versions and of the semantic
/// conventions: those that neither [`Environment::READ`] nor [`Environment::UNREAD`] has. Such a name is never a misspelling.
const SPECIFIED: &[&str] = &[
    "OTEL_BLRP_EXPORT_TIMEOUT",
    "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_BLRP_MAX_QUEUE_SIZE",
    "OTEL_BLRP_SCHEDULE_DELAY",
    "OTEL_EXPORTER_JAEGER_AGENT_HOST",
    "OTEL_EXPORTER_JAEGER_AGENT_PORT",
    "OTEL_EXPORTER_JAEGER_ENDPOINT",
    "OTEL_EXPORTER_JAEGER_PASSWORD",
    "OTEL_EXPORTER_JAEGER_PROTOCOL",
    "OTEL_EXPORTER_JAEGER_TIMEOUT",
    "OTEL_EXPORTER_JAEGER_USER",
    "OTEL_EXPORTER_ZIPKIN_ENDPOINT",
    "OTEL_EXPORTER_ZIPKIN_PROTOCOL",
    "OTEL_EXPORTER_ZIPKIN_TIMEOUT",
    "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_LOGS_EXPORTER",
    "OTEL_LOG_LEVEL",
    "OTEL_PROFILES_EXPORTER",
    "OTEL_SEMCONV_STABILITY_OPT_IN",
];

/// The endings of the variables of the OTLP exporter.
const SPECIFIED_OTLP: &[&str] = &[
    "CERTIFICATE",
    "CLIENT_CERTIFICATE",
    "CLIENT_KEY",
    "COMPRESSION",
    "ENDPOINT",
    "HEADERS",
    "INSECURE",
    "PROTOCOL",
    "TIMEOUT",
];

/// The signals that this crate does not export.
const OTHER_SIGNALS: &[&str] = &["LOGS", "PROFILES"];

/// Finds variables that this crate does not read although their names look like it: misspelt ones, and others of OpenTelemetry.
pub(super) fn unread(environment: &Environment) -> Vec<Finding> {
    let specified: Vec<String> = specified().collect();
    let mut names: Vec<&str> = environment
        .variables()
        .filter(|(name, value)| !value.is_empty() && !is_service_link(name, value))
        .map(|(name, _)| name)
        // `install` tells of the second kind, and so does the check of the settings.
        .filter(|name| !Environment::READ.contains(name) && !Environment::UNREAD.contains(name))
        .collect();
    names.sort_unstable();
    names.into_iter().filter_map(|name| judge(name, &specified)).collect()
}

fn specified() -> impl Iterator<Item = String> {
    let otlp = OTHER_SIGNALS
        .iter()
        .flat_map(|signal| SPECIFIED_OTLP.iter().map(move |setting| format!("OTEL_EXPORTER_OTLP_{signal}_{setting}")));
    SPECIFIED.iter().map(|&name| name.to_owned()).chain(otlp)
}

/// Judges a variable that is not read. Returns `None` for another program's.
fn judge(name: &str, specified: &[String]) -> Option<Finding> {
    let unread = || Finding::note("settings", format!("{name} is set, but not read by this crate"));
    if specified.iter().any(|specified| specified == name) {
        return Some(unread());
    }
    // Names that are read come first, and win where both are equally near. Another case or separator is a misspelling, too.
    let known = Environment::READ.iter().copied().chain(specified.iter().map(String::as_str));
    let spelt = name.to_ascii_uppercase().replace(['-', '.'], "_");
    let near = known.filter_map(|known| {
        let distance = distance(&spelt, known).min(distance(&spelt, &short(known)));
        (distance <= tolerance(known)).then_some((distance, known))
    });
    match near.min_by_key(|&(distance, _)| distance) {
        Some((_, meant)) if Environment::READ.contains(&meant) => {
            let found = format!("{name} is set, but no such variable is read");
            Some(Finding::broken("settings", found, format!("did you mean {meant}?")).of(Mistake::UnreadVariable))
        }
        None if !name.starts_with("OTEL_") && !name.starts_with("BOTTICELLI_OBS_") => None,
        _ => Some(unread()),
    }
}

/// Returns a name with the prefix that is taken for this crate's own: `BOTTICELLI_TEXTFILE`.
fn short(known: &str) -> String {
    known.replacen("BOTTICELLI_OBS_", "BOTTICELLI_", 1)
}

/// Returns how many edits of a name are taken for a misspelling. A short name is soon another program's, such as `TAGGER_URL` beside
/// `JAEGER_URL`.
fn tolerance(known: &str) -> usize {
    (known.len() / 7).min(3)
}

/// Whether Kubernetes or Docker sets this variable in every container to tell where a service is. For a service named `jaeger` these
/// are `JAEGER_SERVICE_HOST`, `JAEGER_SERVICE_PORT`, `JAEGER_PORT=tcp://…`, `JAEGER_PORT_16686_TCP_ADDR` and so on.
fn is_service_link(name: &str, value: &OsStr) -> bool {
    let is_url = || {
        let value = value.to_str().unwrap_or_default();
        ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme))
    };
    let is_port_of = |rest: &str| {
        let (port, rest) = rest.split_once('_').unwrap_or((rest, ""));
        let protocol = rest.split('_').next().unwrap_or_default();
        port.parse::<u16>().is_ok() && matches!(protocol, "TCP" | "UDP" | "SCTP")
    };
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || (name.ends_with("_PORT") && is_url())
        || name.match_indices("_PORT_").any(|(at, port)| is_port_of(&name[at + port.len()..]))
}

/// Returns the number of bytes to insert, delete or replace to get from one name to the other (Levenshtein distance).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
