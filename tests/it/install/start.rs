//! `install()` in every kind of program, and what it serves there.

use std::net::SocketAddr;
use std::time::Duration;

use botticelli_obs::{Builder, InstallError, LlmCall, Telemetry, TraceExporter, Usage, llm_request, metrics, tracing};
use tokio::runtime;

use crate::support::page::Page;
use crate::support::process::own_threads;
use crate::support::{free_port, get, in_own_process};

const ANY_PORT: &[(&str, &str)] = &[("PROMETHEUS_ENDPOINT", "127.0.0.1:0")];
const PAIR: &[(&str, &str)] = &[("provider", "gemini"), ("model", "gemini-2.5-flash")];
const LIMIT: Duration = Duration::from_secs(30);

/// Records two calls and finds them on the page that is served.
fn records_and_serves(telemetry: &Telemetry) {
    let addr = telemetry.metrics_addr().expect("there is a listener");
    assert!(addr.ip().is_loopback() && addr.port() != 0, "{addr}");
    let mut call = LlmCall::start("gemini", "gemini-2.5-flash");
    call.record_usage(Usage::new(12, 30));
    call.finish();
    LlmCall::start("gemini", "gemini-2.5-flash").fail(botticelli_obs::ErrorType::RateLimit);

    let response = get(addr, "/metrics", LIMIT).expect("the page is served");
    assert_eq!(response.status, 200);
    let page = Page::parse(&response.body);
    assert_eq!(page.value("llm_requests_total", PAIR), 2.0);
    assert_eq!(page.value("llm_errors_total", &[PAIR, &[("error_type", "rate_limit")]].concat()), 1.0);
    assert_eq!(page.of("llm_errors_total").len(), 1, "nothing that has not happened");
    assert_eq!(page.value("llm_duration_count", PAIR), 2.0);
    assert_eq!(page.value("llm_tokens_total", PAIR), 42.0);
    assert_eq!(page.value("llm_tokens_prompt_total", PAIR), 12.0);
    assert_eq!(page.value("llm_tokens_completion_total", PAIR), 30.0);
    assert_eq!(page.value("botticelli_obs_pipeline_up", &[("pipeline", "metrics")]), 1.0);
    assert_eq!(Page::parse(&telemetry.render()).samples.keys().count(), page.samples.keys().count());
}

fn installs_records_and_shuts_down() {
    let telemetry = botticelli_obs::install().expect("it installs");
    records_and_serves(&telemetry);
    telemetry.shutdown(LIMIT).expect("nothing was lost");
}

#[test]
fn works_without_a_runtime() {
    in_own_process(ANY_PORT, installs_records_and_shuts_down);
}

#[test]
fn works_on_a_current_thread_runtime() {
    in_own_process(ANY_PORT, || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async { installs_records_and_shuts_down() });
    });
}

#[tokio::test]
async fn works_in_an_async_test() {
    in_own_process(ANY_PORT, installs_records_and_shuts_down);
}

#[test]
fn works_on_a_runtime_without_drivers() {
    in_own_process(ANY_PORT, || {
        let runtime = runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async { installs_records_and_shuts_down() });
    });
}

#[test]
fn works_in_a_task_of_a_multi_thread_runtime() {
    in_own_process(ANY_PORT, || {
        let runtime = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let task = runtime.spawn(async { installs_records_and_shuts_down() });
        runtime.block_on(task).expect("the task ends");
    });
}

#[test]
fn outlives_the_runtime_it_was_installed_on() {
    in_own_process(ANY_PORT, || {
        let runtime = runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        let telemetry = runtime.block_on(async { botticelli_obs::install() }).expect("it installs");
        drop(runtime);
        records_and_serves(&telemetry);
    });
}

#[test]
fn works_while_the_runtime_is_blocked() {
    in_own_process(ANY_PORT, || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let telemetry = botticelli_obs::install().expect("it installs");
            // The only thread of the program's runtime is in here until the page has come.
            records_and_serves(&telemetry);
            drop(telemetry);
        });
    });
}

