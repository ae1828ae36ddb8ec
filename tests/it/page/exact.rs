//! Every record is counted once, in every snapshot that anybody reads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::page::Page;
use crate::support::{in_own_process, wait_for};
use botticelli_obs::{
    Builder, ErrorType, LlmCall, Unit, Usage, counter, describe_counter, describe_histogram, gauge, histogram,
    llm_request, metrics,
};

fn page_of(record: impl FnOnce()) -> Page {
    let (recorder, page) = Builder::new().recorder().expect("a recorder");
    metrics::with_local_recorder(&recorder, record);
    Page::parse(&page.render())
}

fn invalid(page: &Page, metric: &str) -> f64 {
    page.get("botticelli_obs_invalid_samples_total", &[("metric", metric)]).unwrap_or(0.0)
}

const MODELS: [&str; 3] = ["a", "b", "c"];

/// The calls that each of four threads makes; `EXACT_CALLS` sets another number.
fn calls() -> u64 {
    std::env::var("EXACT_CALLS").ok().and_then(|calls| calls.parse().ok()).unwrap_or(50_000)
}

/// Makes one of several kinds of calls.
fn call(number: u64) {
    let model = MODELS[(number % 3) as usize];
    match number % 4 {
        0 => llm_request!("gemini", model, duration: 0.5, prompt: 3, completion: 4),
        1 => LlmCall::start("gemini", model).fail(ErrorType::Timeout),
        2 => drop(LlmCall::start("gemini", model)),
        _ => {
            let mut call = LlmCall::start("gemini", model);
            call.record_usage(Usage::new(5, 6).with_cache_read(2));
            call.finish();
        }
    }
}

/// Checks what holds for each pair at every moment, and returns how many calls there are.
fn check(page: &Page) -> f64 {
    for model in MODELS {
        let value = |name: &str| page.get(name, &[("provider", "gemini"), ("model", model)]).unwrap_or(0.0);
        let errors: f64 =
            page.of("llm_errors_total").iter().filter(|(of, _)| of["model"] == model).map(|(_, n)| n).sum();
        assert_eq!(value("llm_requests_total"), value("llm_duration_count"), "{model}");
        assert!(errors <= value("llm_requests_total"), "{model}: {errors} errors");
        let tokens = value("llm_tokens_prompt_total") + value("llm_tokens_completion_total");
        assert_eq!(value("llm_tokens_total"), tokens, "{model}");
        assert!(value("llm_tokens_cache_read_total") <= value("llm_tokens_prompt_total"), "{model}");
    }
    page.sum("llm_requests_total")
}

#[test]
fn every_page_is_consistent_while_threads_record_and_the_sums_are_exact() {
    const THREADS: u64 = 4;
    in_own_process(&[("PROMETHEUS_ENDPOINT", "127.0.0.1:0")], || {
        let telemetry = Builder::new().install().expect("it installs");
        let addr = telemetry.metrics_addr().expect("there is a listener");
        let (calls, recording) = (calls(), AtomicBool::new(true));
        thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(|| (0..calls).for_each(call))).collect();
            let scraper = scope.spawn(|| {
                let (mut seen, mut pages) = (0.0, 0);
                while recording.load(Ordering::Relaxed) {
                    let scraped = crate::support::get(addr, "/metrics", Duration::from_secs(30)).expect("it answers");
                    for page in [scraped.body, telemetry.render()] {
                        let now = check(&Page::parse(&page));
                        assert!(now >= seen, "{now} calls after {seen}");
                        (seen, pages) = (now, pages + 1);
                    }
                    let summed: u64 = telemetry.summary().models().iter().map(|model| model.calls).sum();
                    assert!(summed as f64 >= seen);
                }
                pages
            });
            threads.into_iter().for_each(|thread| thread.join().expect("it records"));
            recording.store(false, Ordering::Relaxed);
            assert!(scraper.join().expect("every page is consistent") > 0);
        });
        let page = Page::parse(&telemetry.render());
        let all = (THREADS * calls) as f64;
        assert_eq!(check(&page), all);
        assert_eq!(page.sum("llm_errors_total"), all / 2.0);
        assert_eq!(page.sum("llm_tokens_total"), all / 4.0 * (7.0 + 11.0));
        assert_eq!(page.sum("llm_tokens_cache_read_total"), all / 4.0 * 2.0);
        assert_eq!(page.sum("llm_in_flight"), 0.0);
    });
}

