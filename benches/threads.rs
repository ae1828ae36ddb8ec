//! What does a finished call cost when several threads record at once: the same pair, or each thread its own?

mod peers;

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion};
use peers::{Atomics, Call, Installed, OpenTelemetry, Peer, Prometheus, PrometheusClient, RawMacros};

const MODELS: [&str; 4] = ["gemini-2.5-flash", "gemini-2.5-pro", "gemini-2.0-flash", "gemini-1.5-pro"];

/// Lets each thread record a number of calls of its model, and returns the time of the slowest thread.
fn race(peer: &impl Peer, models: &[&str], calls: u64) -> Duration {
    let start = Barrier::new(models.len());
    let record = |model| {
        peer.enter(|| {
            let mut call = Call::of("gemini", model);
            start.wait();
            let started = Instant::now();
            for _ in 0..calls {
                peer.record(black_box(call.next()));
            }
            started.elapsed()
        })
    };
    thread::scope(|scope| {
        let threads: Vec<_> = models.iter().map(|model| scope.spawn(move || record(model))).collect();
        threads.into_iter().map(|thread| thread.join().expect("it records")).max().unwrap_or_default()
    })
}

fn measure(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, peer: &impl Peer) {
    for (pairs, models) in [
        ("1 thread", &MODELS[..1]),
        ("2 threads, same pair", &[MODELS[0]; 2]),
        ("2 threads, different pairs", &MODELS[..2]),
        ("4 threads, same pair", &[MODELS[0]; 4]),
        ("4 threads, different pairs", &MODELS[..4]),
    ] {
        group.bench_function(format!("{name}/{pairs}"), |bencher| {
            bencher.iter_custom(|calls| race(peer, models, calls));
        });
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("threads");
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1)).sample_size(30);
    measure(&mut group, "floor", &Atomics::default());
    measure(&mut group, "ours", &Installed::new());
    measure(&mut group, "prometheus", &Prometheus::new());
    measure(&mut group, "prometheus-client", &PrometheusClient::new());
    measure(&mut group, "opentelemetry_sdk", &OpenTelemetry::new());
    measure(&mut group, "raw macros", &RawMacros::new());
    group.finish();
    criterion.final_summary();
}
