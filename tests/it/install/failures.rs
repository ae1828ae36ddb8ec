//! `install()` that can't: what the error says, what is left behind, and what still works under `degrade`.

use std::error::Error;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::process::Output;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use botticelli_obs::metrics::NoopRecorder;
use botticelli_obs::tracing::subscriber::NoSubscriber;
use botticelli_obs::{
    Builder, FailurePolicy, InstallError, Layer, LlmCall, LogFormat, Registry, Telemetry, TraceExporter, metrics,
    tracing,
};

use crate::support::page::Page;
use crate::support::process::own_threads;
use crate::support::{clear_environment, free_port, get, in_own_process, this_test, wait_for};

const LIMIT: Duration = Duration::from_secs(30);
const DEGRADE: (&str, &str) = ("BOTTICELLI_OBS_ON_FAILURE", "degrade");

fn taken_port() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let endpoint = listener.local_addr().expect("it is bound").to_string();
    (listener, endpoint)
}

fn set_foreign_recorder() {
    metrics::set_global_recorder(NoopRecorder).expect("it is the first recorder");
}

fn set_foreign_subscriber() {
    tracing::subscriber::set_global_default(NoSubscriber::new()).expect("it is the first subscriber");
}

fn no_thread_is_left() {
    wait_for("the crate's threads end", LIMIT, || own_threads().is_empty().then_some(()));
}

fn error_of(result: Result<Telemetry, InstallError>) -> (InstallError, String) {
    let error = result.expect_err("it can't install");
    let text = error.to_string();
    assert!(!text.ends_with('.') && !text.contains('\n'), "{text}");
    (error, text)
}

fn records(telemetry: &Telemetry) {
    LlmCall::start("gemini", "gemini-2.5-flash").finish();
    let addr = telemetry.metrics_addr().expect("there is a listener");
    let page = Page::parse(&get(addr, "/metrics", LIMIT).expect("the page is served").body);
    assert_eq!(page.sum("llm_requests_total"), 1.0);
}

#[test]
fn taken_port_leaves_nothing_and_another_port_works() {
    in_own_process(&[], || {
        let (taken, endpoint) = taken_port();
        let traces = TraceExporter::Stdout;
        let install =
            |endpoint: &str| Builder::new().with_prometheus_endpoint(endpoint).with_trace_exporter(traces).install();
        let (error, text) = error_of(install(&endpoint));
        assert!(error.is_start_failure() && !error.is_already_installed(), "{error:?}");
        assert!(text.contains(&endpoint) && text.contains("free the port") && text.contains("PROMETHEUS_ENDPOINT"));
        let source = error.source().and_then(|source| source.downcast_ref::<io::Error>()).expect("the system's error");
        assert_eq!(source.kind(), io::ErrorKind::AddrInUse);
        assert!(format!("{error:?}").contains(&source.to_string()), "{error:?}");
        no_thread_is_left();

        LlmCall::start("gemini", "gemini-2.5-flash").finish();
        drop(taken);
        let telemetry = install(&endpoint).expect("the port is free now");
        assert_eq!(telemetry.metrics_addr().map(|addr| addr.to_string()), Some(endpoint));
        records(&telemetry);
    });
}

#[test]
fn taken_port_leaves_both_globals_to_others() {
    in_own_process(&[], || {
        let (_taken, endpoint) = taken_port();
        error_of(Builder::new().with_prometheus_endpoint(endpoint).install());
        set_foreign_recorder();
        set_foreign_subscriber();
    });
}

