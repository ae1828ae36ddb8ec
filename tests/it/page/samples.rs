//! Samples of histograms: each is on the page, however often the page is read meanwhile.

use std::thread;
use std::time::Duration;

use botticelli_obs::{Builder, histogram, metrics};

use crate::support::page::Page;
use crate::support::{get, in_own_process};

const SAMPLES: usize = 400_000;
const THREADS: usize = 3;

/// Records from several threads, and reads the page until they have ended.
fn record_while(read: impl Fn(), record: impl Fn() + Sync) {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(|| (0..SAMPLES).for_each(|_| record()))).collect();
        while threads.iter().any(|thread| !thread.is_finished()) {
            read();
        }
    });
}

fn assert_all_are_there(page: &str) {
    let page = Page::parse(page);
    assert_eq!(page.value("job_latency_count", &[]), (THREADS * SAMPLES) as f64);
    assert_eq!(page.value("job_latency_sum", &[]), (THREADS * SAMPLES) as f64 * 0.5);
    assert_eq!(page.value("job_latency_bucket", &[("le", "0.5")]), (THREADS * SAMPLES) as f64);
    assert_eq!(page.value("job_latency_bucket", &[("le", "0.25")]), 0.0);
}

#[test]
fn no_sample_is_lost_to_a_render() {
    let (recorder, page) = Builder::new().recorder().expect("a recorder");
    let latency = metrics::with_local_recorder(&recorder, || histogram!("job.latency"));
    record_while(|| drop(page.render()), || latency.record(0.5));
    assert_all_are_there(&page.render());
}

#[test]
fn no_sample_is_lost_to_a_scrape() {
    in_own_process(&[("PROMETHEUS_ENDPOINT", "127.0.0.1:0")], || {
        let telemetry = botticelli_obs::install().expect("it installs");
        let addr = telemetry.metrics_addr().expect("a listener");
        let latency = histogram!("job.latency");
        let scrape = || get(addr, "/metrics", Duration::from_secs(30)).expect("it answers");
        record_while(|| drop(scrape()), || latency.record(0.5));
        assert_all_are_there(&scrape().body);
    });
}

#[test]
fn sample_is_on_the_next_scrape() {
    in_own_process(&[("PROMETHEUS_ENDPOINT", "127.0.0.1:0")], || {
        let telemetry = botticelli_obs::install().expect("it installs");
        let addr = telemetry.metrics_addr().expect("a listener");
        for recorded in 1..=200 {
            histogram!("job.latency").record(f64::from(recorded));
            let page = get(addr, "/metrics", Duration::from_secs(30)).expect("it answers");
            assert_eq!(Page::parse(&page.body).value("job_latency_count", &[]), f64::from(recorded));
        }
    });
}

#[test]
fn sums_are_those_of_the_samples() {
    let (recorder, page) = Builder::new().recorder().expect("a recorder");
    let samples = [0.003, 0.0051, 0.0099, 0.0099, 7.25, 12_345.678, -3.5, 0.0];
    metrics::with_local_recorder(&recorder, || samples.map(|sample| histogram!("job.latency").record(sample)));
    let page = Page::parse(&page.render());
    assert_eq!(page.value("job_latency_count", &[]), 8.0);
    let sum = page.value("job_latency_sum", &[]);
    assert!((sum - samples.iter().sum::<f64>()).abs() < 1e-9, "{sum}");
    assert_eq!(page.value("job_latency_bucket", &[("le", "0.01")]), 6.0);
    assert_eq!(page.value("job_latency_bucket", &[("le", "10000")]), 7.0);
}
