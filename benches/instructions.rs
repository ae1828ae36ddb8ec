//! How many instructions does recording take? Unlike times, these numbers hardly vary between runs, so `.ci/run` checks them
//! against limits.
//!
//! It runs itself under callgrind with a number of repetitions and with twice as many. The difference is the cost of the
//! repetitions.

#![expect(clippy::print_stdout, reason = "a program that talks to its user")]

mod http_layer;
mod pairs;

use std::error::Error;
use std::hint::black_box;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use botticelli_obs::{Builder, LlmCall, Usage, llm_request};
use pairs::PAIRS;

/// The measured operations and their maximum number of instructions: a finished call, a whole one and one that does nothing have
/// limits that are kept with every compiler, a chunk has the measured number plus 15 %, and the HTTP layer plus 10 %.
const LIMITS: &[(&str, fn(), u64)] = &[
    ("finished call by a macro", finished_call, 200),
    ("finished call, six pairs in turn", finished_calls_in_turn, 200),
    ("whole call with metrics", whole_call, 900),
    ("chunk of a stream", chunk, 268),
    ("whole call with nothing installed", whole_call, 120),
    ("HTTP layer: request", http_layer::request, 74_500),
    ("HTTP layer: event of a stream", http_layer::event, 33_600),
    ("HTTP layer: request of another kind", http_layer::other_request, 2_070),
    ("HTTP layer, nothing installed", http_layer::request, 400),
];

/// The same without the layer, whose instructions are no part of the number.
const BARE: &[(&str, fn())] = &[
    ("HTTP layer: request", http_layer::bare_request),
    ("HTTP layer: event of a stream", http_layer::bare_event),
    ("HTTP layer: request of another kind", http_layer::bare_request),
    ("HTTP layer, nothing installed", http_layer::bare_request),
];

/// The end of the names of operations that are measured without an install.
const INERT: &str = "nothing installed";

/// The end of the argument that asks for one of [`BARE`].
const WITHOUT: &str = " (bare)";

const REPETITIONS: u64 = 1_000;

fn finished_call() {
    let (model, duration) = (black_box("gemini-2.5-flash"), black_box(Duration::from_millis(840)));
    llm_request!("gemini", model, duration: duration, prompt: 900, completion: 100);
}

fn finished_calls_in_turn() {
    static TURN: AtomicUsize = AtomicUsize::new(0);
    let turn = TURN.load(Ordering::Relaxed);
    TURN.store(if turn + 1 < PAIRS.len() { turn + 1 } else { 0 }, Ordering::Relaxed);
    let ((provider, model), duration) = (PAIRS[turn], black_box(Duration::from_millis(840)));
    llm_request!(provider, model, duration: duration, prompt: 900, completion: 100);
}

fn whole_call() {
    let mut call = LlmCall::start("gemini", black_box("gemini-2.5-flash"));
    call.record_usage(Usage::new(900, 100));
    call.finish();
}

thread_local! {
    static STREAM: std::cell::RefCell<Option<LlmCall>> = const { std::cell::RefCell::new(None) };
}

fn chunk() {
    STREAM.with_borrow_mut(|call| {
        call.get_or_insert_with(|| LlmCall::start("gemini", "gemini-2.5-flash")).record_chunk()
    });
}

/// Runs the repetitions. Callgrind counts only this function: the install is not measured, and the instructions of upkeep depend
/// on the time.
#[inline(never)]
fn counted_by_callgrind(record: fn(), repetitions: u64) {
    for _ in 0..repetitions {
        record();
    }
}

fn record(what: &str, repetitions: u64) -> Result<(), Box<dyn Error>> {
    let record = match what.strip_suffix(WITHOUT) {
        Some(what) => BARE.iter().find(|(name, _)| *name == what).map(|(_, record)| record),
        None => LIMITS.iter().find(|(name, ..)| *name == what).map(|(_, record, _)| record),
    };
    let record = record.ok_or("nothing of that name")?;
    let builder = Builder::new().without_listener().without_subscriber();
    let _telemetry = if what.ends_with(INERT) { None } else { Some(builder.install()?) };
    // Opens what is opened once.
    PAIRS.iter().for_each(|_| record());
    counted_by_callgrind(*record, repetitions);
    Ok(())
}

fn instructions(what: &str, repetitions: u64) -> Result<u64, Box<dyn Error>> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*counted_by_callgrind*"])
        .arg(std::env::current_exe()?)
        .args([what, &repetitions.to_string()])
        .output()
        .map_err(|error| format!("valgrind: {error}: install it (Debian: `valgrind`)"))?;
    let report = String::from_utf8_lossy(&output.stderr);
    let collected =
        report.lines().find_map(|line| line.split_once("Collected : ")).ok_or_else(|| report.to_string())?;
    Ok(collected.1.trim().parse()?)
}

fn each(what: &str) -> Result<u64, Box<dyn Error>> {
    Ok((instructions(what, 2 * REPETITIONS)? - instructions(what, REPETITIONS)?) / REPETITIONS)
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    if let [what, repetitions] = std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        record(what, repetitions.parse()?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut exit = ExitCode::SUCCESS;
    println!("{:36} {:>12} {:>8}", "instructions", "each", "limit");
    for (what, _, limit) in LIMITS {
        let mut each = each(what)?;
        if BARE.iter().any(|(name, _)| name == what) {
            each = each.saturating_sub(self::each(&format!("{what}{WITHOUT}"))?);
        }
        let verdict = if each <= *limit { "" } else { "  TOO MANY" };
        println!("{what:36} {each:>12} {limit:>8}{verdict}");
        if each > *limit || each == 0 {
            exit = ExitCode::FAILURE;
        }
    }
    Ok(exit)
}