#[test]
fn works_in_a_destructor_while_the_thread_unwinds() {
    struct InstallsWhenDropped;
    impl Drop for InstallsWhenDropped {
        fn drop(&mut self) {
            assert!(std::thread::panicking());
            installs_records_and_shuts_down();
        }
    }
    in_own_process(ANY_PORT, || {
        let panicked = std::panic::catch_unwind(|| {
            let _installs = InstallsWhenDropped;
            panic!("on purpose");
        });
        panicked.expect_err("the panic goes on");
        let again = botticelli_obs::install().expect_err("it was installed on the way");
        assert!(again.is_already_installed());
    });
}

#[test]
fn port_of_the_environment_is_used_and_code_beats_it() {
    let port = free_port().to_string();
    in_own_process(&[("PROMETHEUS_ENDPOINT", &port)], || {
        let port: u16 = std::env::var("PROMETHEUS_ENDPOINT").expect("set").parse().expect("a port");
        let wrong = Builder::new().with_prometheus_endpoint("nonsense").install().expect_err("code beats environment");
        assert!(wrong.to_string().contains("with_prometheus_endpoint"), "{wrong}");
        let telemetry = botticelli_obs::install().expect("it installs");
        assert_eq!(telemetry.metrics_addr(), Some(SocketAddr::from(([127, 0, 0, 1], port))));
        records_and_serves(&telemetry);
    });
}

#[test]
fn recorders_come_in_turn_and_none_gets_what_is_anothers() {
    in_own_process(ANY_PORT, || {
        let call = || {
            llm_request!("gemini", "gemini-2.5-flash");
            LlmCall::start("gemini", "gemini-2.5-flash").finish();
        };
        let (recorder, page) = Builder::new().recorder().expect("a recorder");
        call(); // before anything is installed
        metrics::with_local_recorder(&recorder, call);
        let telemetry = botticelli_obs::install().expect("it installs");
        for _ in 0..3 {
            call();
            metrics::with_local_recorder(&recorder, || {
                call();
                let (inner, inner_page) = Builder::new().recorder().expect("another");
                metrics::with_local_recorder(&inner, call);
                assert_eq!(Page::parse(&inner_page.render()).value("llm_requests_total", PAIR), 2.0);
                metrics::with_local_recorder(&metrics::NoopRecorder, call);
            });
        }
        assert_eq!(Page::parse(&telemetry.render()).value("llm_requests_total", PAIR), 6.0);
        assert_eq!(Page::parse(&page.render()).value("llm_requests_total", PAIR), 8.0);
    });
}

#[test]
fn second_install_is_an_error_that_says_so() {
    in_own_process(ANY_PORT, || {
        let telemetry = botticelli_obs::install().expect("it installs");
        let error = botticelli_obs::install().expect_err("it is installed");
        assert!(error.is_already_installed() && error.to_string().contains("call `install` once"), "{error}");
        records_and_serves(&telemetry);
        drop(telemetry);
        assert!(botticelli_obs::install().expect_err("it was installed").is_already_installed());
    });
}

#[test]
fn of_many_threads_exactly_one_installs() {
    in_own_process(ANY_PORT, || {
        let results: Vec<Result<Telemetry, InstallError>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..32).map(|_| scope.spawn(botticelli_obs::install)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        let (installed, refused): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
        assert_eq!((installed.len(), refused.len()), (1, 31));
        assert!(refused.iter().all(|refused| refused.as_ref().is_err_and(InstallError::is_already_installed)));
        records_and_serves(installed[0].as_ref().expect("it was installed"));
    });
}

#[test]
fn says_where_each_pipeline_goes_on_standard_error_only() {
    let port = free_port();
    let endpoint = format!("127.0.0.1:{port}");
    let Some(output) = in_own_process(&[("PROMETHEUS_ENDPOINT", &endpoint)], || {
        let telemetry = botticelli_obs::install().expect("it installs");
        telemetry.shutdown(LIMIT).expect("nothing was lost");
    }) else {
        return;
    };
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let lines: Vec<&str> = stderr.lines().filter(|line| line.contains("botticelli_obs:")).collect();
    let [metrics, traces] = lines.as_slice() else { panic!("one line a pipeline: {stderr}") };
    let wanted = format!(" INFO botticelli_obs: metrics: http://127.0.0.1:{port}/metrics");
    assert!(metrics.ends_with(&wanted), "{metrics}");
    assert!(
        traces.contains(" INFO botticelli_obs: traces: off; to send them, set OTEL_EXPORTER_OTLP_ENDPOINT"),
        "{traces}"
    );
    assert!(!stdout.contains("metrics:") && !stdout.contains("traces:"), "{stdout}");
}

