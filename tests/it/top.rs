//! `botticelli-obs top`, as a user has it.

use std::net::SocketAddr;
use std::process::{Command, Output};
use std::time::Duration;

use crate::support::server::Folder;
use crate::support::{clear_environment, find_program, in_own_process, serve_pages, wait_for};
use botticelli_obs::{Builder, ErrorType, LlmCall, Usage};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(30);
const PROGRAM: &str = env!("CARGO_BIN_EXE_botticelli-obs");

fn top(arguments: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    clear_environment(&mut command);
    command.arg("top").args(arguments).output().expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn table_and_json_have_the_numbers_of_the_page() {
    in_own_process(&[("PROMETHEUS_ENDPOINT", "127.0.0.1:0")], || {
        let telemetry = Builder::new().install().expect("it installs");
        let addr = telemetry.metrics_addr().expect("there is a listener").to_string();
        let mut call = LlmCall::start("gemini", "gemini-2.5-flash");
        call.record_usage(Usage::new(12, 30));
        call.finish();
        LlmCall::start("openai", "gpt-4o").fail(ErrorType::RateLimit);

        let output = top(&[&addr, "--once"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let table = text(&output.stdout);
        let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[0], ["PROVIDER", "MODEL", "CALLS", "ERRORS", "ERR%", "P50", "P95", "TOKENS", "COST", "RUN"]);
        assert_eq!(rows[1][..5], ["gemini", "gemini-2.5-flash", "1", "0", "0.0"]);
        assert_eq!((rows[1][7], &rows[2][..5]), ("42", &["openai", "gpt-4o", "1", "1", "100.0"][..]));
        assert!(!table.contains('\u{1b}'));

        let output = top(&[&format!("http://{addr}/metrics"), "--json"]);
        let json: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
        assert_eq!(json["models"][0]["prompt_tokens"], 12);
        assert_eq!(json["models"][1]["errors"], 1);
    });
}

#[test]
fn page_with_a_token_is_read_with_its_file() {
    let folder = Folder::new("top");
    let file = folder.path().join("token");
    std::fs::write(&file, "s3cret-token\n").expect("it can be written");
    let file = file.to_str().expect("text");
    in_own_process(&[("PROMETHEUS_ENDPOINT", "127.0.0.1:0"), ("BOTTICELLI_OBS_TOKEN_FILE", file)], || {
        let telemetry = Builder::new().install().expect("it installs");
        LlmCall::start("p", "m").finish();
        let addr = telemetry.metrics_addr().expect("there is a listener").to_string();
        let file = std::env::var("BOTTICELLI_OBS_TOKEN_FILE").expect("it is set");
        assert!(top(&[&addr, "--once", "--token-file", &file]).status.success());
        let refused = top(&[&addr, "--once"]);
        assert!(!refused.status.success());
        assert!(text(&refused.stderr).contains("--token-file"), "{}", text(&refused.stderr));
    });
}

#[test]
fn what_is_wrong_is_one_line_and_an_exit_status() {
    let other = serve_pages(&["# TYPE up gauge\nup 1\n".to_owned()], "text/plain; version=0.0.4");
    for (arguments, says) in [
        (vec!["ftp://x"], "http"),
        (vec!["127.0.0.1:1"], "refused"),
        (vec![&*other.to_string()], "no metrics of LLM calls"),
    ] {
        let output = top(&[&arguments[..], &["--once"]].concat());
        let stderr = text(&output.stderr);
        assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
        assert!(stderr.contains(says), "{says}: {stderr}");
    }
}

/// A terminal of `tmux` in which `top` runs; it ends when it is dropped.
struct Terminal {
    socket: String,
}

impl Terminal {
    fn start(tmux: &std::path::Path, addr: SocketAddr, folder: &Folder) -> Self {
        let terminal = Self { socket: folder.path().join("socket").to_str().expect("text").to_owned() };
        let command = format!("env NO_COLOR=1 {PROGRAM} top {addr}");
        let mut start = Command::new(tmux);
        start.args(["-f", "/dev/null", "-S", &terminal.socket, "new-session", "-d", "-x", "80", "-y", "24", &command]);
        assert!(start.status().expect("tmux runs").success());
        terminal
    }

    fn tell(&self, arguments: &[&str]) -> String {
        let output = Command::new("tmux").args(["-S", &self.socket]).args(arguments).output().expect("tmux runs");
        text(&output.stdout)
    }

    /// Waits for a screen that has all of this.
    fn screen_with(&self, parts: &[&str]) -> String {
        wait_for(&parts.join(", "), LIMIT, || {
            let screen = self.tell(&["capture-pane", "-p"]);
            parts.iter().all(|part| screen.contains(part)).then_some(screen)
        })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tell(&["kill-server"]);
    }
}

#[test]
fn terminal_is_resized_and_the_program_restarted_under_it() {
    let Some(tmux) = find_program("tmux") else { return };
    let page = |calls: u64| {
        format!(
            "# TYPE llm_requests_total counter\nllm_requests_total{{provider=\"gemini\",model=\"gemini-2.5-flash\"}} {calls}\n\
             llm_requests_total{{provider=\"openai\",model=\"gpt-4o-mini\"}} 7\n"
        )
    };
    let addr = serve_pages(&[page(40), page(50), page(60), page(3)], "text/plain; version=0.0.4");
    let folder = Folder::new("tmux");
    let terminal = Terminal::start(&tmux, addr, &folder);
    let small = terminal.screen_with(&["live", "gemini-2.5-flash", "quit: q"]);
    assert!(small.lines().all(|line| line.chars().count() <= 80) && !small.contains("/MIN"), "{small}");
    terminal.tell(&["resize-window", "-x", "200", "-y", "50"]);
    let wide = terminal.screen_with(&["/MIN", "ERR%", "gpt-4o-mini"]);
    assert!(wide.lines().any(|line| line.chars().count() > 80), "{wide}");
    terminal.screen_with(&["the program was restarted"]);
    terminal.tell(&["send-keys", "q"]);
    wait_for("the end", LIMIT, || terminal.tell(&["list-sessions"]).is_empty().then_some(()));
}
