//! Programs that fork after they have installed: the child records nothing and harms nothing, and the parent goes on.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use botticelli_obs::subscriber::Registry;
use botticelli_obs::{
    Builder, FlushError, LlmCall, Telemetry, TraceExporter, Usage, counter, gauge, histogram, llm_request, metrics,
    tracing,
};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use tracing_subscriber::layer::SubscriberExt;

use crate::support::page::Page;
use crate::support::server::Folder;
use crate::support::{get, in_own_process, in_scenario, wait_for};

const LIMIT: Duration = Duration::from_secs(30);

/// Runs this in a child, and checks that it ends in time and does not panic.
#[expect(unsafe_code, reason = "the standard library can't fork")]
#[track_caller]
fn in_child(work: impl FnOnce()) {
    // SAFETY: what the child does with the memory of a process with threads is what is tested. It ends without unwinding into the
    // test harness, whose threads it does not have.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let is_done = catch_unwind(AssertUnwindSafe(work)).is_ok();
        // SAFETY: it ends the process.
        unsafe { libc::_exit(i32::from(!is_done)) };
    }
    assert!(child > 0, "the system can fork");
    let deadline = Instant::now() + LIMIT;
    loop {
        let mut status = 0;
        // SAFETY: `status` is valid, and the child is one of this process.
        let ended = unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) };
        if ended == child {
            return assert_eq!(status, 0, "the child's status: what it said is on stderr");
        }
        if Instant::now() > deadline {
            // SAFETY: as above.
            unsafe { libc::kill(child, libc::SIGKILL) };
            panic!("the child does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn call() {
    let mut call = LlmCall::start("gemini", "gemini-2.5-flash");
    call.record_usage(Usage::new(12, 30));
    call.finish();
}

/// Records in every way that there is.
fn record() {
    call();
    llm_request!("ollama", "llama3.2");
    LlmCall::start("new", "model").finish();
    counter!("jobs").increment(1);
    gauge!("level").set(3.0);
    histogram!("latency").record(0.5);
    botticelli_obs::declare("declared", "model");
    tracing::info_span!("a span of the program").in_scope(|| tracing::info!("inside"));
}

fn is_told(result: Result<(), FlushError>) {
    let error = result.expect_err("nothing is flushed here");
    assert!(error.is_forked() && error.to_string().contains("fork first"), "{error}");
    assert_eq!((error.lost_spans(), error.waiting_spans()), (0, 0));
}

/// The page as Prometheus gets it.
fn scraped(telemetry: &Telemetry) -> Page {
    let addr = telemetry.metrics_addr().expect("there is a listener");
    Page::parse(&get(addr, "/metrics", LIMIT).expect("the page is served").body)
}

#[test]
fn child_ends_and_its_parent_goes_on() {
    let variables = [("PROMETHEUS_ENDPOINT", "127.0.0.1:0"), ("OTEL_TRACES_EXPORTER", "console")];
    let Some(output) = in_own_process(&variables, || {
        let telemetry = botticelli_obs::install().expect("it installs");
        call();
        let mut telemetry = Some(telemetry);
        in_child(|| {
            record();
            let telemetry = telemetry.take().expect("it is there");
            is_told(telemetry.flush(LIMIT));
            is_told(telemetry.shutdown(LIMIT));
            record();
        });
        in_child(|| {
            record();
            drop(telemetry.take());
            record();
        });
        let telemetry = telemetry.expect("the parent's is not touched");
        call();
        let page = scraped(&telemetry);
        assert_eq!(page.sum("llm_requests_total"), 2.0);
        assert!(page.of("jobs_total").is_empty());
        telemetry.flush(LIMIT).expect("nothing was lost");
        assert_eq!(scraped(&telemetry).sum("botticelli_obs_spans_exported_total"), 2.0);
        telemetry.shutdown(LIMIT).expect("nothing was lost");
    }) else {
        return;
    };
    let (spans, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(spans.matches("span \"chat gemini-2.5-flash\"").count(), 2, "{spans}");
    assert!(!spans.contains("a span of the program") && !log.contains("panicked"), "{spans}{log}");
}

#[test]
fn child_leaves_the_text_file_to_its_parent() {
    let folder = (!in_scenario()).then(|| Folder::new("fork"));
    let path = folder.as_ref().map(|folder| folder.path().join("bot.prom")).unwrap_or_default();
    let file = path.to_string_lossy();
    in_own_process(&[("PROMETHEUS_ENDPOINT", "off"), ("BOTTICELLI_OBS_TEXTFILE", &file)], || {
        let mut telemetry = Some(botticelli_obs::install().expect("it installs"));
        call();
        in_child(|| is_told(telemetry.take().expect("it is there").shutdown(LIMIT)));
        in_child(|| drop(telemetry.take()));
        telemetry.expect("the parent's is not touched").shutdown(LIMIT).expect("the totals are written");
    });
    if folder.is_some() {
        let text = fs::read_to_string(&path).expect("the file is there");
        assert!(text.contains(r#"llm_requests_total{provider="gemini",model="gemini-2.5-flash"} 1"#), "{text}");
    }
}

#[test]
fn child_records_nothing_anywhere() {
    in_own_process(&[("OTEL_TRACES_EXPORTER", "console")], || {
        let added = DebuggingRecorder::new();
        let snapshotter = added.snapshotter();
        let telemetry = Builder::new().without_listener().add_recorder(added).install().expect("it installs");
        record();
        let in_flight = LlmCall::start("gemini", "gemini-2.5-flash");
        let mut in_flight = Some(in_flight);
        snapshotter.snapshot();
        in_child(|| {
            record();
            std::thread::spawn(record).join().expect("no panic");
            let counted = snapshotter.snapshot().into_vec();
            let recorded = counted.iter().find(|(_, _, _, value)| match value {
                DebugValue::Counter(count) => *count > 0,
                DebugValue::Gauge(_) => false,
                DebugValue::Histogram(samples) => !samples.is_empty(),
            });
            assert!(recorded.is_none(), "{recorded:?}");
            assert_eq!(telemetry.render(), "");
            assert!(telemetry.summary().models().is_empty());
            drop(in_flight.take());
        });
        in_flight.expect("the parent's is not touched").finish();
        assert_eq!(Page::parse(&telemetry.render()).sum("llm_requests_total"), 4.0);
        telemetry.shutdown(LIMIT).expect("nothing was lost");
    });
}

#[test]
fn child_can_leave_single_parts_and_make_its_own() {
    in_own_process(&[], || {
        let (recorder, page) = Builder::new().recorder().expect("a recorder");
        let stdout = || Builder::new().with_trace_exporter(TraceExporter::Stdout);
        let (layer, guard) = stdout().trace_layer::<Registry>().expect("a layer");
        tracing::subscriber::set_global_default(Registry::default().with(layer)).expect("it is the first");
        let id = |page: &str| {
            let target =
                Page::parse(page).of("target_info").first().map(|(labels, _)| labels["service_instance_id"].clone());
            target.expect("it is on every page")
        };
        metrics::with_local_recorder(&recorder, record);
        let of_parent = id(&page.render());
        let (mut page, mut guard) = (Some(page), Some(guard));
        in_child(|| {
            metrics::with_local_recorder(&recorder, record);
            let (page, guard) = (page.take().expect("it is there"), guard.take().expect("it is there"));
            assert_eq!(page.render(), "");
            is_told(guard.flush(LIMIT));
            is_told(guard.shutdown(LIMIT));
            drop((recorder.clone(), page));
            // Its own are another process' and work.
            let (recorder, page) = Builder::new().recorder().expect("a recorder");
            metrics::with_local_recorder(&recorder, call);
            assert_eq!(Page::parse(&page.render()).sum("llm_requests_total"), 1.0);
            assert_ne!(id(&page.render()), of_parent);
            let (_, guard) = stdout().trace_layer::<Registry>().expect("a layer");
            guard.shutdown(LIMIT).expect("nothing was lost");
        });
        in_child(|| drop((page.take(), guard.take())));
        metrics::with_local_recorder(&recorder, record);
        assert_eq!(Page::parse(&page.expect("it is there").render()).sum("llm_requests_total"), 6.0);
        guard.expect("it is there").shutdown(LIMIT).expect("nothing was lost");
    });
}

#[test]
fn child_that_installs_is_told_to_do_so_after_the_fork() {
    in_own_process(&[("PROMETHEUS_ENDPOINT", "off")], || {
        // Of a process that has not installed yet the child is like any other.
        in_child(|| {
            let telemetry = botticelli_obs::install().expect("it installs");
            call();
            assert_eq!(Page::parse(&telemetry.render()).sum("llm_requests_total"), 1.0);
            telemetry.shutdown(LIMIT).expect("nothing was lost");
        });
        let _telemetry = botticelli_obs::install().expect("it installs");
        in_child(|| {
            let error = botticelli_obs::install().expect_err("the recorder is taken");
            assert!(error.is_already_installed() && error.to_string().contains("fork first"), "{error}");
        });
    });
}

/// Whatever the threads hold at the moment of the fork, the child does not wait for it.
#[test]
fn children_of_a_busy_program_end() {
    in_own_process(&[("PROMETHEUS_ENDPOINT", "127.0.0.1:0"), ("OTEL_TRACES_EXPORTER", "console")], || {
        let telemetry = botticelli_obs::install().expect("it installs");
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for thread in 0..2 {
                let is_over = &is_over;
                scope.spawn(move || {
                    for number in 0.. {
                        if is_over.load(Ordering::Relaxed) {
                            return;
                        }
                        LlmCall::start("gemini", format!("model-{thread}-{number}")).finish();
                        counter!("jobs", "id" => format!("{thread}-{number}")).increment(1);
                    }
                });
            }
            let mut telemetry = Some(telemetry);
            for _ in 0..8 {
                let mut open = Some(LlmCall::start("gemini", "gemini-2.5-flash"));
                in_child(|| {
                    record();
                    drop(open.take());
                    let _ = telemetry.as_ref().map(Telemetry::render);
                    drop(telemetry.take());
                });
            }
            is_over.store(true, Ordering::Relaxed);
            let telemetry = telemetry.expect("the parent's is not touched");
            wait_for("the page is served", LIMIT, || {
                (scraped(&telemetry).sum("llm_requests_total") > 0.0).then_some(())
            });
        });
    });
}
