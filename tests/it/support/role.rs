//! Other processes of one test: the test's own binary again, told by a variable which part to play.

use std::io::Read;
use std::process::{Command, Stdio};

use super::server::Process;
use super::{clear_environment, this_test};

const ROLE: &str = "TEST_ROLE";

/// The part this process is to play; none in the test itself.
pub fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// Starts a process that runs this test in a role, with a limit of file descriptors; it is killed when it is dropped.
pub fn start(role: &str, descriptors: u32, variables: &[(&str, &str)]) -> Process {
    let mut child = Command::new("sh");
    clear_environment(&mut child);
    child
        .args(["-c", &format!(r#"ulimit -n {descriptors} && exec "$0" "$@""#)])
        .arg(std::env::current_exe().expect("the test's own path"))
        .args(["--exact", &this_test(), "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .envs(variables.iter().copied())
        .stdin(Stdio::piped());
    Process(child.spawn().expect("sh runs"))
}

/// In a role: waits until the test has ended, in whatever way.
pub fn wait_for_the_end() {
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}
