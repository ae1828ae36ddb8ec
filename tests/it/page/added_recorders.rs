//! Recorders beside the store: what they are given, and what they may do.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::support::in_own_process;
use crate::support::page::Page;
use botticelli_obs::{
    Builder, Counter, Gauge, Histogram, Key, KeyName, LlmCall, Metadata, Recorder, SharedString, Unit, counter, gauge,
    histogram, llm_request, metrics,
};

const LIMIT: Duration = Duration::from_secs(20);

/// Counts samples one by one, as the exporter does.
#[derive(Clone, Default)]
struct Samples(Arc<AtomicUsize>);

impl metrics::HistogramFn for Samples {
    fn record(&self, _: f64) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Recorder for Samples {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Arc::new(self.clone()))
    }
}

#[test]
fn added_recorder_gets_a_thousand_samples_of_one_record_and_the_rest_is_invalid() {
    for (name, on_page) in [
        ("bulk", "bulk"),
        ("llm.duration", "llm_duration"),
        ("llm.time_to_first_chunk", "llm_time_to_first_chunk_seconds"),
    ] {
        let beside = Samples::default();
        let (recorder, page) = Builder::new().add_recorder(beside.clone()).recorder().expect("a recorder");
        let record = |count| {
            metrics::with_local_recorder(&recorder, || {
                histogram!(name, "provider" => "p", "model" => "m").record_many(0.5, count);
            });
        };
        let invalid =
            |page: &Page| page.get("botticelli_obs_invalid_samples_total", &[("metric", on_page)]).unwrap_or(0.0);
        record(1_000);
        assert_eq!(beside.0.load(Ordering::Relaxed), 1_000, "{name}");
        assert_eq!(invalid(&Page::parse(&page.render())), 0.0, "{name}");
        record(1_001);
        record(5_000);
        assert_eq!(beside.0.load(Ordering::Relaxed), 3_000, "{name}");
        let page = Page::parse(&page.render());
        assert_eq!(page.sum(&format!("{on_page}_count")), 7_001.0, "the page has them all");
        assert_eq!(invalid(&page), 4_001.0, "{name}");
    }
}

#[test]
fn record_of_any_size_costs_the_same_beside_an_added_recorder() {
    let (recorder, _page) = Builder::new().add_recorder(Samples::default()).recorder().expect("a recorder");
    let started = Instant::now();
    metrics::with_local_recorder(&recorder, || histogram!("bulk").record_many(0.5, usize::MAX));
    assert!(started.elapsed() < LIMIT, "{:?}", started.elapsed());
}

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Records something itself whenever it is asked for a handle.
#[derive(Clone, Copy)]
enum Audit {
    Pairs,
    LabelSets,
    Gauges,
}

impl Audit {
    fn audit(self, name: &str) {
        if INSIDE.replace(true) {
            return;
        }
        match self {
            Self::Pairs => llm_request!("audit", format!("{name} {:?}", Instant::now())),
            Self::LabelSets => counter!("audit.seen", "name" => format!("{name} {:?}", Instant::now())).increment(1),
            Self::Gauges => gauge!("audit.seen", "name" => format!("{name} {:?}", Instant::now())).increment(1.0),
        }
        INSIDE.set(false);
    }
}

impl Recorder for Audit {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        self.audit(name.as_str());
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        self.audit(name.as_str());
    }

    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        self.audit(name.as_str());
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.audit(key.name());
        Counter::noop()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.audit(key.name());
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.audit(key.name());
        Histogram::noop()
    }
}

/// Records pairs and label sets beyond every bound beside such a recorder, and fails where that does not end.
fn ends(audit: Audit) {
    in_own_process(&[], || {
        let telemetry =
            Builder::new().without_listener().with_max_series(2).add_recorder(audit).install().expect("it installs");
        let (done, waits) = mpsc::channel();
        std::thread::spawn(move || {
            for n in 0..20 {
                LlmCall::start("p", format!("m{n}")).finish();
                counter!("mine", "n" => n.to_string()).increment(1);
                gauge!("level", "n" => n.to_string()).increment(1.0);
                histogram!("size", "n" => n.to_string()).record(1.0);
            }
            metrics::describe_counter!("mine", "Mine.");
            done.send(()).expect("somebody waits");
        });
        waits.recv_timeout(LIMIT).expect("it ends");
        let page = Page::parse(&telemetry.render());
        assert_eq!(page.sum("mine_total"), 20.0);
        assert_eq!(page.sum("level"), 20.0);
    });
}

#[test]
fn added_recorder_may_make_calls_when_it_is_asked_for_a_handle() {
    ends(Audit::Pairs);
}

#[test]
fn added_recorder_may_count_when_it_is_asked_for_a_handle() {
    ends(Audit::LabelSets);
}

#[test]
fn added_recorder_may_use_gauges_when_it_is_asked_for_a_handle() {
    ends(Audit::Gauges);
}
