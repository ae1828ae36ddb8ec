//! Checks whether Prometheus scrapes this program and has its metrics, and whether Grafana's datasource has them.

use std::sync::Arc;

use serde_json::Value;

use super::address::Address;
use super::page::PageFacts;
use super::settings::Settings;
use super::web::{Server, Web};
use super::{Finding, Mistake};
use crate::catalog;

const CHECK: &str = "prometheus";

/// The metric that is queried to find out whether there are calls.
const REQUESTS: &str = catalog::REQUESTS.prometheus;

pub(super) async fn check(settings: Arc<Settings>, page: Arc<PageFacts>, web: Web) -> Vec<Finding> {
    let server = &settings.prometheus;
    let holds_calls = match holds(&web, server, REQUESTS).await {
        Ok(holds) => holds,
        Err(why) if server.is_set => {
            let remedy = "start Prometheus, or correct PROMETHEUS_URL";
            return vec![Finding::broken(CHECK, format!("{}: {why}", server.shown()), remedy)];
        }
        Err(why) => {
            let found = format!("no Prometheus at {} ({why}); set {} if there is one", server.shown(), server.variable);
            return vec![Finding::note(CHECK, found)];
        }
    };
    let shown = server.shown();
    if let Some(instance) = &page.instance {
        let query = format!("{}{{service_instance_id=\"{instance}\"}}", catalog::TARGET_INFO.prometheus);
        if holds(&web, server, &query).await.unwrap_or(false) {
            return vec![match (holds_calls, page.has_calls) {
                (true, _) => Finding::good(CHECK, format!("{shown} scrapes this program and holds {REQUESTS}")),
                (false, false) => {
                    Finding::note(CHECK, format!("{shown} scrapes this program, which has made no call yet"))
                }
                (false, true) => {
                    let found = format!("{shown} scrapes this program and has no {REQUESTS} of it");
                    let remedy = "wait for the next scrape; or check whether metric_relabel_configs drop it";
                    Finding::broken(CHECK, found, remedy).of(Mistake::EmptyDatasource)
                }
            }];
        }
    }
    let Some(listen) = settings.listen.as_ref().filter(|listen| listen.port() > 0) else {
        return vec![if holds_calls {
            Finding::good(CHECK, format!("{shown} holds {REQUESTS}"))
        } else {
            empty(server, "pushed metrics do not arrive there: check the Collector and its remote write")
        }];
    };
    let targets = match server.get_json(&web, "/api/v1/targets", &[("state", "active")]).await {
        Ok(answer) => answer["data"]["activeTargets"].as_array().cloned().unwrap_or_default(),
        Err(why) => {
            return vec![Finding::broken(CHECK, format!("{shown}: {why}"), "check whether this is a Prometheus")];
        }
    };
    let targets: Vec<Target> = targets.iter().filter_map(Target::of).collect();
    vec![judge(server, listen, &page, &targets)]
}

/// A scrape target, as Prometheus reports it.
struct Target {
    address: Address,
    is_up: bool,
    is_down: bool,
    /// The end of the last error. Its beginning is left out, because it may have the query of a URL.
    error: String,
    job: String,
}

impl Target {
    fn of(target: &Value) -> Option<Self> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let address = Address::of_url(&text(&target["scrapeUrl"]).parse().ok()?)?;
        let error = text(&target["lastError"]);
        let error = error.rsplit_once("\": ").map_or(error.as_str(), |(_, end)| end).to_owned();
        let health = text(&target["health"]);
        let job = text(&target["labels"]["job"]);
        Some(Self { address, is_up: health == "up", is_down: health == "down", error, job })
    }
}

