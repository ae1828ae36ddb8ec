//! The process metrics: what `/proc` says of this process, on the page and wherever else it goes.

#![cfg(all(feature = "process", target_os = "linux"))]

use std::fs::{self, File};
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::support::page::Page;
use crate::support::warnings::Warnings;
use crate::support::{find_program, get, in_own_process, run_with_input, wait_for};
use botticelli_obs::{Builder, METRICS, MetricsHandle, counter, gauge};

fn value(handle: &MetricsHandle, name: &str) -> f64 {
    Page::parse(&handle.render()).value(name, &[])
}

/// A number of `/proc/self/status`, in bytes where it is in kB.
fn status(name: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("there is /proc");
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).expect("Linux has it");
    let (number, factor) = line.trim().strip_suffix(" kB").map_or((line.trim(), 1.0), |number| (number, 1024.0));
    number.parse::<f64>().expect("it is a number") * factor
}

/// Waits until the system has counted so much more CPU time than before.
fn work(handle: &MetricsHandle, seconds: f64) {
    let name = "process_cpu_seconds_total";
    let (before, deadline) = (value(handle, name), Instant::now() + Duration::from_secs(60));
    while value(handle, name) < before + seconds {
        assert!(Instant::now() < deadline, "the CPU time does not grow");
    }
}

#[test]
fn cpu_time_grows_by_fractions_of_a_second_and_no_faster_than_time() {
    in_own_process(&[], || {
        let (_recorder, handle) = Builder::new().recorder().expect("a recorder");
        let started = Instant::now();
        let before = value(&handle, "process_cpu_seconds_total");
        work(&handle, 0.03);
        let after = value(&handle, "process_cpu_seconds_total");
        // One thread works, and the kernel counts in hundredths.
        assert!(after - before < started.elapsed().as_secs_f64() + 0.1, "{before} and {after}");
        // They are less than a second apart.
        let values = [before, after].map(f64::fract);
        assert!(values.iter().any(|fraction| *fraction > 0.0), "{before} and {after}");
    });
}

#[test]
fn memory_and_threads_are_those_of_proc() {
    in_own_process(&[], || {
        let (_recorder, handle) = Builder::new().recorder().expect("a recorder");
        let before = value(&handle, "process_resident_memory_bytes");
        let used = std::hint::black_box(vec![1_u8; 64 << 20]);
        let resident = value(&handle, "process_resident_memory_bytes");
        assert!(resident - before > 60e6, "{before} and {resident} with {} bytes more", used.len());
        // The kernel counts pages a thread and a CPU apart.
        assert!((resident - status("VmRSS")).abs() < 8e6, "{resident} and {}", status("VmRSS"));
        let of_virtual = value(&handle, "process_virtual_memory_bytes");
        assert!((of_virtual - status("VmSize")).abs() < 8e6, "{of_virtual} and {}", status("VmSize"));

        let threads = value(&handle, "process_threads");
        assert_eq!(threads, status("Threads"));
        let (sender, receiver) = mpsc::channel::<()>();
        let waiting = thread::spawn(move || receiver.recv());
        assert_eq!(value(&handle, "process_threads"), threads + 1.0);
        drop(sender);
        let _ = waiting.join();
    });
}

#[test]
fn descriptors_are_counted_without_those_that_count_them() {
    in_own_process(&[], || {
        let (_recorder, handle) = Builder::new().recorder().expect("a recorder");
        let all = fs::read_dir("/proc/self/fd").expect("there is /proc").count();
        assert_eq!(value(&handle, "process_open_fds"), (all - 1) as f64);
        let files: Vec<File> = (0..30).map(|_| File::open("/proc/self/stat").expect("it can be opened")).collect();
        assert_eq!(value(&handle, "process_open_fds"), (all - 1 + files.len()) as f64);

        let limits = fs::read_to_string("/proc/self/limits").expect("there is /proc");
        let limit = limits.lines().find_map(|line| line.strip_prefix("Max open files")).expect("Linux has it");
        let limit = limit.split_whitespace().next().expect("the soft limit is first");
        assert_eq!(value(&handle, "process_max_fds").to_string(), limit);
    });
}

#[test]
fn the_start_is_just_now_and_stays() {
    in_own_process(&[], || {
        let (_recorder, handle) = Builder::new().recorder().expect("a recorder");
        let start = value(&handle, "process_start_time_seconds");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs_f64();
        assert!((-2.0..120.0).contains(&(now - start)), "{start} and it is {now}");
        let of_thread = thread::scope(|scope| scope.spawn(|| value(&handle, "process_start_time_seconds")).join());
        assert_eq!(of_thread.expect("it does not panic"), start, "whoever reads it");
    });
}

