//! Recorders beside the store: what they are given, and what they may do.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::support::page::Page;
use crate::support::warnings::Warnings;
use crate::support::{in_own_process, wait_for};
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

/// Records something itself, of every kind, whenever anything of it is called, and counts what it is given.
#[derive(Clone, Default)]
struct Echo {
    jobs: Arc<AtomicUsize>,
    others: Arc<AtomicUsize>,
}

/// A handle of it.
struct EchoHandle {
    of: Arc<AtomicUsize>,
}

impl Echo {
    fn echo() {
        counter!("echo").increment(1);
        gauge!("echo.level").increment(1.0);
        histogram!("echo.size").record(1.0);
        LlmCall::start("echo", "m").finish();
    }

    fn handle(&self, key: &Key) -> Arc<EchoHandle> {
        Self::echo();
        let of = if key.name() == "jobs" { &self.jobs } else { &self.others };
        Arc::new(EchoHandle { of: Arc::clone(of) })
    }
}

impl EchoHandle {
    fn take(&self) {
        self.of.fetch_add(1, Ordering::Relaxed);
        Echo::echo();
    }
}

impl metrics::CounterFn for EchoHandle {
    fn increment(&self, _: u64) {
        self.take();
    }

    fn absolute(&self, _: u64) {
        self.take();
    }
}

impl metrics::GaugeFn for EchoHandle {
    fn increment(&self, _: f64) {
        self.take();
    }

    fn decrement(&self, _: f64) {
        self.take();
    }

    fn set(&self, _: f64) {
        self.take();
    }
}

impl metrics::HistogramFn for EchoHandle {
    fn record(&self, _: f64) {
        self.take();
    }
}

impl Recorder for Echo {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, text: SharedString) {
        metrics::describe_counter!(format!("{}.x", name.as_str()), text);
    }

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.handle(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.handle(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.handle(key))
    }
}

#[test]
fn added_recorders_may_record_whenever_they_are_called_and_are_not_given_that_again() {
    in_own_process(&[], || {
        let (one, other) = (Echo::default(), Echo::default());
        let builder = Builder::new().without_listener().add_recorder(one.clone()).add_recorder(other.clone());
        let telemetry = builder.install().expect("it installs");
        metrics::describe_counter!("jobs", "Jobs.");
        let jobs = counter!("jobs");
        jobs.increment(1);
        let before = |page: &Page| {
            let calls = page.value("llm_requests_total", &[("provider", "echo"), ("model", "m")]);
            [page.value("echo_total", &[]), page.value("echo_level", &[]), page.value("echo_size_count", &[]), calls]
        };
        let [echoes, ..] = before(&Page::parse(&telemetry.render()));
        assert_eq!(before(&Page::parse(&telemetry.render())), [echoes; 4], "each kind as often as the others");
        let others = one.others.load(Ordering::Relaxed);
        jobs.increment(1);
        let page = Page::parse(&telemetry.render());
        assert_eq!(page.value("jobs_total", &[]), 2.0);
        // One for `jobs` itself, and one for each of the other recorder's records of its own.
        assert!(before(&page).iter().all(|after| *after > echoes), "{:?} after {echoes}", before(&page));
        for recorder in [&one, &other] {
            assert_eq!(recorder.jobs.load(Ordering::Relaxed), 2, "each gets what others record");
        }
        assert!(one.others.load(Ordering::Relaxed) > others, "and what the other recorder records");
    });
}

/// Panics when the health counters are registered.
struct PanicsOfHealth;

impl Recorder for PanicsOfHealth {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        if key.name().contains("label_overflow") {
            // Without a message.
            std::panic::resume_unwind(Box::new(()));
        }
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[test]
fn a_recorder_that_panics_when_it_is_brought_up_to_date_does_not_end_the_reports() {
    in_own_process(&[], || {
        let warnings = Warnings::default();
        let builder = Builder::new().without_listener().with_max_series(1).add_recorder(PanicsOfHealth);
        let _telemetry = builder.add_layer(warnings.clone()).install().expect("it installs");
        for name in ["first", "second"] {
            ["a", "b", "c"].iter().for_each(|label| counter!(name, "l" => *label).increment(1));
            wait_for("the report", LIMIT, || {
                let is_reported = |line: &str| line.contains(&format!("{name}_total has more"));
                (warnings.count(is_reported) == 1).then_some(())
            });
        }
    });
}

/// Has gauges that panic, and histograms too.
struct Panics;

impl metrics::GaugeFn for Panics {
    fn increment(&self, _: f64) {
        // Without a message.
        std::panic::resume_unwind(Box::new(()));
    }
    fn decrement(&self, _: f64) {
        std::panic::resume_unwind(Box::new(()));
    }
    fn set(&self, _: f64) {}
}

impl metrics::HistogramFn for Panics {
    fn record(&self, _: f64) {
        std::panic::resume_unwind(Box::new(()));
    }
}

impl Recorder for Panics {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        if key.labels().any(|label| label.value() == "gauges") {
            Gauge::from_arc(Arc::new(Self))
        } else {
            Gauge::noop()
        }
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        let panics = key.labels().any(|label| label.value() == "histograms");
        if panics { Histogram::from_arc(Arc::new(Self)) } else { Histogram::noop() }
    }
}

#[test]
fn a_recorder_that_panics_leaves_no_call_in_flight() {
    let (recorder, page) = Builder::new().add_recorder(Panics).recorder().expect("a recorder");
    for model in ["gauges", "histograms"] {
        let call = || metrics::with_local_recorder(&recorder, || drop(LlmCall::start("p", model)));
        // Opening the series of the pair already reaches the recorder, once.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(call));
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(call));
        let page = Page::parse(&page.render());
        let labels = [("provider", "p"), ("model", model)];
        assert!(page.value("llm_requests_total", &labels) >= 1.0, "{model}");
        assert_eq!(page.value("llm_in_flight", &labels), 0.0, "{model}");
    }
}
