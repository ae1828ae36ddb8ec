//! A load test that shows whether memory stays constant: calls from several threads, a scrape every second, and spans if an
//! endpoint is set.
//!
//! `cargo run --release --example soak -- --seconds 600`

#![expect(clippy::print_stdout, reason = "a program that talks to its user")]

use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use botticelli_obs::{Builder, ErrorType, LlmCall, Usage};
use clap::Parser;

/// Records calls at a given rate and prints the memory use.
#[derive(Parser)]
struct Options {
    /// How long to record.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// How many threads record.
    #[arg(long, default_value_t = 2)]
    threads: u64,
    /// Calls per second of each thread; 0 for as many as possible.
    #[arg(long, default_value_t = 2_000)]
    rate: u64,
    /// How many models are called.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    models: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let telemetry = Builder::new().with_prometheus_endpoint("127.0.0.1:0").install()?;
    let addr = telemetry.metrics_addr().ok_or("there is no listener")?;
    let (calls, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| -> Result<(), Box<dyn Error>> {
        for thread in 0..options.threads {
            let (options, calls, stop) = (&options, &calls, &stop);
            scope.spawn(move || record(options, thread, calls, stop));
        }
        let outcome = watch(&options, addr, &calls);
        stop.store(true, Ordering::Relaxed);
        outcome
    })?;
    let page = scrape(addr)?;
    let requests: u64 = page
        .lines()
        .filter(|line| line.starts_with("llm_requests_total{"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum();
    println!("recorded {} calls, the page has {requests}", calls.load(Ordering::Relaxed));
    for line in page.lines().filter(|line| line.starts_with("botticelli_obs_spans")) {
        println!("{line}");
    }
    if let Err(lost) = telemetry.shutdown(Duration::from_secs(5)) {
        println!("{lost}");
    }
    Ok(())
}

fn record(options: &Options, thread: u64, calls: &AtomicU64, stop: &AtomicBool) {
    let started = Instant::now();
    let mut done = 0;
    while !stop.load(Ordering::Relaxed) {
        let model = format!("model-{}", (done + thread) % options.models);
        let mut call = LlmCall::start("soak", &model);
        call.record_usage(Usage::new(900, 100));
        match done % 20 {
            0 => call.fail(ErrorType::RateLimit),
            1 => drop(call),
            _ => call.finish(),
        }
        done += 1;
        calls.fetch_add(1, Ordering::Relaxed);
        if options.rate > 0 {
            let due = started + Duration::from_secs_f64(done as f64 / options.rate as f64);
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }
}

fn watch(options: &Options, addr: SocketAddr, calls: &AtomicU64) -> Result<(), Box<dyn Error>> {
    let started = Instant::now();
    println!("{:>8} {:>12} {:>10} {:>10} {:>10}", "seconds", "calls", "RSS MiB", "page KiB", "scrape ms");
    for second in 1..=options.seconds {
        thread::sleep((started + Duration::from_secs(second)).saturating_duration_since(Instant::now()));
        let before = Instant::now();
        let page = scrape(addr)?;
        if second.is_power_of_two() || second % 60 == 0 || second == options.seconds {
            println!(
                "{second:>8} {:>12} {:>10.1} {:>10.1} {:>10.1}",
                calls.load(Ordering::Relaxed),
                resident_mib()?,
                page.len() as f64 / 1024.0,
                before.elapsed().as_secs_f64() * 1e3,
            );
        }
    }
    Ok(())
}

fn scrape(addr: SocketAddr) -> Result<String, Box<dyn Error>> {
    let mut stream = TcpStream::connect(addr)?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Returns the resident memory of this process.
#[cfg(target_os = "linux")]
fn resident_mib() -> Result<f64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS in /proc/self/status")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}

/// Only Linux is asked for it.
#[cfg(not(target_os = "linux"))]
fn resident_mib() -> Result<f64, Box<dyn Error>> {
    Ok(f64::NAN)
}
