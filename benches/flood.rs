//! What happens with millions of new models, as when a program takes their names from its users? Measured through this crate,
//! which bounds its series, and directly into the exporter. Every call must be on the page.
//!
//! `flood [CALLS [CALLS OF THE EXPORTER]]`; both default to ten million, for which the exporter takes gigabytes.

#![expect(clippy::print_stdout, reason = "a program that talks to its user")]

mod markdown;

use std::error::Error;
use std::process::Command;
use std::thread;
use std::time::Instant;

use botticelli_obs::{Builder, ErrorType, LlmCall, Usage, counter, metrics};
use markdown::Table;
use metrics_exporter_prometheus::PrometheusBuilder;

const CALLS: &str = "10000000";
const THREADS: u64 = 4;

/// The variable that selects what this process floods. Each measurement has its own process, because peak memory never decreases
/// and a process has one recorder.
const FLOODED: &str = "FLOODED";

fn main() -> Result<(), Box<dyn Error>> {
    let calls: Vec<String> = std::env::args().skip(1).collect();
    let calls = |index| calls.get(index).map_or(CALLS, String::as_str);
    match std::env::var(FLOODED).as_deref() {
        Ok("crate") => return flood_crate(calls(0).parse()?),
        Ok(_) => return flood_exporter(calls(0).parse()?),
        Err(_) => {}
    }
    let columns = ["flooded", "calls", "seconds", "series of requests", "page, KiB", "scrape, ms", "peak, MiB"];
    let mut table = Table::new("flood", &columns);
    for (who, calls) in [("crate", calls(0)), ("exporter", calls(1))] {
        let output = Command::new(std::env::current_exe()?).arg(calls).env(FLOODED, who).output()?;
        if !output.status.success() {
            return Err(format!("{who}: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        let [seconds, series, page, scrape, peak] = markdown::cells(&output.stdout);
        table.row([who.to_owned(), calls.to_owned(), seconds, series, page, scrape, peak]);
    }
    table.save();
    Ok(())
}

/// Records whole calls, of which every 16th fails.
fn flood_crate(calls: u64) -> Result<(), Box<dyn Error>> {
    let telemetry = Builder::new().without_listener().without_subscriber().install()?;
    let page = measure(
        calls,
        |number, model| {
            let mut call = LlmCall::start("flood", model);
            call.record_usage(Usage::new(12, 30));
            if number.is_multiple_of(16) { call.fail(ErrorType::RateLimit) } else { call.finish() }
        },
        || telemetry.render(),
    )?;
    for (family, expected) in [
        ("llm_requests_total", calls),
        ("llm_duration_count", calls),
        ("llm_tokens_total", calls * 42),
        ("llm_errors_total", calls.div_ceil(16)),
        ("llm_in_flight", 0),
    ] {
        account(&page, family, expected)?;
    }
    Ok(())
}

/// Increments one counter for each model.
fn flood_exporter(calls: u64) -> Result<(), Box<dyn Error>> {
    let recorder = PrometheusBuilder::new().with_recommended_naming(true).build_recorder();
    let exporter = recorder.handle();
    metrics::set_global_recorder(recorder)?;
    let page = measure(
        calls,
        |_, model| {
            counter!("llm.requests", "provider" => "flood", "model" => model.to_owned()).increment(1);
        },
        || exporter.render(),
    )?;
    account(&page, "llm_requests_total", calls)
}

/// Records the calls, renders the page, and prints time and memory.
fn measure(calls: u64, call: impl Fn(u64, &str) + Sync, page: impl Fn() -> String) -> Result<String, Box<dyn Error>> {
    let started = Instant::now();
    thread::scope(|scope| {
        let call = &call;
        for thread in 0..THREADS {
            let mut random = fastrand::Rng::with_seed(thread);
            scope.spawn(move || {
                for number in (thread..calls).step_by(THREADS as usize) {
                    call(number, &format!("model-{:016x}", random.u64(..)));
                }
            });
        }
    });
    let seconds = started.elapsed().as_secs_f64();
    let started = Instant::now();
    let page = page();
    let scrape = started.elapsed().as_secs_f64() * 1e3;
    let series = page.lines().filter(|line| line.starts_with("llm_requests_total{")).count();
    let peak = markdown::memory("VmHWM:") as f64 / 1024.0;
    println!("{seconds:.1},{series},{},{scrape:.0},{peak:.0}", page.len() / 1024);
    Ok(page)
}

/// Checks that the series of a family add up to the recorded number.
fn account(page: &str, family: &str, recorded: u64) -> Result<(), Box<dyn Error>> {
    let of_family = |line: &&str| line.strip_prefix(family).is_some_and(|rest| rest.starts_with('{'));
    let values = page.lines().filter(of_family).filter_map(|line| line.rsplit(' ').next());
    let sum = values.map(str::parse::<f64>).sum::<Result<f64, _>>()?;
    if sum == recorded as f64 {
        Ok(())
    } else {
        Err(format!("{family}: recorded {recorded}, the page has {sum}").into())
    }
}
