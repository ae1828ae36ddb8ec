//! What does it cost to find a series, to create one, and to record a label set beyond the bound?

mod peers;

use std::hint::black_box;
use std::time::{Duration, Instant};

use botticelli_obs::{Builder, counter, llm_request};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion};
use peers::{Local, Peer, RawMacros, Scraped};

/// The number of known models, and of new ones for each recorder. It is the default bound.
const MODELS: usize = 1_000;

fn models(kind: &str) -> Vec<String> {
    (0..MODELS).map(|number| format!("{kind}-model-{number}")).collect()
}

fn pair(model: &str) {
    llm_request!("gemini", model);
}

fn pair_by_raw_macro(model: &str) {
    counter!("llm.requests", "provider" => "gemini", "model" => model.to_owned()).increment(1);
}

fn label_set(model: &str) {
    counter!("bot.posts", "model" => model.to_owned()).increment(1);
}

/// Records the same models repeatedly: known ones, or ones beyond the bound.
fn hit(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, peer: &impl Peer, models: &[String], record: fn(&str)) {
    group.bench_function(name, |bencher| {
        peer.enter(|| {
            models.iter().for_each(|model| record(model));
            let mut models = models.iter().cycle();
            bencher.iter(|| record(black_box(models.next().expect("there are models"))));
        });
    });
}

/// Records new models, with a new recorder for every thousand.
fn miss<P: Scraped>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, peer: fn() -> P, record: fn(&str)) {
    let models = models("new");
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|calls| {
            let mut took = Duration::ZERO;
            for round in 0..calls.div_ceil(MODELS as u64) {
                let left = usize::try_from(calls).expect("it fits") - round as usize * MODELS;
                let peer = peer();
                peer.enter(|| {
                    let started = Instant::now();
                    models.iter().take(left).for_each(|model| record(black_box(model)));
                    took += started.elapsed();
                });
                let new = peer.page().lines().filter(|line| line.contains("model=\"new-model-")).count();
                assert!(new >= left.min(MODELS), "{new} of {left} models have series");
            }
            took
        });
    });
}

/// Creates a recorder whose bound is one and a half times the number of known models.
fn roomy() -> Local {
    Local::new(Builder::new().with_max_series(MODELS + MODELS / 2))
}

/// Creates a recorder that has reached its bound.
fn full(record: fn(&str)) -> Local {
    let full = Local::new(Builder::new().with_max_series(MODELS));
    full.enter(|| models("known").iter().for_each(|model| record(model)));
    full
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("labels");
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(1)).sample_size(50);
    let (known, refused) = (models("known"), models("refused"));

    hit(&mut group, "pair/known, below the bound", &roomy(), &known, pair);
    hit(&mut group, "pair/known, bound reached", &full(pair), &known, pair);
    hit(&mut group, "pair/beyond the bound", &full(pair), &refused, pair);
    miss(&mut group, "pair/new", roomy, pair);
    hit(&mut group, "pair/raw macros, known", &RawMacros::new(), &known, pair_by_raw_macro);
    miss(&mut group, "pair/raw macros, new", RawMacros::without_upkeep, pair_by_raw_macro);

    hit(&mut group, "label set/known, below the bound", &roomy(), &known, label_set);
    hit(&mut group, "label set/known, bound reached", &full(label_set), &known, label_set);
    hit(&mut group, "label set/beyond the bound", &full(label_set), &refused, label_set);
    miss(&mut group, "label set/new", roomy, label_set);
    hit(&mut group, "label set/raw macros, known", &RawMacros::new(), &known, label_set);
    miss(&mut group, "label set/raw macros, new", RawMacros::without_upkeep, label_set);
    group.finish();
    criterion.final_summary();
}