#[test]
fn bad_variable_is_named_and_code_can_replace_it() {
    let variables = [("PROMETHEUS_ENDPOINT", "127.0.0.1:0"), ("OTEL_TRACES_SAMPLER", "sometimes")];
    in_own_process(&variables, || {
        let (error, text) = error_of(botticelli_obs::install());
        assert!(error.is_invalid_setting(), "{error:?}");
        assert!(text.starts_with(r#"OTEL_TRACES_SAMPLER="sometimes": "#) && text.contains("always_on"), "{text}");
        no_thread_is_left();

        let builder = Builder::new().with_sampler(botticelli_obs::Sampler::AlwaysOn);
        records(&builder.install().expect("the variable is not asked"));
    });
}

#[test]
fn bad_variable_leaves_both_globals_to_others() {
    let variables = [("PROMETHEUS_ENDPOINT", "127.0.0.1:0"), ("BOTTICELLI_OBS_ALLOWED_NETWORKS", "10.0.0.0/40")];
    in_own_process(&variables, || {
        let (_, text) = error_of(botticelli_obs::install());
        assert!(text.starts_with(r#"BOTTICELLI_OBS_ALLOWED_NETWORKS="10.0.0.0/40": "#), "{text}");
        set_foreign_recorder();
        set_foreign_subscriber();
        no_thread_is_left();
    });
}

#[test]
fn variable_that_is_not_unicode_is_named() {
    use std::os::unix::ffi::OsStrExt;

    if std::env::var_os("SCENARIO_PROCESS").is_some() {
        let (error, text) = error_of(botticelli_obs::install());
        assert!(error.is_invalid_setting() && text.starts_with("PROMETHEUS_ENDPOINT="), "{text}");
        return;
    }
    let mut child = std::process::Command::new(std::env::current_exe().expect("the test's own path"));
    clear_environment(&mut child);
    let child = child.args(["--exact", &this_test(), "--nocapture"]).env("SCENARIO_PROCESS", "1");
    let output = child.env("PROMETHEUS_ENDPOINT", std::ffi::OsStr::from_bytes(b"127.0.0.1:\xff")).output();
    assert!(output.expect("it runs").status.success());
}

#[test]
fn foreign_recorder_is_told_apart_and_leaves_the_subscriber_and_the_port() {
    let port = free_port();
    let endpoint = format!("127.0.0.1:{port}");
    in_own_process(&[("PROMETHEUS_ENDPOINT", &endpoint)], || {
        set_foreign_recorder();
        let (error, text) = error_of(Builder::new().with_trace_exporter(TraceExporter::Stdout).install());
        assert!(error.is_foreign_recorder() && !error.is_foreign_subscriber(), "{error:?}");
        assert!(text.contains("`metrics` recorder") && text.contains("Builder::recorder"), "{text}");
        no_thread_is_left();
        let endpoint = std::env::var("PROMETHEUS_ENDPOINT").expect("it is set");
        TcpListener::bind(endpoint).expect("the port is free again");
        set_foreign_subscriber();
    });
}

#[test]
fn foreign_subscriber_is_told_apart_and_the_recorder_can_be_armed_later() {
    let port = free_port();
    let endpoint = format!("127.0.0.1:{port}");
    in_own_process(&[("PROMETHEUS_ENDPOINT", &endpoint)], || {
        set_foreign_subscriber();
        for _ in 0..2 {
            let (error, text) = error_of(Builder::new().with_trace_exporter(TraceExporter::Stdout).install());
            assert!(error.is_foreign_subscriber() && !error.is_foreign_recorder(), "{error:?}");
            assert!(text.contains("`tracing` subscriber"), "{text}");
            assert!(text.contains("Builder::without_subscriber") && text.contains("Builder::trace_layer"), "{text}");
            no_thread_is_left();
            let endpoint = std::env::var("PROMETHEUS_ENDPOINT").expect("it is set");
            TcpListener::bind(endpoint).expect("the port is free again");
            // Our shell is the recorder now; it takes this and forgets it.
            LlmCall::start("gemini", "gemini-2.5-flash").finish();
        }
        records(&Builder::new().without_subscriber().install().expect("the advice of the error helps"));
    });
}

#[test]
fn errors_can_travel() {
    fn travels<T: Error + Send + Sync + 'static>() {}
    travels::<InstallError>();
    travels::<botticelli_obs::FlushError>();
}

/// Exactly one ERROR line, which says this and ends so.
fn one_error_line(output: &Output, start: &str, end: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = stderr.lines().filter(|line| line.contains("ERROR")).collect();
    let start = format!("ERROR botticelli_obs: {start}");
    assert!(
        matches!(lines.as_slice(), [line] if line.contains(&start) && line.ends_with(end)),
        "{start}…{end}: {stderr}"
    );
}

fn up(telemetry: &Telemetry, pipeline: &str) -> Option<f64> {
    Page::parse(&telemetry.render()).get("botticelli_obs_pipeline_up", &[("pipeline", pipeline)])
}

fn requests(telemetry: &Telemetry) -> f64 {
    Page::parse(&telemetry.render()).sum("llm_requests_total")
}

#[test]
fn degraded_listener_leaves_page_and_traces() {
    let (taken, endpoint) = taken_port();
    let variables = [("PROMETHEUS_ENDPOINT", endpoint.as_str()), ("OTEL_EXPORTER", "stdout"), DEGRADE];
    let Some(output) = in_own_process(&variables, || {
        let telemetry = botticelli_obs::install().expect("it installs all the same");
        assert_eq!(telemetry.metrics_addr(), None);
        LlmCall::start("gemini", "gemini-2.5-flash").finish();
        assert_eq!((up(&telemetry, "metrics"), up(&telemetry, "traces")), (Some(0.0), Some(1.0)));
        assert_eq!(requests(&telemetry), 1.0);
        telemetry.shutdown(LIMIT).expect("nothing was lost");
    }) else {
        return;
    };
    drop(taken);
    one_error_line(&output, &format!("metrics: can't listen on {endpoint}: free the port"), "without metrics");
    assert!(String::from_utf8_lossy(&output.stdout).contains("span \"chat gemini-2.5-flash\""));
}

#[cfg(any(feature = "otlp-grpc", feature = "otlp-http"))]
#[test]
fn degraded_traces_leave_metrics() {
    let variables =
        [("PROMETHEUS_ENDPOINT", "127.0.0.1:0"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://localhost"), DEGRADE];
    let Some(output) = in_own_process(&variables, || {
        let telemetry = botticelli_obs::install().expect("it installs all the same");
        records(&telemetry);
        assert_eq!((up(&telemetry, "metrics"), up(&telemetry, "traces")), (Some(1.0), Some(0.0)));
    }) else {
        return;
    };
    one_error_line(&output, "OTEL_EXPORTER_OTLP_ENDPOINT=", "without traces");
}

#[test]
fn degraded_by_a_bad_setting_of_the_metrics_the_page_is_still_rendered() {
    let variables = [("PROMETHEUS_ENDPOINT", "nowhere"), DEGRADE];
    let Some(output) = in_own_process(&variables, || {
        let telemetry = botticelli_obs::install().expect("it installs all the same");
        LlmCall::start("gemini", "gemini-2.5-flash").finish();
        assert_eq!((telemetry.metrics_addr(), up(&telemetry, "metrics")), (None, Some(0.0)));
        assert_eq!(requests(&telemetry), 1.0);
    }) else {
        return;
    };
    one_error_line(&output, "PROMETHEUS_ENDPOINT=\"nowhere\"", "without metrics");
}

#[test]
fn degraded_by_a_foreign_recorder_the_traces_work() {
    let variables = [("PROMETHEUS_ENDPOINT", "127.0.0.1:0"), ("OTEL_EXPORTER", "stdout")];
    let Some(output) = in_own_process(&variables, || {
        set_foreign_recorder();
        let builder = Builder::new().with_failure_policy(FailurePolicy::Degrade);
        let telemetry = builder.install().expect("it installs all the same");
        assert_eq!((up(&telemetry, "metrics"), up(&telemetry, "traces")), (Some(0.0), Some(1.0)));
        LlmCall::start("gemini", "gemini-2.5-flash").finish();
        assert_eq!(requests(&telemetry), 0.0);
        telemetry.shutdown(LIMIT).expect("nothing was lost");
    }) else {
        return;
    };
    one_error_line(&output, "the program has a global `metrics` recorder", "without metrics");
    assert!(String::from_utf8_lossy(&output.stdout).contains("span \"chat gemini-2.5-flash\""));
}

/// Keeps level and message of events.
#[derive(Clone, Default)]
struct Messages(Arc<Mutex<Vec<(tracing::Level, String)>>>);

impl Messages {
    fn of(&self, level: tracing::Level) -> Vec<String> {
        let messages = self.0.lock().expect("no panic");
        messages.iter().filter(|(of, _)| *of == level).map(|(_, message)| message.clone()).collect()
    }
}

impl<S: tracing::Subscriber> Layer<S> for Messages {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        let keep = |_: &tracing::field::Field, value: &dyn std::fmt::Debug| {
            self.0.lock().expect("no panic").push((*event.metadata().level(), format!("{value:?}")));
        };
        event.record(&mut { keep });
    }
}

#[test]
fn degraded_by_a_foreign_subscriber_the_metrics_work_and_the_error_goes_there() {
    let variables = [("PROMETHEUS_ENDPOINT", "127.0.0.1:0"), ("OTEL_EXPORTER", "stdout"), DEGRADE];
    in_own_process(&variables, || {
        let messages = Messages::default();
        let foreign = messages.clone().with_subscriber(Registry::default());
        tracing::subscriber::set_global_default(foreign).expect("it is the first subscriber");
        let telemetry = botticelli_obs::install().expect("it installs all the same");
        records(&telemetry);
        assert_eq!((up(&telemetry, "metrics"), up(&telemetry, "traces")), (Some(1.0), Some(0.0)));
        let errors = messages.of(tracing::Level::ERROR);
        assert!(matches!(errors.as_slice(), [error] if error.contains("global `tracing` subscriber")), "{errors:?}");
    });
}

#[test]
fn without_a_subscriber_of_ours_nobody_is_told_to_switch_traces_on() {
    let variables = [("PROMETHEUS_ENDPOINT", "off"), ("OTEL_EXPORTER", "stdout")];
    in_own_process(&variables, || {
        let messages = Messages::default();
        let foreign = messages.clone().with_subscriber(Registry::default());
        tracing::subscriber::set_global_default(foreign).expect("it is the first subscriber");
        let _telemetry = Builder::new().without_subscriber().install().expect("it installs");
        let lines = messages.of(tracing::Level::INFO);
        let [metrics, traces] = lines.as_slice() else { panic!("one line a pipeline: {lines:?}") };
        assert!(metrics.starts_with("metrics: ") && traces.starts_with("traces: left to"), "{lines:?}");
    });
}

#[test]
fn address_of_another_machine_is_not_called_taken() {
    // Of the range kept for documentation.
    in_own_process(&[], || {
        let (error, text) = error_of(Builder::new().with_prometheus_endpoint("192.0.2.1:9464").install());
        assert!(error.is_start_failure(), "{error:?}");
        assert!(text.contains("192.0.2.1:9464: set PROMETHEUS_ENDPOINT") && !text.contains("free the port"), "{text}");
    });
}

#[test]
fn bad_log_setting_is_an_error_and_degraded_to_text() {
    let variables = [("PROMETHEUS_ENDPOINT", "127.0.0.1:0"), ("BOTTICELLI_OBS_LOG_FORMAT", "xml")];
    let Some(output) = in_own_process(&variables, || {
        let (_, text) = error_of(botticelli_obs::install());
        assert!(text.starts_with(r#"BOTTICELLI_OBS_LOG_FORMAT="xml": "#), "{text}");
        let (_, text) = error_of(Builder::new().with_log_format(LogFormat::Off).with_log_filter("a=b=c").install());
        assert!(text.starts_with(r#"with_log_filter="a=b=c": "#), "{text}");
        let builder = Builder::new().with_failure_policy(FailurePolicy::Degrade);
        let telemetry = builder.install().expect("it installs all the same");
        records(&telemetry);
        assert_eq!(up(&telemetry, "metrics"), Some(1.0));
    }) else {
        return;
    };
    one_error_line(&output, "BOTTICELLI_OBS_LOG_FORMAT=\"xml\"", "logs are as by default");
}

#[test]
fn bad_failure_policy_is_an_error() {
    let variables = [("PROMETHEUS_ENDPOINT", "127.0.0.1:0"), ("BOTTICELLI_OBS_ON_FAILURE", "ignore")];
    in_own_process(&variables, || {
        let (_, text) = error_of(botticelli_obs::install());
        assert_eq!(text, r#"BOTTICELLI_OBS_ON_FAILURE="ignore": not one of fail, degrade"#);
    });
}

#[test]
fn default_port_that_is_taken_is_named() {
    in_own_process(&[], || {
        // Whoever has the port, this process or another program, it is taken.
        let _taken = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 9464)));
        let (_, text) = error_of(botticelli_obs::install());
        assert!(text.contains("127.0.0.1:9464"), "{text}");
    });
}

#[test]
fn an_address_that_cannot_be_had_is_named_by_its_setting() {
    for (name, value) in
        [("OTEL_EXPORTER_PROMETHEUS_HOST", "no-such-host.invalid"), ("PROMETHEUS_ENDPOINT", "no-such-host.invalid:1")]
    {
        in_own_process(&[(name, value), ("NAME", name)], || {
            let (error, text) = error_of(Builder::new().install());
            let name = std::env::var("NAME").expect("the parent has set it");
            assert!(error.is_start_failure() && text.contains(&name), "{text}");
        });
    }
}
