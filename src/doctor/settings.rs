//! Checks the environment variables, and resolves them as `install` does.

use std::path::PathBuf;

use super::address::Address;
use super::web::Server;
use super::{Finding, Mistake, variables};
use crate::install::{Builder, Environment, InstallError, Plan};
use crate::scrape::Token;
use crate::spans::{self, Backend};
use crate::textfile::TextFile;
use crate::{file, otlp, push};

/// The settings that the other checks need.
#[derive(Debug)]
pub(super) struct Settings {
    /// The address of the page; `None` if none is served, or if it is not known.
    pub(super) listen: Option<Address>,
    /// The token that the page wants.
    pub(super) token: Option<Token>,
    /// The export of spans, if it goes to an OTLP endpoint, and nothing but that.
    pub(super) traces: Option<spans::Config>,
    pub(super) push: Option<push::Config>,
    /// The name of the service, if the environment sets it. The default is left out: it would be the name of this executable.
    pub(super) service: Option<String>,
    pub(super) prometheus: Server,
    pub(super) jaeger: Server,
    pub(super) grafana: Server,
}

impl Settings {
    /// Returns where spans go.
    pub(super) fn endpoint_of_traces(&self) -> Option<&otlp::Config> {
        self.traces.as_ref().and_then(|config| config.backend.endpoint())
    }
}

pub(super) fn check() -> (Settings, Vec<Finding>) {
    let environment = Environment::of_process();
    let mut findings = variables::unread(&environment);
    let server = |variable, default| Server::new(variable, environment.get(variable).ok().flatten(), default);
    let mut settings = Settings {
        listen: None,
        token: None,
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
            findings.extend(plan.oddities.iter().map(|oddity| Finding::note("settings", oddity.clone())));
            settings.traces = plan.traces.and_then(|config| {
                let backend = Backend::Otlp(config.backend.endpoint()?.clone());
                Some(spans::Config { backend, ..config })
            });
            settings.push = plan.push;
            findings.extend(plan.textfile.map(textfile));
            if let Some(metrics) = plan.metrics {
                let named = ["OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"];
                let is_named = environment.first(&named).is_ok_and(|set| set.is_some());
                settings.service = metrics.target.first().map(|(_, name)| name.clone()).filter(|_| is_named);
                settings.listen = metrics.listen.as_deref().and_then(Address::parse);
                settings.token = metrics.token;
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

fn textfile(path: PathBuf) -> Finding {
    let shown = file::shown(&path);
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
