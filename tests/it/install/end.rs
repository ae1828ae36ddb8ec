//! What is left of an installation: nothing runs, nothing listens, nothing grows; and nothing grows while it lasts.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use botticelli_obs::{Builder, Layer, LlmCall, Telemetry, TraceExporter, Usage, counter, gauge, histogram, tracing};
use tracing_subscriber::layer::Context;

use crate::support::page::Page;
use crate::support::process::{own_threads, resident_memory};
use crate::support::{in_own_process, wait_for};

const LIMIT: Duration = Duration::from_secs(30);
const MIB: u64 = 1024 * 1024;
const SAMPLES: usize = 5_000_000;

fn installed() -> (Telemetry, SocketAddr) {
    let telemetry = Builder::new().with_prometheus_endpoint("127.0.0.1:0").install().expect("it installs");
    let addr = telemetry.metrics_addr().expect("there is a listener");
    TcpStream::connect(addr).expect("it listens");
    (telemetry, addr)
}

fn nothing_runs_or_listens(addr: SocketAddr) {
    wait_for("the port is closed", LIMIT, || TcpStream::connect(addr).is_err().then_some(()));
    TcpListener::bind(addr).expect("the port is free");
    wait_for("the crate's threads end", LIMIT, || own_threads().is_empty().then_some(()));
}

#[test]
fn shutdown_closes_the_port_and_ends_the_threads() {
    in_own_process(&[], || {
        let (telemetry, addr) = installed();
        telemetry.shutdown(LIMIT).expect("nothing was lost");
        nothing_runs_or_listens(addr);
    });
}

#[test]
fn drop_closes_the_port_and_ends_the_threads() {
    in_own_process(&[], || {
        let (telemetry, addr) = installed();
        // A scraper that keeps its connection open does not keep the port.
        let _open = TcpStream::connect(addr).expect("it listens");
        drop(telemetry);
        nothing_runs_or_listens(addr);
    });
}

#[test]
fn shutdown_with_traces_ends_their_threads_too() {
    in_own_process(&[], || {
        let builder = Builder::new().with_prometheus_endpoint("127.0.0.1:0");
        let telemetry = builder.with_trace_exporter(TraceExporter::Stdout).install().expect("it installs");
        let addr = telemetry.metrics_addr().expect("there is a listener");
        LlmCall::start("gemini", "gemini-2.5-flash").finish();
        telemetry.shutdown(LIMIT).expect("nothing was lost");
        nothing_runs_or_listens(addr);
        // Spans go nowhere now, and nobody stumbles over them.
        LlmCall::start("gemini", "gemini-2.5-flash").finish();
    });
}

#[test]
fn without_traces_flush_and_shutdown_return_at_once() {
    in_own_process(&[], || {
        let (telemetry, _) = installed();
        let started = Instant::now();
        let hour = Duration::from_secs(3600);
        telemetry.flush(hour).expect("nothing was lost");
        telemetry.flush(Duration::ZERO).expect("nothing was lost");
        telemetry.shutdown(hour).expect("nothing was lost");
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    });
}

#[test]
fn after_shutdown_recording_takes_no_memory() {
    in_own_process(&[], || {
        let (telemetry, _) = installed();
        let (latency, jobs, level) = (histogram!("job.latency"), counter!("jobs"), gauge!("level"));
        latency.record(0.5);
        let mut open = LlmCall::start("gemini", "gemini-2.5-flash");
        telemetry.shutdown(LIMIT).expect("nothing was lost");

        let before = resident_memory();
        for sample in 0..SAMPLES {
            latency.record(sample as f64);
        }
        for index in 0..100_000 {
            jobs.increment(1);
            level.set(1.0);
            // New series would stay for ever.
            counter!("jobs", "id" => index.to_string()).increment(1);
            histogram!("job.latency").record(1.0);
            LlmCall::start("gemini", "gemini-2.5-flash").finish();
        }
        open.record_usage(Usage::new(1, 1));
        open.finish();
        let grown = resident_memory().saturating_sub(before);
        assert!(grown < 4 * MIB, "grown by {grown} bytes");
    });
}

#[test]
fn samples_that_nobody_scrapes_do_not_pile_up() {
    in_own_process(&[("PROMETHEUS_ENDPOINT", "127.0.0.1:0")], || {
        samples_do_not_pile_up();
    });
}

#[test]
fn samples_do_not_pile_up_without_a_listener() {
    in_own_process(&[("PROMETHEUS_ENDPOINT", "off")], || {
        samples_do_not_pile_up();
    });
}

fn samples_do_not_pile_up() {
    const BATCHES: usize = 100;
    let telemetry = botticelli_obs::install().expect("it installs");
    let latency = histogram!("job.latency");
    let before = resident_memory();
    let mut peak = before;
    for _ in 0..BATCHES {
        for _ in 0..SAMPLES / BATCHES {
            latency.record(0.5);
        }
        peak = peak.max(resident_memory());
        // Spread over some seconds, as by a busy program.
        std::thread::sleep(Duration::from_millis(80));
    }
    let grown = peak - before;
    // All of them would be 76 MiB.
    assert!(grown < 60 * MIB, "grown by {grown} bytes");
    assert_eq!(Page::parse(&telemetry.render()).value("job_latency_count", &[]), SAMPLES as f64);
}

/// Never returns from a warning, as when nobody reads the terminal. Says that it has got one.
#[derive(Clone, Default)]
struct Hangs(Arc<AtomicBool>);

impl<S: tracing::Subscriber> Layer<S> for Hangs {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        while *event.metadata().level() == tracing::Level::WARN {
            self.0.store(true, Ordering::Relaxed);
            std::thread::park();
        }
    }
}

#[test]
fn thread_that_hangs_does_not_keep_the_shutdown() {
    in_own_process(&[], || {
        let hangs = Hangs::default();
        let builder = Builder::new().with_prometheus_endpoint("127.0.0.1:0").with_max_series(1);
        let telemetry = builder.add_layer(hangs.clone()).install().expect("it installs");
        // What is beyond the bound is reported by the thread of the page.
        for id in ["1", "2", "3"] {
            counter!("jobs", "id" => id).increment(1);
        }
        wait_for("the thread hangs", LIMIT, || hangs.0.load(Ordering::Relaxed).then_some(()));
        let started = Instant::now();
        telemetry.shutdown(Duration::from_millis(500)).expect("nothing was lost");
        assert!(started.elapsed() < LIMIT, "{:?}", started.elapsed());
    });
}

#[test]
fn any_timeout_will_do() {
    in_own_process(&[], || {
        let builder = Builder::new().with_prometheus_endpoint("127.0.0.1:0");
        let telemetry = builder.with_trace_exporter(TraceExporter::Stdout).install().expect("it installs");
        LlmCall::start("gemini", "gemini-2.5-flash").finish();
        telemetry.flush(Duration::MAX).expect("nothing was lost");
        telemetry.shutdown(Duration::MAX).expect("nothing was lost");
        let (_, guard) = Builder::new()
            .with_trace_exporter(TraceExporter::Stdout)
            .trace_layer::<botticelli_obs::subscriber::Registry>()
            .expect("a layer");
        guard.flush(Duration::MAX).expect("nothing was lost");
        guard.shutdown(Duration::MAX).expect("nothing was lost");
    });
}
