//! Several exporters at once, and none.

use std::time::Duration;

use botticelli_obs::{Builder, LlmCall};

use crate::support::in_own_process;
use crate::support::page::Page;
use crate::support::peer::{Mood, Peer};

fn export() {
    let telemetry = Builder::new().without_listener().install().expect("it installs");
    LlmCall::start("gemini", "gemini-2.5-flash").finish();
    let page = Page::parse(&telemetry.render());
    assert_eq!(page.sum("llm_requests_total"), 1.0);
    telemetry.shutdown(Duration::from_secs(30)).expect("every span arrives");
}

#[test]
fn each_exporter_of_a_list_gets_every_span() {
    let peer = Peer::grpc(Mood::Takes);
    let endpoint = format!("http://{}", peer.addr);
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_TRACES_EXPORTER", "otlp,console")];
    if let Some(output) = in_own_process(&variables, export) {
        assert_eq!(peer.received().spans.len(), 1);
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert_eq!(stdout.matches("span \"chat gemini-2.5-flash\"").count(), 1, "{stdout}");
    }
}

#[test]
fn an_endpoint_that_is_off_is_no_host() {
    let variables = [("OTEL_TRACES_EXPORTER", "otlp"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "off")];
    if let Some(output) = in_own_process(&variables, export) {
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(log.contains("traces: off"), "{log}");
    }
}
