//! What does it cost to record a stream of 1,000 chunks, with the gap before each chunk?

mod peers;

use std::hint::black_box;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use botticelli_obs::{LlmCall, LlmResponse, histogram};
use criterion::Criterion;
use futures_util::{Stream, stream};
use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use peers::{BOUNDS, Installed, Peer, RawMacros};

const CHUNKS: usize = 1_000;
const PROVIDER: &str = "gemini";
const MODEL: &str = "gemini-2.5-flash";

struct Chunk;

impl LlmResponse for Chunk {}

/// Reads the clock at each chunk and records the time since the previous one.
fn gaps(mut record: impl FnMut(Duration)) {
    let mut last = Instant::now();
    for _ in 0..CHUNKS {
        let now = Instant::now();
        record(black_box(now - last));
        last = now;
    }
}

/// Records the whole call: start, chunks, end.
fn guard() {
    let mut call = LlmCall::start(PROVIDER, black_box(MODEL));
    for _ in 0..CHUNKS {
        call.record_chunk();
    }
    call.finish();
}

/// Records the same around a stream, whose polls are included.
fn stream_of_chunks() {
    let chunks = stream::iter((0..CHUNKS).map(|_| Chunk));
    drain(LlmCall::start(PROVIDER, black_box(MODEL)).wrap_stream(chunks));
}

fn drain(stream: impl Stream) {
    let mut stream = pin!(stream);
    let mut context = Context::from_waker(Waker::noop());
    while let Poll::Ready(Some(_)) = stream.as_mut().poll_next(&mut context) {}
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("stream");
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(1)).sample_size(50);

    let cells: [AtomicU64; BOUNDS.len() + 1] = Default::default();
    group.bench_function("floor", |bencher| {
        bencher.iter(|| {
            gaps(|gap| {
                let seconds = gap.as_secs_f64();
                cells[BOUNDS.partition_point(|bound| *bound < seconds)].fetch_add(1, Ordering::Relaxed);
            });
        });
    });

    let installed = Installed::new();
    group.bench_function("ours, guard", |bencher| bencher.iter(guard));
    group.bench_function("ours, around a stream", |bencher| bencher.iter(stream_of_chunks));
    let kept = histogram!("kept.handle");
    group.bench_function("ours, histogram's handle kept", |bencher| {
        bencher.iter(|| gaps(|gap| kept.record(gap)));
    });
    drop(installed);

    let options = prometheus::HistogramOpts::new("chunks", "chunks").buckets(BOUNDS.to_vec());
    let chunks = prometheus::HistogramVec::new(options, &["provider", "model"]).expect("a valid name");
    group.bench_function("prometheus", |bencher| {
        bencher.iter(|| gaps(|gap| chunks.with_label_values(&[PROVIDER, black_box(MODEL)]).observe(gap.as_secs_f64())));
    });
    let kept = chunks.with_label_values(&[PROVIDER, MODEL]);
    group.bench_function("prometheus, handle kept", |bencher| {
        bencher.iter(|| gaps(|gap| kept.observe(gap.as_secs_f64())));
    });

    let provider = SdkMeterProvider::builder().with_periodic_exporter(peers::Requests::default()).build();
    let chunks = provider.meter("llm").f64_histogram("chunks").with_boundaries(BOUNDS.to_vec()).build();
    group.bench_function("opentelemetry_sdk", |bencher| {
        bencher.iter(|| {
            let attributes = [KeyValue::new("provider", PROVIDER), KeyValue::new("model", black_box(MODEL).to_owned())];
            gaps(|gap| chunks.record(gap.as_secs_f64(), &attributes));
        });
    });

    let raw = RawMacros::new();
    group.bench_function("raw macros", |bencher| {
        raw.enter(|| {
            bencher.iter(|| {
                gaps(|gap| {
                    let (provider, model) = (PROVIDER.to_owned(), black_box(MODEL).to_owned());
                    histogram!("chunks", "provider" => provider, "model" => model).record(gap);
                });
            });
        });
    });
    group.finish();
    criterion.final_summary();
}
