//! What the environment says, resolved as an install would.

use std::path::PathBuf;

use super::web::Server;
use super::{Finding, Mistake};
use crate::install::{Builder, Environment, InstallError, Plan};
use crate::spans::Backend;
use crate::textfile::TextFile;
use crate::{otlp, push};

/// What the other checks need.
#[derive(Debug)]
pub(super) struct Settings {
    /// Where the page is served, as `host:port`; `None` where it is not, or not known.
    pub(super) listen: Option<String>,
    pub(super) traces: Option<otlp::Config>,
    pub(super) push: Option<push::Config>,
    /// The name of the service, where the environment says it.
    pub(super) service: Option<String>,
    pub(super) prometheus: Server,
    pub(super) jaeger: Server,
    pub(super) grafana: Server,
}

pub(super) fn check() -> (Settings, Vec<Finding>) {
    let environment = Environment::of_process();
    let mut findings = unread(&environment);
    let server = |variable, usual| Server::new(variable, environment.get(variable).ok().flatten(), usual);
    let mut settings = Settings {
        listen: None,
        traces: None,
        push: None,
        service: None,
        prometheus: server("PROMETHEUS_URL", "http://localhost:9090"),
        jaeger: server("JAEGER_URL", "http://localhost:16686"),
        grafana: server("GRAFANA_URL", "http://localhost:3000"),
    };
    match Plan::resolve(&Builder::new(), &environment) {
        Ok(plan) => {
            findings.extend(plan.faults.iter().map(|fault| refused(&fault.error)));
            settings.traces = plan.traces.and_then(|config| match config.backend {
                Backend::Otlp(otlp) => Some(otlp),
                Backend::Stdout => None,
            });
            settings.push = plan.push;
            findings.extend(plan.textfile.map(textfile));
            if let Some(metrics) = plan.metrics {
                let named = ["OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"];
                let is_named = environment.first(&named).is_ok_and(|set| set.is_some());
                settings.service = metrics.target.first().map(|(_, name)| name.clone()).filter(|_| is_named);
                settings.listen = metrics.listen;
            }
        }
        Err(error) => findings.push(refused(&error)),
    }
    if findings.is_empty() {
        findings.push(Finding::good("settings", "every variable can be used"));
    }
    (settings, findings)
}

fn refused(error: &InstallError) -> Finding {
    let finding = Finding::broken("settings", error.to_string(), "correct it: the program does not start with this");
    if error.is_wrong_port() { finding.of(Mistake::WrongOtlpPort) } else { finding }
}

/// Variables that look like ours, and that nobody reads.
fn unread(environment: &Environment) -> Vec<Finding> {
    let is_meant_for_us = |name: &&str| {
        ["OTEL_", "BOTTICELLI_", "PROMETHEUS_", "JAEGER_", "GRAFANA_"].iter().any(|of| name.starts_with(of))
    };
    let mut unread: Vec<&str> =
        environment.names().filter(is_meant_for_us).filter(|name| !Environment::READ.contains(name)).collect();
    unread.sort_unstable();
    let told = |name: &str| {
        let nearest = Environment::READ.iter().map(|read| (distance(name, read), *read)).min();
        match nearest {
            // More than a slip of the finger is another program's variable.
            Some((distance, meant)) if distance <= 3 => {
                let found = format!("{name} is set, and nobody reads it");
                Some(Finding::broken("settings", found, format!("did you mean {meant}?")).of(Mistake::UnreadVariable))
            }
            _ if name.starts_with("OTEL_") || name.starts_with("BOTTICELLI_OBS_") => {
                Some(Finding::note("settings", format!("{name} is set, and not read by this crate")))
            }
            _ => None,
        }
    };
    unread.into_iter().filter_map(told).collect()
}

/// How many letters have to be put in, taken out or replaced (Levenshtein).
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

fn textfile(path: PathBuf) -> Finding {
    let shown = path.display();
    if path.extension().is_none_or(|extension| extension != "prom") {
        let found = format!("{shown} does not end in `.prom`");
        return Finding::broken("textfile", found, "name it so: node_exporter reads no other files");
    }
    match TextFile::families(&path) {
        Ok(0) => Finding::note("textfile", format!("{shown} is not there yet: no run has ended")),
        Ok(families) => Finding::good("textfile", format!("{shown} has {families} metrics")),
        Err(error) => Finding::broken("textfile", format!("{shown}: {error}"), "see to the file, or name another one"),
    }
}