/// Finds out from the targets why Prometheus does not scrape this program.
fn judge(server: &Server, listen: &Address, page: &PageFacts, targets: &[Target]) -> Finding {
    let (prometheus, port) = (server.shown(), listen.port());
    let ours: Vec<&Target> = targets.iter().filter(|target| target.address.port() == port).collect();
    if let Some(target) = ours.iter().find(|target| target.is_down) {
        let (address, error) = (&target.address, &target.error);
        let found = format!("{prometheus} can't scrape {address}: {error}");
        if error.contains("HTTP status 401") {
            let remedy = "give the scrape job the token of the page: `authorization: {credentials_file: …}`";
            return Finding::broken(CHECK, found, remedy);
        }
        if error.contains("HTTP status 403") {
            let remedy = "add the network of Prometheus to BOTTICELLI_OBS_ALLOWED_NETWORKS";
            return Finding::broken(CHECK, found, remedy);
        }
        if error.contains("no such host") || error.contains("lookup") {
            let remedy = "Prometheus can't resolve that name: host.docker.internal is Docker's (on Linux with `extra_hosts: \
                          host.docker.internal:host-gateway`), host.containers.internal is Podman's";
            return Finding::broken(CHECK, found, remedy);
        }
        if listen.is_loopback() && !address.is_loopback() {
            let found = format!("{found}; the page is served on {listen}, which can be reached only from this machine");
            let remedy = format!(
                "start the program with PROMETHEUS_ENDPOINT=0.0.0.0:{port}, and list the networks that may scrape in BOTTICELLI_OBS_ALLOWED_NETWORKS"
            );
            return Finding::broken(CHECK, found, remedy).of(Mistake::LoopbackOnly);
        }
        if page.is_there && address.is_loopback() {
            let found = format!(
                "{found}; the page answers on this machine, so this Prometheus has another loopback, as in a container"
            );
            let remedy = format!(
                "scrape host.docker.internal:{port} or host.containers.internal:{port}, and start the program with \
                 PROMETHEUS_ENDPOINT=0.0.0.0:{port}"
            );
            return Finding::broken(CHECK, found, remedy).of(Mistake::LoopbackOnly);
        }
        return Finding::broken(CHECK, found, "start the program, or correct the target");
    }
    if let Some(target) = ours.iter().find(|target| target.is_up) {
        if !page.is_there {
            return Finding::note(CHECK, format!("{prometheus} scrapes {}", target.address));
        }
        let found =
            format!("{prometheus} scrapes {}, which is another program or an earlier run of this one", target.address);
        return Finding::broken(CHECK, found, format!("wait for the next scrape; or add a target with port {port}"))
            .of(Mistake::EmptyDatasource);
    }
    if !ours.is_empty() {
        return Finding::note(CHECK, format!("{prometheus} has not scraped this program yet"));
    }
    if !page.is_there {
        return Finding::note(CHECK, format!("{prometheus} scrapes nothing on port {port}, where no page was found"));
    }
    // No target has the port of the page. Only a target that is down and looks like this program's tells more: others may be right.
    let mut down = targets.iter().filter(|target| target.is_down);
    let is_local = |target: &&Target| target.address.is_loopback() || target.address.is_host_of_container();
    let intended = down.find(|target| target.job == "botticelli" || is_local(target));
    match intended {
        Some(target) => {
            let found = format!("{prometheus} scrapes {}, but the page is served on {listen}", target.address);
            let remedy =
                format!("correct the port of the target to {port}, or set PROMETHEUS_ENDPOINT to the one it scrapes");
            Finding::broken(CHECK, found, remedy).of(Mistake::WrongScrapePort)
        }
        None => empty(server, &format!("add a scrape job with the target {listen}")),
    }
}

fn empty(server: &Server, remedy: &str) -> Finding {
    let found = format!("{} has no data of this program: dashboards on it stay empty", server.shown());
    Finding::broken(CHECK, found, remedy).of(Mistake::EmptyDatasource)
}

/// Whether a query has a result.
async fn holds(web: &Web, server: &Server, query: &str) -> Result<bool, String> {
    let answer = server.get_json(web, "/api/v1/query", &[("query", query)]).await?;
    Ok(answer["data"]["result"].as_array().is_some_and(|result| !result.is_empty()))
}

/// Queries the datasource of Grafana with the uid `prometheus`, which the dashboards of the stack use.
pub(super) async fn check_datasource(settings: Arc<Settings>, web: Web) -> Vec<Finding> {
    const CHECK: &str = "grafana";
    let server = &settings.grafana;
    let shown = server.shown();
    let path = "/api/datasources/proxy/uid/prometheus/api/v1/query";
    vec![match server.get_json(&web, path, &[("query", REQUESTS)]).await {
        Ok(answer) if answer["data"]["result"].as_array().is_some_and(|result| !result.is_empty()) => {
            Finding::good(CHECK, format!("the datasource `prometheus` of {shown} holds {REQUESTS}"))
        }
        Ok(_) => {
            let found = format!("the datasource `prometheus` of {shown} has no {REQUESTS}: its panels stay empty");
            let remedy = "point the datasource at the Prometheus that scrapes the program";
            Finding::broken(CHECK, found, remedy).of(Mistake::EmptyDatasource)
        }
        Err(why) if server.is_set => {
            let remedy = "start Grafana, allow anonymous access, and give its datasource the uid `prometheus`";
            Finding::broken(CHECK, format!("{shown}: {why}"), remedy)
        }
        Err(why) => {
            Finding::note(CHECK, format!("no Grafana at {shown} ({why}); set {} if there is one", server.variable))
        }
    }]
}
