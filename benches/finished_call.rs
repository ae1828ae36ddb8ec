//! What does it cost to record a finished call of a known provider and model, always of the same and of another one every time?

mod pairs;
mod peers;

use std::hint::black_box;
use std::time::Duration;

use botticelli_obs::Builder;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion};
use pairs::PAIRS;
use peers::{
    Atomics, Call, Installed, Local, OpenTelemetry, Peer, Prometheus, PrometheusClient, RawMacros, ThreeMacros,
};

/// Records calls of these pairs in turn.
fn measure(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, pairs: &[(&str, &str)], peer: &impl Peer) {
    let mut recorded = 0;
    let before = peer.requests_of(pairs);
    group.bench_function(name, |bencher| {
        peer.enter(|| {
            let mut calls: Vec<_> = pairs.iter().map(|(provider, model)| Call::of(provider, model)).collect();
            let mut turn = 0;
            bencher.iter(|| {
                recorded += 1;
                turn = if turn + 1 < calls.len() { turn + 1 } else { 0 };
                peer.record(black_box(calls[turn].next()));
            });
        });
    });
    assert_eq!(peer.requests_of(pairs) - before, recorded, "{name} has recorded every call");
}

fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(1)).sample_size(50);
    group
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let installed = Installed::new();
    let one = &PAIRS[..1];
    let mut known = group(&mut criterion, "finished_call");
    measure(&mut known, "floor", one, &Atomics::default());
    measure(&mut known, "ours", one, &installed);
    measure(&mut known, "ours, three macros", one, &ThreeMacros(&installed));
    measure(&mut known, "ours, local recorder", one, &Local::new(Builder::new()));
    measure(&mut known, "prometheus", one, &Prometheus::new());
    measure(&mut known, "prometheus-client", one, &PrometheusClient::new());
    measure(&mut known, "opentelemetry_sdk", one, &OpenTelemetry::new());
    measure(&mut known, "raw macros", one, &RawMacros::new());
    known.finish();
    let mut changing = group(&mut criterion, "pair_changing_every_call");
    measure(&mut changing, "floor", &PAIRS, &Atomics::default());
    measure(&mut changing, "ours", &PAIRS, &installed);
    measure(&mut changing, "prometheus", &PAIRS, &Prometheus::new());
    measure(&mut changing, "prometheus-client", &PAIRS, &PrometheusClient::new());
    measure(&mut changing, "raw macros", &PAIRS, &RawMacros::new());
    changing.finish();
    criterion.final_summary();
}
