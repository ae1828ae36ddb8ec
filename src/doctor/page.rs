//! Checks the page of the running program.

use super::settings::Settings;
use super::web::Web;
use super::{Finding, Mistake};
use crate::catalog::{self, METRICS, MetricKind};
use crate::snapshot::{Family, Snapshot, Value};

const CHECK: &str = "page";

/// The facts of the page that the other checks need.
#[derive(Debug, Default)]
pub(super) struct PageFacts {
    /// Whether the page of a program with this crate was read.
    pub(super) is_there: bool,
    pub(super) has_calls: bool,
    pub(super) has_spans: bool,
    pub(super) instance: Option<String>,
    pub(super) service: Option<String>,
}

pub(super) async fn check(settings: &Settings, web: &Web) -> (PageFacts, Vec<Finding>) {
    let Some(listen) = &settings.listen else {
        return (PageFacts::default(), vec![Finding::note(CHECK, "the program serves no page")]);
    };
    if listen.port() == 0 {
        let found = "the system chooses the port of the page, so it can't be found; set PROMETHEUS_ENDPOINT to the address \
                     that the program logs at its start";
        return (PageFacts::default(), vec![Finding::note(CHECK, found)]);
    }
    let url = format!("http://{}/metrics", listen.as_seen_here());
    let answer = match web.get_page(&url, settings.token.as_ref()).await {
        Ok(answer) => answer,
        Err(why) => {
            let remedy =
                "start the program; or, if it serves its page elsewhere, set PROMETHEUS_ENDPOINT to that address";
            return (PageFacts::default(), vec![Finding::broken(CHECK, format!("no page at {url}: {why}"), remedy)]);
        }
    };
    if answer.status == 401 {
        let remedy = "set BOTTICELLI_OBS_TOKEN_FILE to the program's file for the doctor, too";
        let found = format!("{url} answers 401: it wants another token");
        return (PageFacts::default(), vec![Finding::broken(CHECK, found, remedy)]);
    }
    if answer.status == 403 {
        let remedy = "add this machine to BOTTICELLI_OBS_ALLOWED_NETWORKS, such as 127.0.0.0/8";
        let found = format!("{url} answers 403: this machine may not scrape it");
        return (PageFacts::default(), vec![Finding::broken(CHECK, found, remedy)]);
    }
    judge(&url, &answer.body)
}

fn judge(url: &str, text: &str) -> (PageFacts, Vec<Finding>) {
    let mut mistakes = wrong_kinds(url, text);
    let page = match Snapshot::parse(text) {
        Ok(page) if page.family(catalog::BUILD_INFO.prometheus).is_some() => page,
        _ => {
            if mistakes.is_empty() {
                let found = format!("what answers at {url} is another program");
                let remedy = "free the port, or set PROMETHEUS_ENDPOINT to where the program serves its page";
                mistakes.push(Finding::broken(CHECK, found, remedy));
            }
            return (PageFacts::default(), mistakes);
        }
    };
    let label = |family: &str, label: &str| {
        let labels = page.family(family)?.labels.first()?;
        Some(labels.get(label).to_owned()).filter(|value| !value.is_empty())
    };
    let sum = |family: &str| page.family(family).map_or(0, Family::total);
    let facts = PageFacts {
        is_there: true,
        has_calls: page.family(catalog::REQUESTS.prometheus).is_some(),
        has_spans: sum(catalog::SPANS_EXPORTED.prometheus) > 0,
        instance: label(catalog::TARGET_INFO.prometheus, "service_instance_id"),
        service: label(catalog::TARGET_INFO.prometheus, "service_name"),
    };
    if mistakes.is_empty() {
        mistakes.push(match sum(catalog::REQUESTS.prometheus) {
            0 => Finding::note(CHECK, format!("{url} answers, and no call has ended yet")),
            calls => Finding::good(CHECK, format!("{url} answers, {calls} calls in {}", catalog::REQUESTS.prometheus)),
        });
    }
    mistakes.extend(health_findings(&page));
    (facts, mistakes)
}

/// Finds counters and histograms of the catalogue that the page has under another name or kind, so that dashboards don't find them.
fn wrong_kinds(url: &str, text: &str) -> Vec<Finding> {
    let types: Vec<(&str, &str)> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let has = |family: &str, kind: &str| types.iter().any(|&(of, is)| of == family && is == kind);
    let mut findings = Vec::new();
    let counters = METRICS.iter().filter(|metric| metric.kind == MetricKind::Counter);
    let without = counters.filter_map(|metric| metric.prometheus.strip_suffix("_total"));
    if let Some(name) = without.into_iter().find(|name| has(name, "counter")) {
        let found = format!("{url} has {name} and not {name}_total");
        let remedy = "let this crate's `install` or `Builder::recorder` make the page, not an exporter set up by hand";
        findings.push(Finding::broken(CHECK, found, remedy).of(Mistake::CounterWithoutTotal));
    }
    let histograms = METRICS.iter().filter(|metric| metric.kind == MetricKind::Histogram);
    if let Some(metric) = histograms.into_iter().find(|metric| has(metric.prometheus, "summary")) {
        let name = metric.prometheus;
        let found = format!("{url} has {name} as a summary: there is no {name}_bucket for the dashboards");
        let remedy = "let this crate's `install` or `Builder::recorder` make the page: it sets the buckets";
        findings.push(Finding::broken(CHECK, found, remedy).of(Mistake::SummaryInsteadOfHistogram));
    }
    findings
}

/// Reads the health metrics of the program: pipelines that are off, spans that were dropped.
fn health_findings(page: &Snapshot) -> Vec<Finding> {
    let series = |family: &str| page.family(family).into_iter().flat_map(Family::series);
    let down = series(catalog::PIPELINE_UP.prometheus).filter(|(_, value)| *value == Value::Gauge(0.0));
    let down = down.map(|(labels, _)| {
        let found = format!("the pipeline `{}` of the program is off", labels.get("pipeline"));
        Finding::broken(CHECK, found, "see the log of the program's start, which has the reason")
    });
    let dropped = series(catalog::SPANS_DROPPED.prometheus).filter_map(|(labels, value)| match value {
        Value::Counter(spans) if spans > 0 => {
            let found = format!("the program has lost {spans} spans, reason `{}`", labels.get("reason"));
            Some(Finding::note(CHECK, found))
        }
        _ => None,
    });
    down.chain(dropped).collect()
}
