//! Short-lived programs: totals that add up over runs in a text file.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use botticelli_obs::{
    Builder, ErrorType, FlushError, LlmCall, Telemetry, Usage, describe_gauge, describe_histogram, gauge, histogram,
};

use crate::support::page::Page;
use crate::support::server::{Folder, NodeExporter};
use crate::support::{find_program, in_own_process, in_scenario, run_with_input, scenario_command};

const SHUTDOWN: Duration = Duration::from_secs(30);
const HEAD: &str = "# Totals over runs, added up by botticelli_obs. Written anew at the end of each run.\n";

fn install() -> Telemetry {
    Builder::new().without_listener().install().expect("it installs")
}

fn call(model: &str, usage: Usage) {
    let mut call = LlmCall::start("gemini", model);
    call.record_usage(usage);
    call.finish();
}

/// Runs a scenario that is told to write to a file in a folder, which is passed to both.
fn writing(more: &[(&str, &str)], scenario: impl FnOnce(&Path), after: impl FnOnce(&Path)) {
    if in_scenario() {
        return scenario(Path::new(&std::env::var("BOTTICELLI_OBS_TEXTFILE").expect("the parent has set it")));
    }
    let folder = Folder::new("textfile");
    let path = folder.path().join("bot.prom");
    let variables = [&[("BOTTICELLI_OBS_TEXTFILE", path.to_str().expect("it is UTF-8"))], more].concat();
    in_own_process(&variables, || unreachable!("the child does not come here"));
    after(&path);
}

/// Reads the file as strictly as a page, without the comments that mark it.
fn read(path: &Path) -> Page {
    let text = fs::read_to_string(path).expect("the file is there");
    let body = text.strip_prefix(HEAD).and_then(|text| text.strip_suffix("# EOF\n"));
    Page::parse(body.unwrap_or_else(|| panic!("head and end: {text}")))
}

fn of(model: &str) -> [(&str, &str); 2] {
    [("provider", "gemini"), ("model", model)]
}

const RUNS: usize = 20;
const AT_A_TIME: usize = 4;

/// What run `n` does; told by `RUN`.
#[expect(clippy::print_stdout, reason = "the parent waits for these words")]
fn short_run() {
    let run: usize = std::env::var("RUN").expect("the parent has set it").parse().expect("a number");
    let telemetry = install();
    for _ in 0..=run {
        call(&format!("model-{run}"), Usage::new(3, 4));
        call("shared", Usage::new(10, 20));
    }
    if run % 5 == 1 {
        println!("waiting to be killed");
        std::thread::sleep(Duration::from_secs(600));
    }
    println!("shutting down");
    telemetry.shutdown(SHUTDOWN).expect("the totals are written");
    println!("shut down");
}

fn start(path: &Path, run: usize) -> Child {
    let mut command = scenario_command(&[]);
    command.env("BOTTICELLI_OBS_TEXTFILE", path).env("RUN", run.to_string());
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the test's own binary runs")
}

/// Waits for the end of a run, or brings it about; says whether the run has said that it shut down.
fn end(run: usize, mut child: Child) -> bool {
    use std::io::{BufRead, BufReader, Read};

    let mut output = BufReader::new(child.stdout.take().expect("stdout is piped"));
    let mut line = String::new();
    let mut said = String::new();
    if run % 5 < 2 {
        // Some are killed before they shut down, some while they do.
        while !line.contains("waiting to be killed") && !line.contains("shutting down") {
            line.clear();
            assert_ne!(output.read_line(&mut line).expect("the run talks"), 0, "run {run} ended early");
        }
        std::thread::sleep(Duration::from_micros(700 * run as u64));
        child.kill().expect("it can be killed");
    }
    output.read_to_string(&mut said).expect("the run ends");
    child.wait().expect("the run ends");
    said.contains("shut down")
}

/// Runs all, a few at a time; returns those that have said that they shut down.
fn run_all(path: &Path) -> Vec<usize> {
    let mut reported = Vec::new();
    let runs: Vec<usize> = (0..RUNS).collect();
    for at_a_time in runs.chunks(AT_A_TIME) {
        let started: Vec<(usize, Child)> = at_a_time.iter().map(|&run| (run, start(path, run))).collect();
        reported.extend(started.into_iter().filter_map(|(run, child)| end(run, child).then_some(run)));
    }
    reported
}

