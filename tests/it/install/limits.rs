//! Systems that give no more threads or descriptors: an error, or the work is done without, and never a panic.

use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use botticelli_obs::{LlmCall, Usage};

use crate::support::{find_program, in_scenario, scenario_command, skip};

const LIMIT: Duration = Duration::from_secs(20);

/// What a scenario prints.
const REFUSED: &str = "it can't install: ";
const DONE: &str = "everything was exported";

/// A program with every pipeline, which says what became of it.
#[expect(clippy::print_stdout, reason = "the parent reads these words")]
fn program() {
    let telemetry = match botticelli_obs::install() {
        Ok(telemetry) => telemetry,
        Err(error) => {
            assert!(
                error.is_start_failure() && error.to_string().contains("no more threads or file descriptors"),
                "{error:?}"
            );
            return println!("{REFUSED}{error:?}");
        }
    };
    let mut call = LlmCall::start("gemini", "gemini-2.5-flash");
    call.record_usage(Usage::new(12, 30));
    call.finish();
    match telemetry.shutdown(LIMIT) {
        Ok(()) => println!("{DONE}"),
        Err(error) => println!("{error}"),
    }
}

/// Runs the scenario of this test under a limit such as `--nofile=6`, as a user who has no other process; `None`, with a line that
/// says so, where the system has no such means.
fn under(limit: &str, variables: &[(&str, &str)]) -> Option<Output> {
    let (prlimit, setpriv) = (find_program("prlimit")?, find_program("setpriv")?);
    let scenario = scenario_command(variables);
    // Limits of processes count those of a user, and don't hold for root. A user for each: tests run side by side, and a process that
    // has ended counts a moment longer.
    static USERS: AtomicU32 = AtomicU32::new(0);
    let user = 100_000 + (std::process::id() * 1_000 + USERS.fetch_add(1, Ordering::Relaxed)) % 1_000_000_000;
    let mut command = Command::new(prlimit);
    command.arg(limit).arg(setpriv).arg(format!("--reuid={user}")).arg("--clear-groups");
    command.arg(scenario.get_program()).args(scenario.get_args());
    for (name, value) in scenario.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let output = command.output().expect("prlimit runs");
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("setresuid failed")
        || said.contains("Permission denied")
        || said.contains("Operation not permitted")
    {
        skip("only root can run it");
        return None;
    }
    Some(output)
}

/// Runs the scenario under each of these limits. The lowest ones are refused, the highest are enough, and nowhere is a panic, or a
/// span that is lost although there was an endpoint.
fn under_each(limits: impl Iterator<Item = String>, variables: &[(&str, &str)]) {
    let (mut refused, mut done) = (0, 0);
    for limit in limits {
        let Some(output) = under(&limit, variables) else { return };
        let (said, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(!log.contains("panicked") && !said.contains("panicked"), "{limit}: {said}{log}");
        if said.contains(REFUSED) {
            refused += 1;
        } else if said.contains(DONE) {
            done += 1;
        } else {
            // Too little to run a test at all.
            assert!(!said.contains("running 1 test"), "{limit}: {said}{log}");
        }
    }
    assert!(refused > 0 && done > 0, "{refused} were refused, {done} exported everything");
}

const VARIABLES: [(&str, &str); 2] = [("PROMETHEUS_ENDPOINT", "127.0.0.1:0"), ("OTEL_TRACES_EXPORTER", "console")];

#[test]
fn without_descriptors_there_is_an_error_and_no_panic() {
    if in_scenario() {
        return program();
    }
    under_each((3..40).map(|files| format!("--nofile={files}")), &VARIABLES);
}

#[test]
fn without_threads_there_is_an_error_and_no_panic() {
    if in_scenario() {
        return program();
    }
    under_each((1..12).map(|threads| format!("--nproc={threads}")), &VARIABLES);
}

#[cfg(feature = "otlp-metrics")]
#[test]
fn without_threads_spans_and_metrics_reach_their_endpoint_or_there_is_an_error() {
    use crate::support::peer::{Mood, Peer};

    if in_scenario() {
        return program();
    }
    let peer = Peer::grpc(Mood::Takes);
    // A name, which takes a look-up.
    let endpoint = format!("http://localhost:{}", peer.addr.port());
    let push = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_METRICS_EXPORTER", "prometheus,otlp")];
    let variables = [VARIABLES[0], push[0], push[1]];
    under_each((1..16).map(|threads| format!("--nproc={threads}")), &variables);
}

#[cfg(feature = "exporter")]
#[test]
fn without_threads_the_exporters_listener_is_an_error_too() {
    if in_scenario() {
        return program();
    }
    let variables = [VARIABLES[0], VARIABLES[1], ("BOTTICELLI_OBS_LISTENER", "exporter")];
    under_each((1..12).map(|threads| format!("--nproc={threads}")), &variables);
    under_each((3..40).map(|files| format!("--nofile={files}")), &variables);
}
