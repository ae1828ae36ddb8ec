//! Other processes of one test: the test's own binary again, told by a variable which part to play.

use std::fs::File;
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

/// In a role: opens files until no descriptors are left when told to, and closes them at the next word.
pub fn open_files_on_demand() {
    let mut files = Vec::new();
    for word in std::io::stdin().lines() {
        match word.expect("a line").as_str() {
            "open" => files.extend(std::iter::repeat_with(|| File::open("/dev/null")).map_while(Result::ok)),
            _ => files.clear(),
        }
    }
}
