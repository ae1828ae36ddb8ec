//! Reports on the endpoint in metrics and log lines.

use std::time::{Duration, Instant};

use metrics::{Counter, Gauge, Recorder, SharedString};

use super::Config;
use super::refusals::PAUSE;
use crate::catalog::{self, METADATA, Metric};
use crate::otlp::send::Refusal;
use crate::throttle::Throttle;

/// Counts failures, and logs them once a minute at most.
pub(super) struct Health {
    failures: Counter,
    up: Gauge,
    throttle: Throttle,
    /// Whether the last log line was about a failure. Then the next success is logged.
    is_failing: bool,
}

impl Health {
    pub(super) fn new(recorder: &dyn Recorder) -> Self {
        let key = |metric: &Metric, value| metric.key([SharedString::const_str(value)]);
        let failures = recorder.register_counter(&key(&catalog::EXPORT_FAILURES, "metrics"), &METADATA);
        let up = recorder.register_gauge(&key(&catalog::PIPELINE_UP, "push"), &METADATA);
        up.set(1.0);
        Self { failures, up, throttle: Throttle::default(), is_failing: false }
    }

    pub(super) fn report_success(&mut self, config: &Config, was_paused: bool) {
        if was_paused {
            self.up.set(1.0);
        }
        if std::mem::take(&mut self.is_failing) {
            tracing::info!(target: "botticelli_obs", "push: {} takes metrics again", config.otlp);
        }
    }

    pub(super) fn report_failure(&mut self, config: &Config, refusal: &Refusal) {
        self.failures.increment(1);
        if !self.throttle.allow(Instant::now()) {
            return;
        }
        self.is_failing = true;
        tracing::warn!(
            target: "botticelli_obs",
            "push: {} takes no metrics: {refusal}; the program continues, and the next export includes all values", config.otlp
        );
    }

    /// Reports that nothing is sent for a while, and what was seen of the endpoint: how many refusals in how much time.
    pub(super) fn report_pause(&mut self, config: &Config, refusal: &Refusal, seen: (u32, Duration)) {
        self.failures.increment(1);
        self.up.set(0.0);
        self.is_failing = true;
        let (times, span) = seen;
        tracing::warn!(
            target: "botticelli_obs",
            "push: {} takes traces, but has refused metrics {times} times in {} s ({refusal}), as Jaeger does, which stores traces \
             only; metrics are sent again in {} minutes: {} or point OTEL_EXPORTER_OTLP_METRICS_ENDPOINT at a Collector",
            config.otlp,
            span.as_secs(),
            PAUSE.as_secs() / 60,
            match &config.listen {
                Some(listen) => format!("scrape http://{listen}/metrics"),
                None => "scrape the program, with OTEL_METRICS_EXPORTER=prometheus,".to_owned(),
            }
        );
    }
}