#[test]
fn a_sample_recorded_many_times_costs_no_time_and_saturates() {
    let page = page_of(|| {
        histogram!("bulk").record_many(0.5, usize::MAX);
        histogram!("bulk").record_many(0.5, 3);
        histogram!("small").record_many(2.0, 1 << 40);
        histogram!("llm.duration", "provider" => "p", "model" => "m").record_many(0.5, usize::MAX);
    });
    assert_eq!(page.value("bulk_count", &[]), u64::MAX as f64);
    assert_eq!(page.value("small_count", &[]), (1_u64 << 40) as f64);
    assert_eq!(page.value("small_sum", &[]), (1_u64 << 41) as f64);
    assert_eq!(page.value("llm_duration_count", &[("provider", "p"), ("model", "m")]), u64::MAX as f64);
    assert_eq!(page.value("llm_requests_total", &[("provider", "p"), ("model", "m")]), 0.0, "samples are no calls");
}

#[test]
fn shutdown_is_quick_after_a_count_that_fits_no_63_bits() {
    in_own_process(&[("PROMETHEUS_ENDPOINT", "127.0.0.1:0")], || {
        let telemetry = Builder::new().install().expect("it installs");
        histogram!("bulk").record_many(0.5, usize::MAX);
        let addr = telemetry.metrics_addr().expect("there is a listener");
        Page::parse(&crate::support::get(addr, "/metrics", Duration::from_secs(5)).expect("it answers").body);
        telemetry.shutdown(Duration::from_secs(1)).expect("nothing is left");
    });
}

#[test]
fn counters_stop_at_the_highest_number() {
    let page = page_of(|| {
        counter!("jobs").increment(u64::MAX);
        counter!("jobs").increment(5);
        for error in ["auth", "timeout"] {
            counter!("llm.errors", "provider" => "p", "model" => "m", "error_type" => error).absolute(u64::MAX);
            counter!("llm.errors", "provider" => "p", "model" => "m", "error_type" => error).increment(1);
        }
    });
    assert_eq!(page.value("jobs_total", &[]), u64::MAX as f64);
    assert_eq!(page.sum("llm_errors_total"), 2.0 * u64::MAX as f64);
}

#[test]
fn a_summary_of_absurd_counts_is_capped() {
    in_own_process(&[("PROMETHEUS_ENDPOINT", "off")], || {
        let telemetry = Builder::new().install().expect("it installs");
        for error in ["auth", "timeout"] {
            counter!("llm.errors", "provider" => "p", "model" => "m", "error_type" => error).absolute(u64::MAX);
        }
        assert_eq!(telemetry.summary().models()[0].errors, u64::MAX);
    });
}

#[test]
fn tokens_that_no_call_can_have_are_dropped_and_counted() {
    let page = page_of(|| {
        for usage in [Usage::new(3_u64.wrapping_sub(5), 1), Usage::new(100, 100), Usage::new(100, 100)] {
            let mut call = LlmCall::start("p", "m");
            call.record_usage(usage);
            call.finish();
        }
        llm_request!("p", "m", duration: 0.5, prompt: u64::MAX, completion: 1);
    });
    assert_eq!(page.value("llm_tokens_prompt_total", &[("provider", "p"), ("model", "m")]), 200.0);
    assert_eq!(page.value("llm_tokens_total", &[("provider", "p"), ("model", "m")]), 400.0);
    assert_eq!(page.value("llm_requests_total", &[("provider", "p"), ("model", "m")]), 4.0);
    assert_eq!(page.value("llm_usage_missing_total", &[("provider", "p"), ("model", "m")]), 0.0);
    assert_eq!(invalid(&page, "llm_tokens_total"), 2.0);
}

#[test]
fn a_sum_that_would_be_infinite_stays_and_counts_as_invalid() {
    let page = page_of(|| {
        histogram!("size").record(f64::MAX);
        histogram!("size").record(f64::MAX);
        histogram!("size").record_many(1e300, usize::MAX);
        histogram!("size").record(f64::INFINITY);
    });
    assert_eq!(page.value("size_sum", &[]), f64::MAX);
    assert_eq!(invalid(&page, "size"), 1.0 + u64::MAX as f64 + 1.0);
}

#[test]
fn a_sum_that_would_be_infinite_together_with_what_was_read_before_counts_as_invalid() {
    const PAIR: [(&str, &str); 2] = [("provider", "p"), ("model", "m")];
    let (recorder, page) = Builder::new().recorder().expect("a recorder");
    metrics::with_local_recorder(&recorder, || {
        let calls = counter!("llm.requests", &PAIR);
        for _ in 0..3 {
            histogram!("size").record(f64::MAX);
            histogram!("llm.duration", &PAIR).record(f64::MAX);
            histogram!("llm.time_to_first_chunk", &PAIR).record(f64::MAX);
            page.render();
            // Reads too, for itself.
            calls.absolute(1);
        }
    });
    let page = Page::parse(&page.render());
    for name in ["size", "llm_duration", "llm_time_to_first_chunk_seconds"] {
        assert_eq!((page.sum(&format!("{name}_sum")), page.sum(&format!("{name}_count"))), (f64::MAX, 3.0), "{name}");
        assert_eq!(invalid(&page, name), 2.0, "{name}");
    }
}

