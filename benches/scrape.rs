//! What does a scrape cost, and how much does it delay threads that record at the same time?
//!
//! Each row is measured in its own process, because peak memory never decreases.

#![expect(clippy::print_stdout, reason = "a program that talks to its user")]

mod markdown;
mod peers;

use std::hint::black_box;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use botticelli_obs::Builder;
use hdrhistogram::Histogram;
use markdown::{Table, median, memory};
use peers::{Call, Local, Peer, Prometheus, PrometheusClient, RawMacros, Scraped};

/// The variable that selects the row of this process: the measurement, the peer, a number.
const ROW: &str = "SCRAPE_ROW";
const OURS: &str = "ours";
const RAW: &str = "raw macros";
const PROMETHEUS: &str = "prometheus";
const CLIENT: &str = "prometheus-client";
const SCRAPES: usize = 50;
const PAIRS_UNDER_LOAD: usize = 1_000;
const LOAD: Duration = Duration::from_secs(8);

fn models(pairs: usize) -> Vec<String> {
    (0..pairs).map(|number| format!("model-{number}")).collect()
}

fn record(peer: &impl Peer, models: &[String]) {
    models.iter().for_each(|model| peer.record(Call::of("gemini", model).next()));
}

/// Time, time a line, bytes and memory of a scrape with so many pairs on the page.
fn page(peer: &impl Scraped, pairs: usize) -> [String; 4] {
    let models = models(pairs);
    peer.enter(|| record(peer, &models));
    // The first scrape processes all samples and allocates memory that stays. It is not measured.
    let (bytes, lines) = {
        let page = peer.page();
        (page.len(), page.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).count())
    };
    std::fs::write("/proc/self/clear_refs", "5").expect("Linux, which forgets the peak");
    let before = memory("VmRSS:");
    let mut times: Vec<f64> = (0..SCRAPES)
        .map(|_| {
            peer.enter(|| record(peer, &models));
            let started = Instant::now();
            black_box(peer.page());
            started.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    let peak = memory("VmHWM:").saturating_sub(before);
    let time = median(&mut times);
    let line = format!("{:.0}", time * 1e6 / lines as f64);
    [format!("{time:.2}"), line, format!("{:.0}", bytes as f64 / 1024.0), peak.to_string()]
}

/// Measures the time of single recordings in ns, during this number of scrapes in [`LOAD`].
fn load(peer: &impl Scraped, scrapes: usize) -> [String; 4] {
    let models = models(PAIRS_UNDER_LOAD);
    let done = AtomicBool::new(false);
    let mut times = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3).expect("a minute is enough");
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..scrapes {
                thread::sleep(LOAD / scrapes as u32);
                black_box(peer.page());
            }
            thread::sleep(if scrapes == 0 { LOAD } else { Duration::ZERO });
            done.store(true, Ordering::Relaxed);
        });
        peer.enter(|| {
            record(peer, &models);
            let mut calls: Vec<Call<'_>> = models.iter().map(|model| Call::of("gemini", model)).collect();
            while !done.load(Ordering::Relaxed) {
                for call in &mut calls {
                    let call = call.next();
                    let started = Instant::now();
                    peer.record(call);
                    times.saturating_record(u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX));
                }
            }
        });
    });
    let at = |quantile| times.value_at_quantile(quantile).to_string();
    [at(0.5), at(0.99), at(0.999), format!("{:.0}", times.max() as f64 / 1e3)]
}

/// Measures one row and prints its cells.
fn measure(row: &str) {
    let (ours, raw) = (|| Local::new(Builder::new().with_max_series(20_000)), RawMacros::new);
    let cells: Vec<String> = match row.split(',').collect::<Vec<_>>().as_slice() {
        ["page", OURS, pairs] => page(&ours(), pairs.parse().expect("a number")).into(),
        ["page", RAW, pairs] => page(&raw(), pairs.parse().expect("a number")).into(),
        ["page", PROMETHEUS, pairs] => page(&Prometheus::new(), pairs.parse().expect("a number")).into(),
        ["page", CLIENT, pairs] => page(&PrometheusClient::new(), pairs.parse().expect("a number")).into(),
        ["load", OURS, scrapes] => load(&ours(), scrapes.parse().expect("a number")).into(),
        ["load", RAW, scrapes] => load(&raw(), scrapes.parse().expect("a number")).into(),
        _ => panic!("no such row: {row}"),
    };
    println!("{}", cells.join(","));
}

/// Measures the cells of a row in a new process.
fn cells<const N: usize>(row: String) -> [String; N] {
    let mut child = Command::new(std::env::current_exe().expect("the path of this program"));
    let output = child.env(ROW, &row).output().expect("the program runs again");
    assert!(output.status.success(), "{row}: {}", String::from_utf8_lossy(&output.stderr));
    markdown::cells(&output.stdout)
}

fn main() {
    if let Ok(row) = std::env::var(ROW) {
        return measure(&row);
    }
    let columns = ["pairs", "who", "time, ms", "a line, ns", "page, KiB", "peak above rest, KiB"];
    let mut table = Table::new("scrape", &columns);
    for pairs in ["10", "100", "1000", "10000"] {
        for who in [OURS, CLIENT, PROMETHEUS, RAW] {
            let [time, line, bytes, peak] = cells(format!("page,{who},{pairs}"));
            table.row([pairs.to_owned(), who.to_owned(), time, line, bytes, peak]);
        }
    }
    table.save();
    let columns = ["who", "scrapes", "p50, ns", "p99, ns", "p99.9, ns", "slowest, µs"];
    let mut table = Table::new("scrape_load", &columns);
    for who in [OURS, RAW] {
        for (scrapes, name) in [(0, "none"), (LOAD.as_secs(), "every second")] {
            let [p50, p99, p999, slowest] = cells(format!("load,{who},{scrapes}"));
            table.row([who.to_owned(), name.to_owned(), p50, p99, p999, slowest]);
        }
    }
    table.save();
}