/// Reads the file again and again, as node_exporter might at any moment, and finds it whole each time.
fn read_until(is_over: &AtomicBool, path: &Path) {
    let started = Instant::now();
    // With a limit, so that a run that fails does not leave this one hanging.
    while !is_over.load(Ordering::Acquire) && started.elapsed() < Duration::from_secs(300) {
        if path.exists() {
            read(path);
        }
    }
}

#[test]
fn twenty_short_runs_some_of_them_killed_add_up() {
    if in_scenario() {
        return short_run();
    }
    let folder = Folder::new("textfile");
    let path = folder.path().join("bot.prom");
    let is_over = AtomicBool::new(false);
    let reported = std::thread::scope(|scope| {
        scope.spawn(|| read_until(&is_over, &path));
        let reported = run_all(&path);
        is_over.store(true, Ordering::Release);
        reported
    });
    assert!(reported.len() >= RUNS * 3 / 5, "runs that nobody kills shut down: {reported:?}");

    let page = read(&path);
    let mut calls = 0.0;
    for run in 0..RUNS {
        let model = format!("model-{run}");
        let requests = page.get("llm_requests_total", &of(&model)).unwrap_or_default();
        let whole = (run + 1) as f64;
        let expected: &[f64] = match run % 5 {
            0 if !reported.contains(&run) => &[0.0, whole],
            1 => &[0.0],
            _ => &[whole],
        };
        assert!(expected.contains(&requests), "run {run} has {requests} calls of {expected:?}, {reported:?}");
        let tokens = page.get("llm_tokens_total", &of(&model)).unwrap_or_default();
        assert_eq!(tokens, requests * 7.0, "run {run}: a run is there whole or not at all");
        calls += requests;
    }
    assert_eq!(page.value("llm_requests_total", &of("shared")), calls);
    assert_eq!(page.value("llm_duration_count", &of("shared")), calls);
    assert_eq!(page.value("llm_tokens_prompt_total", &of("shared")), calls * 10.0);
}

/// A second run of the same scenario sees the file of the first.
fn two_runs(scenario: impl Fn(&Path), after: impl FnOnce(&Path)) {
    if in_scenario() {
        return scenario(Path::new(&std::env::var("BOTTICELLI_OBS_TEXTFILE").expect("the parent has set it")));
    }
    let folder = Folder::new("textfile");
    let path = folder.path().join("bot.prom");
    for run in ["1", "2"] {
        let variables = [("BOTTICELLI_OBS_TEXTFILE", path.to_str().expect("it is UTF-8")), ("RUN", run)];
        in_own_process(&variables, || unreachable!("the child does not come here"));
    }
    after(&path);
}

/// Three calls and an exit; a metric of the program's own of each kind.
fn three_calls(_: &Path) {
    let run: f64 = std::env::var("RUN").expect("the parent has set it").parse().expect("a number");
    let telemetry = install();
    call("flash", Usage::new(12, 30));
    call("flash", Usage::new(12, 30));
    LlmCall::start("gemini", "flash").fail(ErrorType::RateLimit);
    describe_gauge!("bot.temperature", "How warm it is.");
    describe_histogram!("bot.queue_wait", "How long a message waits.");
    gauge!("bot.temperature").set(run);
    histogram!("bot.queue_wait").record(run);
    telemetry.shutdown(SHUTDOWN).expect("the totals are written");
}

#[test]
fn counters_and_histograms_add_up_and_gauges_are_those_of_the_last_run() {
    two_runs(three_calls, |path| {
        let page = read(path);
        assert_eq!(page.value("llm_requests_total", &of("flash")), 6.0);
        let limited = [("provider", "gemini"), ("model", "flash"), ("error_type", "rate_limit")];
        assert_eq!(page.value("llm_errors_total", &limited), 2.0);
        assert_eq!(page.value("llm_tokens_total", &of("flash")), 168.0);
        assert_eq!(page.value("llm_duration_count", &of("flash")), 6.0);
        assert_eq!(page.value("llm_in_flight", &of("flash")), 0.0);
        assert_eq!(page.value("bot_temperature", &[]), 2.0);
        assert_eq!((page.value("bot_queue_wait_sum", &[]), page.value("bot_queue_wait_count", &[])), (3.0, 2.0));
        // A run's own identity would be a new series each time.
        assert!(page.of("target_info").is_empty() && page.of("botticelli_obs_pipeline_up").is_empty());
        assert!(page.types.keys().all(|family| !family.starts_with("process_")), "{:?}", page.types);
    });
}