#[test]
fn a_described_unit_gives_a_family_once() {
    let page = page_of(|| {
        describe_histogram!("job.latency", Unit::Seconds, "how long");
        histogram!("job.latency").record(0.5);
        gauge!("job.latency.seconds").set(1.0);
        describe_counter!("sent", Unit::Bytes, "how many");
        counter!("sent").increment(1);
        counter!("sent.bytes").increment(2);
        counter!("sent.bytes").increment(2);
    });
    assert_eq!(page.types["job_latency_seconds"], "histogram");
    assert_eq!(page.value("sent_bytes_total", &[]), 1.0);
    assert_eq!((invalid(&page, "job_latency_seconds"), invalid(&page, "sent_bytes_total")), (1.0, 2.0));
}

#[test]
fn a_histogram_whose_name_ends_in_count_has_its_parts() {
    let page = page_of(|| {
        for name in ["tool.count", "check.sum", "water.bucket", "subtotal"] {
            histogram!(name).record(3.0);
        }
        gauge!("tool.count.created").set(1.0);
    });
    for name in ["tool_count_count", "check_sum_count", "water_bucket_count", "subtotal_count"] {
        assert_eq!(page.value(name, &[]), 1.0);
    }
    assert_eq!(invalid(&page, "tool_count_created"), 1.0, "OpenMetrics keeps that name for the histogram");
}

#[test]
fn a_clash_of_names_is_logged_once_with_both_names() {
    let output = in_own_process(&[("PROMETHEUS_ENDPOINT", "off")], || {
        let telemetry = Builder::new().install().expect("it installs");
        gauge!("queue.total").set(1.0);
        for _ in 0..3 {
            counter!("queue").increment(1);
        }
        // A second report, in which nothing may be new.
        for bound in ["first", "second"] {
            (0..1_001).for_each(|id| counter!(format!("{bound}.jobs"), "id" => id.to_string()).increment(1));
            wait_for("the report", Duration::from_secs(30), || {
                let page = Page::parse(&telemetry.render());
                page.get("botticelli_obs_label_overflow_total", &[("metric", &format!("{bound}_jobs_total"))])
            });
            thread::sleep(Duration::from_millis(600));
        }
    });
    let Some(output) = output else { return };
    let log = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> =
        log.lines().filter(|line| line.contains("`queue`") && line.contains("`queue.total`")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    assert!(lines[0].contains("WARN") && lines[0].contains("queue_total"), "{log}");
}

#[test]
fn the_crates_own_health_is_never_folded() {
    in_own_process(&[("PROMETHEUS_ENDPOINT", "off")], || {
        let builder = Builder::new().with_max_series(1).with_trace_exporter(botticelli_obs::TraceExporter::Stdout);
        let telemetry = builder.install().expect("it installs");
        let page = Page::parse(&telemetry.render());
        for pipeline in ["metrics", "traces"] {
            assert_eq!(page.value("botticelli_obs_pipeline_up", &[("pipeline", pipeline)]), 1.0);
        }
        assert!(page.of("botticelli_obs_spans_dropped_total").len() > 1);
        assert!(page.samples.keys().all(|(_, labels)| labels.values().all(|value| value != "other")));
        for reason in ["a", "b", "c"] {
            counter!("jobs", "reason" => reason).increment(1);
        }
        let page = Page::parse(&telemetry.render());
        assert_eq!(page.of("botticelli_obs_label_overflow_total").len(), 2, "of pairs and of the program's own metric");
    });
}

#[test]
fn families_and_series_have_a_fixed_order() {
    let record = |models: &[&str]| {
        let (recorder, page) = Builder::new().recorder().expect("a recorder");
        metrics::with_local_recorder(&recorder, || {
            for model in models {
                counter!("zebra", "model" => (*model).to_owned()).increment(1);
                counter!("aardvark", "model" => (*model).to_owned()).increment(1);
                LlmCall::start("p", model).finish();
            }
        });
        let lines = page.render();
        let lines =
            lines.lines().filter(|line| !line.starts_with('#') && !line.contains("seconds") && !line.contains("_sum"));
        lines.filter(|line| !line.starts_with("target_info")).map(str::to_owned).collect::<Vec<_>>()
    };
    let named =
        |lines: &[String]| lines.iter().map(|line| line.split(' ').next().map(str::to_owned)).collect::<Vec<_>>();
    let (one, other) = (record(&["a", "b", "c"]), record(&["c", "a", "b"]));
    assert_eq!(named(&one), named(&other));
    let at = |start: &str| one.iter().position(|line| line.starts_with(start)).expect("it is there");
    assert!(at("llm_requests_total") < at("llm_duration_bucket") && at("llm_duration_bucket") < at("llm_tokens_total"));
    assert!(at("botticelli_obs_build_info") < at("aardvark_total") && at("aardvark_total") < at("zebra_total"));
}
