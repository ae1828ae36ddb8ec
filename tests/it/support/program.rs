//! A program that makes calls beside a trace backend, and what became of its spans.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use botticelli_obs::{Builder, FlushError, LlmCall, Telemetry, Usage};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};

use super::page::Page;
use super::{get, in_own_process};

pub const CALLS: u64 = 1_000;

/// What thousands of calls may take when the backend is in trouble: on a busy machine a second or two, while a single call that waits
/// for the backend takes longer than this.
pub const CALLS_LIMIT: Duration = Duration::from_secs(10);

/// What waiting may take beyond the time it was given, on a busy machine: less than the 5 s that the SDK's own limit would add.
pub const SLACK: Duration = Duration::from_secs(4);

/// A program under observation.
pub struct Program {
    pub telemetry: Telemetry,
    snapshotter: Snapshotter,
}

/// What became of the spans.
#[derive(Debug, PartialEq, Eq)]
pub struct Spans {
    pub exported: u64,
    pub dropped: u64,
    pub failures: u64,
    /// What the error of the shutdown said.
    pub said: u64,
}

impl Program {
    pub fn start() -> Self {
        Self::build(Builder::new())
    }

    /// Starts one that exports to this address whatever the environment says.
    pub fn exporting_to(addr: SocketAddr) -> Self {
        Self::build(Builder::new().with_otlp_endpoint(format!("http://{addr}")))
    }

    fn build(builder: Builder) -> Self {
        let recorder = DebuggingRecorder::new();
        let snapshotter = recorder.snapshotter();
        let started = Instant::now();
        let telemetry = builder
            .with_prometheus_endpoint("127.0.0.1:0")
            .add_recorder(recorder)
            .install()
            .expect("a backend in trouble does not keep a program from starting");
        assert!(started.elapsed() < CALLS_LIMIT, "install took {:?}", started.elapsed());
        Self { telemetry, snapshotter }
    }

    /// Makes calls, and checks that they are quick and on the page.
    pub fn call(&self, calls: u64) {
        let before = self.requests();
        let started = Instant::now();
        make_calls(calls);
        assert!(started.elapsed() < CALLS_LIMIT, "{calls} calls took {:?}", started.elapsed());
        assert_eq!(self.requests() - before, calls as f64);
    }

    /// The page as Prometheus gets it.
    pub fn page(&self) -> Page {
        let addr = self.telemetry.metrics_addr().expect("there is a listener");
        Page::parse(&get(addr, "/metrics", Duration::from_secs(30)).expect("the page is served").body)
    }

    pub fn requests(&self) -> f64 {
        self.page().sum("llm_requests_total")
    }

    pub fn exported(&self) -> f64 {
        self.page().sum("botticelli_obs_spans_exported_total")
    }

    /// Flushes, and checks that this takes no longer than allowed.
    pub fn flush(&self, timeout: Duration) -> Result<(), FlushError> {
        let started = Instant::now();
        let flushed = self.telemetry.flush(timeout);
        assert!(started.elapsed() < timeout + SLACK, "flush({timeout:?}) took {:?}", started.elapsed());
        flushed
    }

    /// Shuts down, checks that this takes no longer than allowed, and returns what became of the spans.
    pub fn shut_down(self, timeout: Duration) -> Spans {
        let started = Instant::now();
        let result = self.telemetry.shutdown(timeout);
        assert!(started.elapsed() < timeout + SLACK, "shutdown({timeout:?}) took {:?}", started.elapsed());
        assert_eq!(result.as_ref().map_or_else(FlushError::waiting_spans, |()| 0), 0);
        spans(&self.snapshotter, result.map_or_else(|error| error.lost_spans(), |()| 0))
    }

    /// Drops the telemetry, checks that this takes no longer than allowed, and returns what became of the spans.
    pub fn drop_telemetry(self) -> Spans {
        let started = Instant::now();
        drop(self.telemetry);
        assert!(started.elapsed() < Duration::from_secs(2) + SLACK, "drop took {:?}", started.elapsed());
        spans(&self.snapshotter, 0)
    }
}

fn spans(snapshotter: &Snapshotter, said: u64) -> Spans {
    let mut spans = Spans { exported: 0, dropped: 0, failures: 0, said };
    for (key, _, _, value) in snapshotter.snapshot().into_vec() {
        if let DebugValue::Counter(value) = value {
            match key.key().name() {
                "botticelli.obs.spans_exported" => spans.exported += value,
                "botticelli.obs.spans_dropped" => spans.dropped += value,
                "botticelli.obs.export_failures" => spans.failures += value,
                _ => {}
            }
        }
    }
    spans
}

/// Makes calls that succeed.
pub fn make_calls(calls: u64) {
    for _ in 0..calls {
        let mut call = LlmCall::start("gemini", "gemini-2.5-flash");
        call.record_usage(Usage::new(3, 4));
        call.finish();
    }
}

/// The variables of a program that exports to this address.
pub fn variables(addr: SocketAddr, protocol: &'static str) -> Vec<(&'static str, String)> {
    vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{addr}")),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol.to_owned()),
    ]
}

/// Those of one that exports only when it is told to, and then everything at once.
pub fn patient(addr: SocketAddr, protocol: &'static str) -> Vec<(&'static str, String)> {
    let mut variables = variables(addr, protocol);
    variables.push(("OTEL_BSP_SCHEDULE_DELAY", "600000".to_owned()));
    variables.push(("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2048".to_owned()));
    variables
}

/// Runs the scenario in a process of its own, which complains about the backend so many times and never panics; says whether this
/// is the parent.
pub fn observe(variables: &[(&str, String)], complaints: RangeInclusive<usize>, scenario: impl FnOnce()) -> bool {
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let Some(output) = in_own_process(&variables, scenario) else { return false };
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(complaints.contains(&log.matches("takes no spans").count()), "not {complaints:?} complaints: {log}");
    assert!(!log.contains("panicked"), "{log}");
    true
}

/// Which kind of runtime a scenario is run in.
const RUNTIME: &str = "TEST_RUNTIME";

/// Like [`observe`], for a scenario in each kind of program: without a runtime, and inside one of either kind.
pub fn observe_in_every_runtime(
    variables: &[(&'static str, String)],
    complaints: RangeInclusive<usize>,
    scenario: impl Fn(),
) -> bool {
    ["none", "current-thread", "multi-thread"].iter().all(|runtime| {
        let variables = [variables, &[(RUNTIME, (*runtime).to_owned())]].concat();
        observe(&variables, complaints.clone(), || inside_a_runtime(&scenario))
    })
}

fn inside_a_runtime(scenario: impl Fn()) {
    let mut builder = match std::env::var(RUNTIME).as_deref() {
        Ok("current-thread") => tokio::runtime::Builder::new_current_thread(),
        Ok("multi-thread") => tokio::runtime::Builder::new_multi_thread(),
        _ => return scenario(),
    };
    let runtime = builder.enable_all().build().expect("a runtime can be had");
    runtime.block_on(async { scenario() });
}
