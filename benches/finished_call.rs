//! What does it cost to record a finished call of a known provider and model?

mod peers;

use std::hint::black_box;
use std::time::Duration;

use botticelli_obs::Builder;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion};
use peers::{
    Atomics, Call, Installed, Local, OpenTelemetry, Peer, Prometheus, PrometheusClient, RawMacros, ThreeMacros,
};

const PROVIDER: &str = "gemini";
const MODEL: &str = "gemini-2.5-flash";

fn measure(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, peer: &impl Peer) {
    let mut recorded = 0;
    let before = peer.requests(PROVIDER, MODEL);
    group.bench_function(name, |bencher| {
        peer.enter(|| {
            let mut call = Call::of(PROVIDER, MODEL);
            bencher.iter(|| {
                recorded += 1;
                peer.record(black_box(call.next()));
            });
        });
    });
    assert_eq!(peer.requests(PROVIDER, MODEL) - before, recorded, "{name} has recorded every call");
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("finished_call");
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(1)).sample_size(50);
    measure(&mut group, "floor", &Atomics::default());
    let installed = Installed::new();
    measure(&mut group, "ours", &installed);
    measure(&mut group, "ours, three macros", &ThreeMacros(&installed));
    measure(&mut group, "ours, local recorder", &Local::new(Builder::new()));
    measure(&mut group, "prometheus", &Prometheus::new());
    measure(&mut group, "prometheus-client", &PrometheusClient::new());
    measure(&mut group, "opentelemetry_sdk", &OpenTelemetry::new());
    measure(&mut group, "raw macros", &RawMacros::new());
    group.finish();
    criterion.final_summary();
}