#[test]
fn promtool_finds_nothing_wrong_with_the_file() {
    two_runs(three_calls, |path| {
        let Some(promtool) = find_program("promtool") else { return };
        let mut check = Command::new(promtool);
        check.args(["check", "metrics"]);
        let output = run_with_input(check, &fs::read_to_string(path).expect("the file is there"));
        let findings = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && findings.trim().is_empty(), "{findings}");
    });
}

#[test]
fn node_exporter_serves_what_is_in_the_file() {
    two_runs(three_calls, |path| {
        let folder = path.parent().expect("it is in a folder");
        let Some(exporter) = NodeExporter::start(folder) else { return };
        let served = exporter.page();
        assert!(served.contains("\nnode_textfile_scrape_error 0\n"), "{served}");
        assert!(served.contains("\nllm_requests_total{model=\"flash\",provider=\"gemini\"} 6\n"), "{served}");
        assert!(served.contains("\nllm_duration_count{model=\"flash\",provider=\"gemini\"} 6\n"), "{served}");
    });
}

#[test]
fn a_dropped_telemetry_writes_too() {
    if in_scenario() {
        let _telemetry = install();
        return call("flash", Usage::new(12, 30));
    }
    // A disk that others keep busy may take longer than the 2 seconds of a drop, which is logged then.
    for _ in 0..10 {
        let folder = Folder::new("textfile");
        let path = folder.path().join("bot.prom");
        let variables = [("BOTTICELLI_OBS_TEXTFILE", path.to_str().expect("it is UTF-8"))];
        let output = in_own_process(&variables, || unreachable!("the child does not come here")).expect("the parent");
        let log = String::from_utf8_lossy(&output.stderr);
        if !log.contains("may not be in") {
            assert_eq!(read(&path).value("llm_requests_total", &of("flash")), 1.0, "{log}");
            return;
        }
        assert!(log.contains("ERROR") && log.contains("it was not written in time"), "{log}");
    }
    panic!("the file was not written in time in ten runs");
}

#[test]
fn a_dropped_telemetry_that_cannot_write_says_so() {
    if in_scenario() {
        let telemetry = install();
        let path = std::env::var("BOTTICELLI_OBS_TEXTFILE").expect("the parent has set it");
        let lock = File::options().append(true).open(path + ".lock").expect("it can be opened");
        lock.lock().expect("it is free");
        return drop(telemetry);
    }
    let folder = Folder::new("textfile");
    let path = folder.path().join("bot.prom");
    let variables = [("BOTTICELLI_OBS_TEXTFILE", path.to_str().expect("it is UTF-8"))];
    let output = in_own_process(&variables, || unreachable!("the child does not come here")).expect("the parent");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("ERROR botticelli_obs: textfile: ") && log.contains("another run holds its lock"), "{log}");
}

#[test]
fn a_relative_path_starts_at_the_folder_in_which_the_program_was_installed() {
    in_own_process(&[("BOTTICELLI_OBS_TEXTFILE", "bot.prom")], || {
        let (folder, other) = (Folder::new("textfile"), Folder::new("textfile-other"));
        std::env::set_current_dir(folder.path()).expect("it is there");
        let telemetry = install();
        std::env::set_current_dir(other.path()).expect("it is there");
        call("flash", Usage::new(12, 30));
        telemetry.shutdown(SHUTDOWN).expect("the totals are written");
        assert_eq!(read(&folder.path().join("bot.prom")).value("llm_requests_total", &of("flash")), 1.0);
    });
}

#[test]
fn an_empty_file_and_what_a_killed_run_left_behind_are_no_obstacle() {
    let run = |path: &Path| {
        fs::write(path, "").expect("it can be written");
        fs::write(path.with_extension("prom.tmp"), "# TYPE half").expect("it can be written");
        let telemetry = install();
        call("flash", Usage::new(12, 30));
        telemetry.shutdown(SHUTDOWN).expect("the totals are written");
    };
    let after = |path: &Path| {
        assert_eq!(read(path).value("llm_requests_total", &of("flash")), 1.0);
        assert!(!path.with_extension("prom.tmp").exists());
    };
    writing(&[], run, after);
}

