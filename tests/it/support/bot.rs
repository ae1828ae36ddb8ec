//! The example `bot_server` as a child process, with its simulator.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use super::server::Folder;
use super::{clear_environment, free_port, wait_for};

/// A running bot; killed when it is dropped.
#[derive(Debug)]
pub struct Bot {
    child: Child,
    folder: Folder,
    pub metrics: SocketAddr,
}

/// What the bot itself has counted, per provider and model.
#[derive(Debug, serde::Deserialize)]
pub struct Tally {
    pub provider: String,
    pub model: String,
    pub requests: u64,
    pub errors: BTreeMap<String, u64>,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    pub p50_ms: u64,
    pub p95_ms: u64,
}

impl Bot {
    /// Starts the bot with these options and variables; it serves its page on a port of its own.
    pub fn start(options: &[&str], variables: &[(&str, &str)]) -> Self {
        let folder = Folder::new("bot");
        let metrics = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut command = Command::new(program("bot_server"));
        clear_environment(&mut command);
        let child = command
            .args(options)
            .arg("--tally")
            .arg(folder.path().join("tally.json"))
            .env("PROMETHEUS_ENDPOINT", metrics.to_string())
            .envs(variables.iter().copied())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.path().join("stderr")).expect("the log can be written"))
            .spawn()
            .expect("the bot starts");
        Self { child, folder, metrics }
    }

    /// Waits for the tally, which the bot writes when its calls have ended.
    pub fn tally(&self, limit: Duration) -> Vec<Tally> {
        wait_for("the bot writes its tally", limit, || {
            serde_json::from_str(&std::fs::read_to_string(self.folder.path().join("tally.json")).ok()?).ok()
        })
    }

    /// Sends a signal, such as `TERM`.
    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").arg(format!("-{signal}")).arg(self.child.id().to_string()).status();
        assert!(status.expect("kill runs").success());
    }

    /// Waits for the end of the process.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        wait_for("the bot ends", limit, || self.child.try_wait().expect("the bot can be waited for"))
    }

    /// Returns what it has written to standard error.
    pub fn stderr(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("stderr")).unwrap_or_default()
    }
}

impl Drop for Bot {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the path of an example. `cargo test` builds examples beside the tests, but not when it is told a single test file.
pub fn program(example: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    let folder = test.parent().and_then(|deps| deps.parent()).expect("tests are in a folder of the target folder");
    let program = folder.join("examples").join(example);
    assert!(program.is_file(), "{} is missing: cargo build --all-features --example {example}", program.display());
    program
}
