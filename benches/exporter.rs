//! The two listeners side by side: what a page costs, and how many samples are on it that were recorded while it was scraped.
//!
//! Each row comes from a process of its own: the recorder belongs to a process, and peak memory can't be lowered again.

#![expect(clippy::print_stdout, reason = "a program that talks to its user")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use botticelli_obs::{Builder, LlmCall, Telemetry, Usage, histogram};

/// Which row a process measures: what, and by whose listener.
const ROW: &str = "EXPORTER_ROW";
const PAIRS: usize = 1_000;
const SCRAPES: usize = 30;
const THREADS: usize = 4;
const SAMPLES: usize = 2_000_000;

fn install(who: &str) -> (Telemetry, SocketAddr) {
    let builder = Builder::new().with_prometheus_endpoint("127.0.0.1:0").with_log_filter("off").with_max_series(PAIRS);
    let builder = if who == "exporter" { builder.with_exporter_listener() } else { builder };
    let telemetry = builder.install().expect("it installs");
    let addr = telemetry.metrics_addr().expect("there is a listener");
    (telemetry, addr)
}

/// Scrapes without keeping the page; returns its bytes, and the lines that begin so.
fn scrape(addr: SocketAddr, keep: &str) -> (usize, String) {
    let mut stream = TcpStream::connect(addr).expect("it listens");
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("it reads");
    let mut buffer = [0; 64 * 1024];
    let (mut bytes, mut kept) = (0, String::new());
    loop {
        match stream.read(&mut buffer).expect("it answers") {
            0 => return (bytes, kept),
            read => {
                bytes += read;
                if !keep.is_empty() {
                    kept.push_str(&String::from_utf8_lossy(&buffer[..read]));
                }
            }
        }
    }
}

fn memory(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("the field is there");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn call(model: &str) {
    let mut call = LlmCall::start("gemini", model);
    call.record_chunk();
    call.record_chunk();
    call.record_usage(Usage::new(1_200, 300));
    call.finish();
}

fn page(who: &str) {
    let (_telemetry, addr) = install(who);
    let models: Vec<String> = (0..PAIRS).map(|number| format!("model-{number}")).collect();
    models.iter().for_each(|model| call(model));
    // Memory that the first scrape takes for good is not the next one's.
    let (bytes, _) = scrape(addr, "");
    std::fs::write("/proc/self/clear_refs", "5").expect("Linux, which forgets the peak");
    let before = memory("VmRSS:");
    let mut times: Vec<f64> = (0..SCRAPES)
        .map(|_| {
            models.iter().for_each(|model| call(model));
            let started = Instant::now();
            scrape(addr, "");
            started.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    let peak = memory("VmHWM:").saturating_sub(before);
    times.sort_by(f64::total_cmp);
    println!(
        "page of {PAIRS} streamed pairs, {who}: median {:.1} ms, slowest {:.1} ms, {} KiB, peak above rest {peak} KiB, at rest {before} KiB",
        times[SCRAPES / 2],
        times[SCRAPES - 1],
        bytes / 1024
    );
}

fn samples(who: &str) {
    let (_telemetry, addr) = install(who);
    let done = AtomicBool::new(false);
    let mut scrapes = 0;
    let latency = histogram!("job.latency");
    let started = Instant::now();
    let mut took = 0.0;
    thread::scope(|scope| {
        let threads: Vec<_> =
            (0..THREADS).map(|_| scope.spawn(|| (0..SAMPLES).for_each(|_| latency.record(0.5)))).collect();
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                scrape(addr, "");
                scrapes += 1;
            }
        });
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        took = started.elapsed().as_secs_f64();
        done.store(true, Ordering::Relaxed);
    });
    let (_, page) = scrape(addr, "job_latency_count");
    let count = page.lines().find_map(|line| line.strip_prefix("job_latency_count ")).expect("it is there");
    let count: usize = count.parse().expect("a number");
    println!(
        "samples, {who}: {} recorded in {took:.2} s, {scrapes} scrapes, {count} on the page, {} lost",
        THREADS * SAMPLES,
        (THREADS * SAMPLES) as i64 - count as i64
    );
}

fn main() {
    if let Ok(row) = std::env::var(ROW) {
        return match row.split_once(',').expect("what and who") {
            ("page", who) => page(who),
            (_, who) => samples(who),
        };
    }
    for row in ["page,own", "page,exporter", "samples,own", "samples,exporter", "samples,exporter", "samples,exporter"]
    {
        let mut child = Command::new(std::env::current_exe().expect("the path of this program"));
        let output = child.env(ROW, row).output().expect("the program runs again");
        assert!(output.status.success(), "{row}: {}", String::from_utf8_lossy(&output.stderr));
        print!("{}", String::from_utf8_lossy(&output.stdout));
    }
}
