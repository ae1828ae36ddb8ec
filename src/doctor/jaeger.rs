//! Checks whether Jaeger knows the service.

use std::sync::Arc;

use super::Finding;
use super::page::PageFacts;
use super::settings::Settings;
use super::web::Web;

const CHECK: &str = "jaeger";

pub(super) async fn check(settings: Arc<Settings>, page: Arc<PageFacts>, web: Web) -> Vec<Finding> {
    let server = &settings.jaeger;
    let shown = server.shown();
    if settings.traces.is_none() && !server.is_set {
        return vec![Finding::note(CHECK, "spans are not exported, so Jaeger is not asked")];
    }
    let answer = match server.get_json(&web, "/api/services", &[]).await {
        Ok(answer) => answer,
        Err(why) if server.is_set => {
            let remedy = "start Jaeger, or correct JAEGER_URL";
            return vec![Finding::broken(CHECK, format!("{shown}: {why}"), remedy)];
        }
        Err(why) => {
            return vec![Finding::note(
                CHECK,
                format!("no Jaeger at {shown} ({why}); set {} if there is one", server.variable),
            )];
        }
    };
    let known: Vec<&str> = answer["data"].as_array().into_iter().flatten().filter_map(|name| name.as_str()).collect();
    let Some(service) = page.service.as_ref().or(settings.service.as_ref()) else {
        let known = known.join(", ");
        return vec![Finding::note(
            CHECK,
            format!("{shown} knows these services: {known}; set OTEL_SERVICE_NAME to look for one of them"),
        )];
    };
    vec![if known.contains(&service.as_str()) {
        Finding::good(CHECK, format!("{shown} knows the service {service}"))
    } else if page.has_spans {
        let found = format!("{shown} does not know the service {service}, although the OTLP endpoint takes its spans");
        Finding::broken(CHECK, found, "point JAEGER_URL and OTEL_EXPORTER_OTLP_ENDPOINT at the same Jaeger")
    } else {
        Finding::note(CHECK, format!("{shown} does not know the service {service}, which has sent no span yet"))
    }]
}
