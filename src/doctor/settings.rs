//! Checks the environment variables, and resolves them as `install` does.

use std::path::PathBuf;

use super::web::Server;
use super::{Finding, Mistake};
use crate::install::{Builder, Environment, InstallError, Plan};
use crate::spans::Backend;
use crate::textfile::TextFile;
use crate::{otlp, push};

/// The settings that the other checks need.
#[derive(Debug)]
pub(super) struct Settings {
    /// The address of the page as `host:port`; `None` if none is served, or if it is not known.
    pub(super) listen: Option<String>,
    pub(super) traces: Option<otlp::Config>,
    pub(super) push: Option<push::Config>,
    /// The name of the service, if the environment sets it. The default is left out: it would be the name of this executable.
    pub(super) service: Option<String>,
    pub(super) prometheus: Server,
    pub(super) jaeger: Server,
    pub(super) grafana: Server,
}

pub(super) fn check() -> (Settings, Vec<Finding>) {
    let environment = Environment::of_process();
    let mut findings = unread_variables(&environment);
    let server = |variable, default| Server::new(variable, environment.get(variable).ok().flatten(), default);
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
            findings.extend(plan.faults.iter().map(|fault| invalid_setting(&fault.error)));
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
        Err(error) => findings.push(invalid_setting(&error)),
    }
    if findings.is_empty() {
        findings.push(Finding::good("settings", "every variable can be used"));
    }
    (settings, findings)
}

fn invalid_setting(error: &InstallError) -> Finding {
    let finding = Finding::broken("settings", error.to_string(), "correct it: the program does not start with this");
    if error.is_wrong_port() { finding.of(Mistake::WrongOtlpPort) } else { finding }
}

/// Finds variables with a prefix of this crate's that it does not read, such as misspelt ones.
fn unread_variables(environment: &Environment) -> Vec<Finding> {
    let has_our_prefix = |name: &&str| {
        ["OTEL_", "BOTTICELLI_", "PROMETHEUS_", "JAEGER_", "GRAFANA_"].iter().any(|prefix| name.starts_with(prefix))
    };
    let mut unread: Vec<&str> =
        environment.names().filter(has_our_prefix).filter(|name| !Environment::READ.contains(name)).collect();
    unread.sort_unstable();
    let finding = |name: &str| {
        let nearest = Environment::READ.iter().map(|read| (distance(name, read), *read)).min();
        match nearest {
            // Up to 3 edits are taken for a misspelling. A name that differs more is another program's variable.
            Some((distance, meant)) if distance <= 3 => {
                let found = format!("{name} is set, but no such variable is read");
                Some(Finding::broken("settings", found, format!("did you mean {meant}?")).of(Mistake::UnreadVariable))
            }
            _ if name.starts_with("OTEL_") || name.starts_with("BOTTICELLI_OBS_") => {
                Some(Finding::note("settings", format!("{name} is set, but not read by this crate")))
            }
            _ => None,
        }
    };
    unread.into_iter().filter_map(finding).collect()
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

fn textfile(path: PathBuf) -> Finding {
    let shown = path.display();
    if path.extension().is_none_or(|extension| extension != "prom") {
        let found = format!("{shown} does not end in `.prom`");
        return Finding::broken("textfile", found, "rename it: node_exporter reads only files that end so");
    }
    match TextFile::families(&path) {
        Ok(0) => Finding::note("textfile", format!("{shown} does not exist yet: no run has ended")),
        Ok(families) => Finding::good("textfile", format!("{shown} has {families} metrics")),
        Err(error) => Finding::broken("textfile", format!("{shown}: {error}"), "repair the file, or set another one"),
    }
}