#[test]
fn a_file_that_cannot_be_added_to_is_an_error_at_the_start() {
    let run = |path: &Path| {
        for (text, why) in [
            ("llm_requests_total 3\n".to_owned(), "first line"),
            (format!("{HEAD}# TYPE a counter\na 1\n"), "its end is missing"),
            (format!("{HEAD}# TYPE a counter\na one\n# EOF\n"), "line 3"),
        ] {
            fs::write(path, &text).expect("it can be written");
            let error = Builder::new().without_listener().install().expect_err(why);
            let told = format!("{error:?}");
            assert!(error.is_start_failure() && told.contains(why) && told.contains("bot.prom"), "{told}");
            assert_eq!(fs::read_to_string(path).expect("it is there"), text, "it is left alone");
        }
    };
    writing(&[], run, |_| ());
}

#[test]
fn a_missing_folder_is_an_error_at_the_start_and_under_degrade_a_line() {
    let file = ("BOTTICELLI_OBS_TEXTFILE", "/nowhere/bot.prom");
    let output = in_own_process(&[file], || {
        let error = Builder::new().without_listener().install().expect_err("there is no such folder");
        assert!(error.is_start_failure() && error.to_string().contains("/nowhere/bot.prom"), "{error}");
        let degrade = Builder::new().with_failure_policy(botticelli_obs::FailurePolicy::Degrade);
        let telemetry = degrade.without_listener().install().expect("the program runs without");
        let page = Page::parse(&telemetry.render());
        assert_eq!(page.value("botticelli_obs_pipeline_up", &[("pipeline", "textfile")]), 0.0);
        telemetry.shutdown(SHUTDOWN).expect("there is nothing to lose");
    });
    if let Some(output) = output {
        assert!(String::from_utf8_lossy(&output.stderr).contains("/nowhere/bot.prom"));
    }
}

#[test]
fn metrics_that_are_off_and_a_text_file_contradict_each_other() {
    let variables = [("BOTTICELLI_OBS_TEXTFILE", "bot.prom"), ("OTEL_METRICS_EXPORTER", "none")];
    in_own_process(&variables, || {
        let error = botticelli_obs::install().expect_err("one of the two is a mistake");
        assert!(error.is_invalid_setting() && error.to_string().contains("BOTTICELLI_OBS_TEXTFILE"), "{error}");
    });
}

/// Shuts down after a call, with this done to the file meanwhile; returns the error.
fn spoilt(path: &Path, timeout: Duration, spoil: impl FnOnce(&Path)) -> FlushError {
    let telemetry = install();
    call("flash", Usage::new(12, 30));
    spoil(path);
    let error = telemetry.shutdown(timeout).expect_err("the totals can't be written");
    assert!(error.is_textfile_failure() && error.lost_spans() == 0, "{error:?}");
    error
}

#[test]
fn a_file_that_went_bad_meanwhile_is_left_alone_and_told_of() {
    let run = |path: &Path| {
        let error = spoilt(path, SHUTDOWN, |path| fs::write(path, "mine").expect("it can be written"));
        assert!(error.to_string().contains("bot.prom: the file there can't be added to"), "{error}");
        assert_eq!(fs::read_to_string(path).expect("it is there"), "mine");
    };
    writing(&[], run, |_| ());
}

#[test]
fn a_run_that_holds_the_lock_is_waited_for_as_long_as_was_allowed() {
    let run = |path: &Path| {
        let lock = File::options().create(true).append(true).open(path.with_extension("prom.lock"));
        let lock = lock.expect("it can be opened");
        lock.lock().expect("it is free");
        let started = Instant::now();
        let error = spoilt(path, Duration::from_secs(1), |_| ());
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
        assert!(error.to_string().contains("another run holds its lock"), "{error}");
        assert!(!path.exists());
    };
    writing(&[], run, |_| ());
}

#[cfg(feature = "otlp-grpc")]
#[test]
fn a_trace_backend_that_hangs_does_not_cost_the_totals() {
    use crate::support::peer::{Mood, Peer};

    let peer = Peer::grpc(Mood::NeverAnswers);
    let endpoint = format!("http://{}", peer.addr);
    let run = |_: &Path| {
        let telemetry = install();
        call("flash", Usage::new(12, 30));
        let error = telemetry.shutdown(Duration::from_secs(4)).expect_err("the span is lost");
        assert!(error.lost_spans() == 1 && !error.is_textfile_failure(), "{error:?}");
    };
    let after = |path: &Path| assert_eq!(read(path).value("llm_requests_total", &of("flash")), 1.0);
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str())];
    writing(&variables, run, after);
}