#[test]
fn a_real_page_has_the_families_of_the_catalogue_and_promtool_nothing_to_say() {
    in_own_process(&[], || {
        let builder = Builder::new().with_prometheus_endpoint("127.0.0.1:0").add_global_label("bot", "a");
        let telemetry = builder.install().expect("it installs");
        let addr = telemetry.metrics_addr().expect("there is a listener");
        let text = get(addr, "/metrics", Duration::from_secs(10)).expect("the page is served").body;
        let page = Page::parse(&text);
        let of_process: Vec<_> = METRICS.iter().filter(|metric| metric.name.starts_with("process.")).collect();
        assert_eq!(of_process.len(), 7);
        for metric in of_process {
            assert_eq!(page.types[metric.prometheus], metric.kind.as_str());
            assert_eq!(page.help[metric.prometheus], metric.description);
            assert!(page.value(metric.prometheus, &[("bot", "a")]) >= 0.0);
        }
        let Some(promtool) = find_program("promtool") else { return };
        let mut check = Command::new(promtool);
        check.args(["check", "metrics"]);
        let output = run_with_input(check, &text);
        let findings = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && findings.trim().is_empty(), "{findings}");
    });
}

#[test]
fn a_program_that_records_these_names_itself_gives_no_family_twice() {
    in_own_process(&[], || {
        let warnings = Warnings::default();
        let builder = Builder::new().without_listener().add_layer(warnings.clone());
        let telemetry = builder.install().expect("it installs");
        counter!("process_cpu_seconds_total").absolute(1_000_000);
        counter!("process.cpu_seconds").absolute(1_000_000);
        for name in ["process.open_fds", "process_open_fds", "process/open/fds"] {
            gauge!(name).set(-1.0);
        }
        gauge!("process_uptime_seconds").set(5.0);
        let page = Page::parse(&telemetry.render());
        assert!(page.value("process_cpu_seconds_total", &[]) < 1e5);
        assert!(page.value("process_open_fds", &[]) > 0.0);
        assert_eq!(page.value("process_uptime_seconds", &[]), 5.0);
        let invalid = |metric| page.value("botticelli_obs_invalid_samples_total", &[("metric", metric)]);
        assert_eq!((invalid("process_cpu_seconds_total"), invalid("process_open_fds")), (2.0, 3.0));
        wait_for("the program is told", Duration::from_secs(30), || {
            let said = "the name process_open_fds on the page, which `process.open_fds` has";
            (warnings.count(|warning| warning.contains(said)) > 0).then_some(())
        });
    });
}

#[cfg(all(feature = "otlp-metrics", feature = "otlp-grpc"))]
#[test]
fn cpu_time_is_pushed_with_its_fraction() {
    use crate::support::collected::CollectedMetrics;
    use crate::support::server::Collector;

    let name = "process_cpu_seconds_total";
    if crate::support::in_scenario() {
        in_own_process(&[], || {
            let telemetry = Builder::new().without_listener().install().expect("it installs");
            // The kernel counts in hundredths of a second, and a process as short as this may have used none.
            wait_for("the CPU time has a fraction", Duration::from_secs(60), || {
                (0..5_000_000).for_each(|number| _ = std::hint::black_box(number));
                Some(Page::parse(&telemetry.render()).value(name, &[])).filter(|seconds| seconds.fract() > 0.0)
            });
            telemetry.shutdown(Duration::from_secs(30)).expect("the metrics are taken");
        });
        return;
    }
    let addr = std::net::SocketAddr::from(([127, 0, 0, 1], crate::support::free_port()));
    let Some(collector) = Collector::of_metrics(addr) else { return };
    let endpoint = format!("http://{}", collector.grpc);
    let variables = [("OTEL_METRICS_EXPORTER", "otlp"), ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", endpoint.as_str())];
    in_own_process(&variables, || unreachable!("the child does not come here"));
    let got = wait_for("a fraction arrives", Duration::from_secs(60), || {
        let all = CollectedMetrics::parse_all(&collector.received());
        all.into_iter().rfind(|got| got.page.get(name, &[]).is_some_and(|seconds| seconds.fract() > 0.0))
    });
    assert_eq!((got.page.types[name].as_str(), got.temporality[name].as_str()), ("counter", "CUMULATIVE true"));
    assert!(got.page.value(name, &[]) < 60.0);
    assert_eq!(got.page.types["process_open_fds"], "gauge");
    assert!(got.page.value("process_open_fds", &[]) > 2.0);
}