#[cfg(feature = "otlp-grpc")]
#[test]
fn says_which_endpoint_takes_the_spans() {
    let variables = [("PROMETHEUS_ENDPOINT", "off"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4317")];
    let Some(output) = in_own_process(&variables, || {
        drop(botticelli_obs::install().expect("it installs"));
    }) else {
        return;
    };
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains(" INFO botticelli_obs: traces: OTLP/gRPC to http://localhost:4317\n"), "{stderr}");
    assert!(stderr.contains(" INFO botticelli_obs: metrics: no listener"), "{stderr}");
}

#[test]
fn empty_variables_are_unset() {
    let variables = [
        ("PROMETHEUS_ENDPOINT", ""),
        ("OTEL_EXPORTER_PROMETHEUS_PORT", "0"),
        ("BOTTICELLI_OBS_LOG_FORMAT", ""),
        ("BOTTICELLI_OBS_ON_FAILURE", " "),
        ("OTEL_SDK_DISABLED", ""),
        ("OTEL_TRACES_SAMPLER", ""),
        ("RUST_LOG", ""),
    ];
    let Some(output) = in_own_process(&variables, installs_records_and_shuts_down) else {
        return;
    };
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains(" INFO botticelli_obs: metrics: http://127.0.0.1:"), "{stderr}");
}

#[test]
fn sdk_disabled_keeps_logs_only() {
    let variables = [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "console"), ("PROMETHEUS_ENDPOINT", "0")];
    let Some(output) = in_own_process(&variables, || {
        let telemetry = botticelli_obs::install().expect("it installs");
        assert_eq!((telemetry.metrics_addr(), telemetry.render()), (None, String::new()));
        LlmCall::start("gemini", "gemini-2.5-flash").finish();
        tracing::info!("logs stay");
        assert!(own_threads().is_empty());
        metrics::set_global_recorder(metrics::NoopRecorder).expect("the recorder was left alone");
        telemetry.shutdown(LIMIT).expect("nothing was lost");
    }) else {
        return;
    };
    assert!(String::from_utf8_lossy(&output.stderr).contains("logs stay"));
    assert!(!String::from_utf8_lossy(&output.stdout).contains("span "));
}

#[test]
fn without_metrics_the_recorder_is_left_alone() {
    let variables = [("OTEL_METRICS_EXPORTER", "none")];
    in_own_process(&variables, || {
        let telemetry = botticelli_obs::install().expect("it installs");
        assert_eq!((telemetry.metrics_addr(), telemetry.render()), (None, String::new()));
        metrics::set_global_recorder(metrics::NoopRecorder).expect("the recorder was left alone");
        assert!(tracing::dispatcher::has_been_set());
    });
}

#[test]
fn without_subscriber_the_subscriber_is_left_alone() {
    in_own_process(ANY_PORT, || {
        let builder = Builder::new().without_subscriber().with_trace_exporter(TraceExporter::Stdout);
        let telemetry = builder.install().expect("it installs");
        tracing::subscriber::set_global_default(tracing::subscriber::NoSubscriber::new()).expect("it was left alone");
        records_and_serves(&telemetry);
    });
}

#[test]
fn with_everything_off_no_global_is_touched() {
    let variables =
        [("OTEL_METRICS_EXPORTER", "none"), ("OTEL_TRACES_EXPORTER", "none"), ("BOTTICELLI_OBS_LOG_FORMAT", "off")];
    let Some(output) = in_own_process(&variables, || {
        let telemetry = botticelli_obs::install().expect("it installs");
        assert!(own_threads().is_empty());
        metrics::set_global_recorder(metrics::NoopRecorder).expect("the recorder was left alone");
        tracing::subscriber::set_global_default(tracing::subscriber::NoSubscriber::new()).expect("it was left alone");
        telemetry.shutdown(LIMIT).expect("nothing was lost");
    }) else {
        return;
    };
    assert!(!String::from_utf8_lossy(&output.stderr).contains("botticelli_obs:"));
}
