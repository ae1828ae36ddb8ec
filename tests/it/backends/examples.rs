//! What the examples tell a person: why something fails, in lines that fit a terminal.

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

use crate::support::bot::program;
use crate::support::server::Folder;
use crate::support::{clear_environment, find_program, free_port};

/// A bot whose server is away, and whose page is on a port of its own.
fn bot_without_server() -> (Vec<String>, Vec<(&'static str, String)>) {
    let options = ["--calls", "6", "--rate", "100", "--timeout", "2s", "--provider", "ollama"];
    // Longer than a column of the table.
    let model = "a-model-whose-name-is-longer-than-any-column-of-a-table-may-be:70b-instruct-q4_K_M";
    let options = options.iter().copied().chain(["--model", model]).map(str::to_owned).collect();
    let variables = vec![
        ("OPENAI_BASE_URL", format!("http://user:s3cret@127.0.0.1:{}/v1", free_port())),
        ("OPENAI_API_KEY", "s3cret".to_owned()),
        ("PROMETHEUS_ENDPOINT", "127.0.0.1:0".to_owned()),
    ];
    (options, variables)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// As in an image of Debian, which has none.
#[test]
fn the_bot_says_what_to_do_without_root_certificates() {
    let folder = Folder::new("roots");
    let none = folder.path().join("none.pem");
    fs::write(&none, "").expect("the file can be written");
    let mut bot = Command::new(program("bot_server"));
    clear_environment(&mut bot);
    bot.args(["--calls", "1"]).env("PROMETHEUS_ENDPOINT", "127.0.0.1:0");
    let output = bot.env("SSL_CERT_FILE", none).env("SSL_CERT_DIR", folder.path()).output().expect("the bot runs");
    let log = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(log.contains("install the package ca-certificates") && !log.contains("panicked"), "{log}");
}

#[test]
fn the_bot_says_why_its_calls_fail_and_fits_a_terminal() {
    let (options, variables) = bot_without_server();
    let mut bot = Command::new(program("bot_server"));
    clear_environment(&mut bot);
    let output = bot.args(options).envs(variables).output().expect("the bot runs");
    let (said, log) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{said}{log}");
    // Once when it happens, and once at the end with the number of calls.
    assert_eq!(said.matches("Connection refused").count(), 2, "{said}");
    assert!(said.contains("      6 network: Connection refused"), "{said}");
    assert!(!said.contains("s3cret") && !log.contains("s3cret"), "{said}{log}");
    assert!(!said.contains('\x1b') && !log.contains('\x1b'), "{said}{log}");
    let head = said.lines().position(|line| line.starts_with("provider")).expect("there is a table");
    for line in said.lines().skip(head).take(2) {
        assert!((60..80).contains(&line.chars().count()), "{line}");
    }
}

/// Runs the bot on a terminal with these variables, and returns all that it has written there.
fn on_a_terminal(more: &[(&str, &str)]) -> Option<String> {
    let script = find_program("script")?;
    let (options, variables) = bot_without_server();
    let mut terminal = Command::new(script);
    clear_environment(&mut terminal);
    terminal.env_remove("NO_COLOR").env("TERM", "xterm").envs(variables).envs(more.iter().copied());
    let command = format!("{} {}", program("bot_server").display(), options.join(" "));
    let output = terminal.args(["-qec", &command, "/dev/null"]).stdin(Stdio::null()).output().expect("script runs");
    Some(text(&output.stdout))
}

#[test]
fn a_terminal_gets_colours_unless_it_has_none_or_nobody_wants_them() {
    let Some(said) = on_a_terminal(&[]) else { return };
    assert!(said.contains("\x1b[32m INFO\x1b[0m") && said.contains("\x1b[K"), "{said:?}");
    let said = on_a_terminal(&[("NO_COLOR", "1")]).expect("script is there");
    assert!(said.contains("Connection refused") && !said.contains("\x1b[3"), "{said:?}");
    let said = on_a_terminal(&[("TERM", "dumb")]).expect("script is there");
    assert!(said.contains("Connection refused") && !said.contains('\x1b'), "{said:?}");
}

fn axum(argument: &str) -> Output {
    let mut program = Command::new(program("axum"));
    clear_environment(&mut program);
    program.arg(argument).output().expect("the example runs")
}

#[test]
fn the_web_server_names_the_address_that_is_taken_and_has_help() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let address = taken.local_addr().expect("it is bound").to_string();
    let output = axum(&address);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains(&format!("can't listen on {address}: Address already in use")), "{said}");
    let output = axum("--help");
    assert!(output.status.success() && text(&output.stdout).contains("Usage: axum"), "{output:?}");
}
