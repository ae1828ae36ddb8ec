//! Jaeger: does it know the service.

use std::sync::Arc;

use super::Finding;
use super::page::Seen;
use super::settings::Settings;
use super::web::Web;

const CHECK: &str = "jaeger";

pub(super) async fn check(settings: Arc<Settings>, seen: Arc<Seen>, web: Web) -> Vec<Finding> {
    let server = &settings.jaeger;
    let shown = server.shown();
    if settings.traces.is_none() && !server.is_set {
        return vec![Finding::note(CHECK, "spans are not exported, so none are looked for")];
    }
    let answer = match web.get_json(&server.url("/api/services")).await {
        Ok(answer) => answer,
        Err(why) if server.is_set => {
            let remedy = "start Jaeger, or correct JAEGER_URL";
            return vec![Finding::broken(CHECK, format!("{shown}: {why}"), remedy)];
        }
        Err(why) => {
            return vec![Finding::note(CHECK, format!("none at {shown} ({why}); {} says where", server.variable))];
        }
    };
    let known: Vec<&str> = answer["data"].as_array().into_iter().flatten().filter_map(|name| name.as_str()).collect();
    let Some(service) = seen.service.as_ref().or(settings.service.as_ref()) else {
        let known = known.join(", ");
        return vec![Finding::note(
            CHECK,
            format!("{shown} knows these services: {known}; OTEL_SERVICE_NAME says which is meant"),
        )];
    };
    vec![if known.contains(&service.as_str()) {
        Finding::good(CHECK, format!("{shown} knows the service {service}"))
    } else if seen.has_spans {
        let found = format!("{shown} does not know the service {service}, though its spans are taken by the endpoint");
        Finding::broken(
            CHECK,
            found,
            "point JAEGER_URL at the Jaeger behind OTEL_EXPORTER_OTLP_ENDPOINT, or that at this one",
        )
    } else {
        Finding::note(CHECK, format!("{shown} does not know the service {service}, which has sent no span yet"))
    }]
}
