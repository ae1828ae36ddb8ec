//! Checks whether spans come to Jaeger.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::page::PageFacts;
use super::settings::Settings;
use super::specimen::{self, Specimen, Unsent};
use super::web::{Server, Web};
use super::{Finding, Verdict};

const CHECK: &str = "jaeger";

/// The limit for the endpoint to take a span.
const SENDING: Duration = Duration::from_secs(2);

/// The limit for Jaeger to have it. A Collector between them holds spans back for up to 5 s, as the one of the stack does.
const ARRIVING: Duration = Duration::from_secs(6);

/// The time that is left at the deadline to tell what was found.
const MARGIN: Duration = Duration::from_millis(300);

/// The time between two questions.
const PAUSE: Duration = Duration::from_millis(50);

pub(super) async fn check(settings: Arc<Settings>, page: Arc<PageFacts>, web: Web, deadline: Instant) -> Vec<Finding> {
    let server = &settings.jaeger;
    let shown = server.shown();
    if settings.traces.is_none() && !server.is_set {
        return vec![Finding::note(CHECK, "spans are not exported, so Jaeger is not asked")];
    }
    let (api, services) = match Api::of(&web, server).await {
        Ok(found) => found,
        Err(why) if server.is_set => {
            let remedy = "start Jaeger, or correct JAEGER_URL: the port of Jaeger's user interface, usually 16686";
            return vec![Finding::broken(CHECK, format!("{shown}: {why}"), remedy)];
        }
        Err(why) => {
            return vec![Finding::note(
                CHECK,
                format!("no Jaeger at {shown} ({why}); set {} if there is one", server.variable),
            )];
        }
    };
    let service = page.service.as_ref().or(settings.service.as_ref());
    let sent = match &settings.traces {
        Some(config) => {
            let config = config.clone().with_service(service);
            specimen::send(config, deadline.min(Instant::now() + SENDING)).await
        }
        None => Err(Unsent::Failed),
    };
    match sent {
        Ok(specimen) => {
            let until = specimen.ended + ARRIVING;
            let until = deadline.checked_sub(MARGIN).map_or(until, |deadline| deadline.min(until));
            vec![match api.find(&web, server, &specimen, until).await {
                Some(after) => {
                    let found = format!(
                        "{shown} has the span of a call that was sent to find it there, {after:?} after its end"
                    );
                    Finding::good(CHECK, found)
                }
                None => {
                    let waited = specimen.ended.elapsed().as_secs();
                    let found = format!(
                        "{shown} has no span of a call that was sent to find it there, {waited} s after its end"
                    );
                    missing(&found, service.is_some_and(|service| services.contains(service)))
                }
            }]
        }
        Err(Unsent::Off(why)) => {
            let note = Finding::note(CHECK, format!("no span was sent to look for: {why}"));
            vec![note, by_name(&shown, &services, service, &page)]
        }
        // The check of the traces says why.
        Err(Unsent::Failed) => {
            let finding = by_name(&shown, &services, service, &page);
            vec![if settings.traces.is_some() && finding.verdict == Verdict::Good {
                Finding::note(CHECK, format!("{}; no span could be sent to look for it there", finding.found))
            } else {
                finding
            }]
        }
    }
}

/// The finding if the span did not arrive in time.
fn missing(found: &str, knows_service: bool) -> Finding {
    if knows_service {
        let found = format!("{found}, but others of the service: a Collector may hold spans back, or leave some out");
        return Finding::note(CHECK, found);
    }
    let remedy = "point JAEGER_URL and OTEL_EXPORTER_OTLP_ENDPOINT at the same Jaeger; with a Collector between them, see its log";
    Finding::broken(CHECK, found, remedy)
}

/// The finding from the service's name alone, if no span was sent.
fn by_name(shown: &str, known: &[String], service: Option<&String>, page: &PageFacts) -> Finding {
    let Some(service) = service else {
        let known = known.join(", ");
        let found = format!("{shown} knows these services: {known}; set OTEL_SERVICE_NAME to look for one of them");
        return Finding::note(CHECK, found);
    };
    if known.contains(service) {
        Finding::good(CHECK, format!("{shown} knows the service {service}"))
    } else if page.has_spans {
        let found =
            format!("{shown} does not know the service {service}, although the OTLP endpoint has taken its spans");
        Finding::broken(CHECK, found, "point JAEGER_URL and OTEL_EXPORTER_OTLP_ENDPOINT at the same Jaeger")
    } else {
        Finding::note(CHECK, format!("{shown} does not know the service {service}, which has sent no span yet"))
    }
}

/// The HTTP API of Jaeger.
#[derive(Clone, Copy, Debug)]
enum Api {
    /// `/api/v3`: in Jaeger 2, and in the later ones of Jaeger 1.
    V3,
    /// `/api`: removed from Jaeger in August 2026.
    V1,
}

impl Api {
    /// Returns the newest API that a server has, and the services it knows.
    async fn of(web: &Web, server: &Server) -> Result<(Self, Vec<String>), String> {
        let names = |list: &Value| {
            let names = list.as_array().into_iter().flatten().filter_map(Value::as_str);
            names.map(str::to_owned).collect()
        };
        let v3 = server.ask(web, "/api/v3/services", &[]).await?;
        // An object without a member, where Jaeger knows no service.
        if let Ok(answer @ Value::Object(_)) = v3.json() {
            return Ok((Self::V3, names(&answer["services"])));
        }
        match server.get_json(web, "/api/services", &[]).await?.get("data") {
            Some(services) => Ok((Self::V1, names(services))),
            None => Err("the answer is not Jaeger's".to_owned()),
        }
    }

    /// Asks for a span until it is there, and returns how long after its end that is, in whole milliseconds.
    async fn find(self, web: &Web, server: &Server, specimen: &Specimen, until: Instant) -> Option<Duration> {
        let found = async {
            while !self.has(web, server, &specimen.trace).await {
                tokio::time::sleep(PAUSE).await;
            }
            let after = u64::try_from(specimen.ended.elapsed().as_millis()).unwrap_or(u64::MAX);
            Duration::from_millis(after)
        };
        tokio::time::timeout_at(until.into(), found).await.ok()
    }

    /// Whether the server has a trace.
    async fn has(self, web: &Web, server: &Server, trace: &str) -> bool {
        let (path, list) = match self {
            Self::V3 => ("/api/v3/traces", "/result/resourceSpans"),
            Self::V1 => ("/api/traces", "/data"),
        };
        let Ok(answer) = server.get_json(web, &format!("{path}/{trace}"), &[]).await else { return false };
        answer.pointer(list).and_then(Value::as_array).is_some_and(|list| !list.is_empty())
    }
}
