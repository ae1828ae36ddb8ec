//! How long does `install()` take? Measured in many processes, because a process can install only once.

#![expect(clippy::print_stdout, reason = "a program that talks to its user")]

mod markdown;

use std::process::Command;
use std::time::Instant;

use botticelli_obs::{Builder, LogFormat, Sampler, TraceExporter};
use markdown::{Table, median};

const PROCESSES: usize = 40;

type Setup = (&'static str, fn() -> Builder);

const SETUPS: &[Setup] = &[
    ("metrics on a listener, log output", || Builder::new().with_prometheus_endpoint("127.0.0.1:0")),
    ("the same, and spans by OTLP", || {
        let builder = Builder::new().with_prometheus_endpoint("127.0.0.1:0").with_sampler(Sampler::AlwaysOn);
        builder.with_trace_exporter(TraceExporter::Otlp).with_otlp_endpoint("http://127.0.0.1:9")
    }),
    ("metrics alone, no listener", || Builder::new().without_listener().without_subscriber()),
];

fn main() {
    if let Ok(setup) = std::env::var("STARTUP_SETUP") {
        let (_, builder) = SETUPS.iter().find(|(name, _)| *name == setup).expect("a set-up of the list");
        let builder = builder().with_log_format(LogFormat::Off);
        let started = Instant::now();
        let telemetry = builder.install().expect("it is the first of this process");
        println!("{}", started.elapsed().as_secs_f64() * 1e3);
        // Exits without a shutdown, which is not measured.
        std::mem::forget(telemetry);
        return;
    }
    let mut table = Table::new("startup", &["`install()` of", "median, ms", "slowest, ms"]);
    for (name, _) in SETUPS {
        let mut times: Vec<f64> = (0..PROCESSES).map(|_| install(name)).collect();
        let median = median(&mut times);
        table.row([(*name).to_owned(), format!("{median:.2}"), format!("{:.2}", times[times.len() - 1])]);
    }
    table.save();
}

fn install(setup: &str) -> f64 {
    let mut child = Command::new(std::env::current_exe().expect("the path of this program"));
    let output = child.env("STARTUP_SETUP", setup).output().expect("the program runs again");
    assert!(output.status.success(), "{setup}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number of milliseconds")
}
