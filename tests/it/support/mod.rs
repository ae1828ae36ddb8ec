//! What several test files need: scenarios in processes of their own, real servers, a strict reader of the page.
#![allow(dead_code, reason = "which parts are used depends on the test binary and on the features")]

#[cfg(feature = "install")]
pub mod bot;
pub mod collected;
#[cfg(feature = "install")]
pub mod conventions;
pub mod forward;
pub mod jaeger;
pub mod observers;
pub mod page;
pub mod peer;
pub mod process;
#[cfg(feature = "install")]
pub mod program;
pub mod raw;
pub mod role;
pub mod server;
#[cfg(feature = "testing")]
pub mod sse;
pub mod store;
pub mod tls;
#[cfg(feature = "install")]
pub mod warnings;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Variables of the surroundings that would change what a scenario sees.
const PREFIXES: &[&str] = &[
    "OTEL_",
    "BOTTICELLI_",
    "PROMETHEUS_",
    "RUST_LOG",
    "OPENAI_",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
];

/// Set in the child that runs a scenario.
const IN_SCENARIO: &str = "SCENARIO_PROCESS";

/// Runs a scenario in a process of its own, with these variables and none of the surroundings: the recorder, the subscriber
/// and the environment belong to a process, and tests share one.
///
/// In the child the scenario runs and its panic fails the child; in the parent the child's output is returned once it has
/// succeeded. Use it as the only statement of a test:
///
/// `in_own_process(&[("PROMETHEUS_ENDPOINT", "0")], || { … });`
pub fn in_own_process(variables: &[(&str, &str)], scenario: impl FnOnce()) -> Option<Output> {
    if in_scenario() {
        scenario();
        return None;
    }
    let output = scenario_command(variables).output().expect("the test's own binary runs");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let test = this_test();
    assert!(stdout.contains("1 passed"), "the scenario of {test} failed\n--- stdout\n{stdout}\n--- stderr\n{stderr}");
    Some(output)
}

/// The command by which a scenario gets a process of its own, for tests that need a hand in how it runs.
pub fn scenario_command(variables: &[(&str, &str)]) -> Command {
    let mut child = Command::new(std::env::current_exe().expect("the test's own path"));
    clear_environment(&mut child);
    child
        .args(["--exact", &this_test(), "--nocapture", "--test-threads=1"])
        .env(IN_SCENARIO, "1")
        .envs(variables.iter().copied());
    child
}

/// The path of the calling test in its binary, as `--exact` takes it.
///
/// The test harness names the thread of a test after the test; a thread that the test has started does not know it.
pub fn this_test() -> String {
    let thread = std::thread::current();
    let name = thread.name().filter(|name| *name != "main");
    name.expect("a scenario is started by the thread of its test").to_owned()
}

/// Whether this is the child that runs a scenario.
pub fn in_scenario() -> bool {
    std::env::var_os(IN_SCENARIO).is_some()
}

/// Removes the surroundings' telemetry settings from a command.
pub fn clear_environment(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| PREFIXES.iter().any(|prefix| name.starts_with(prefix))) {
            command.env_remove(name);
        }
    }
}

/// Polls until the condition gives a value, and panics with `what` when the time is up.
pub fn wait_for<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A port on loopback that was free a moment ago, another one at each call.
///
/// Not one that the system gives: it gives the same one to the next who asks, such as a test beside this one.
pub fn free_port() -> u16 {
    // Below the ports that Linux gives for outgoing connections. Processes begin at different places.
    const PORTS: std::ops::Range<u16> = 12_000..32_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(97);
    for _ in PORTS {
        let next = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % u32::from(PORTS.end - PORTS.start);
        let port = PORTS.start + u16::try_from(next).expect("it is below the number of ports");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("loopback has no free port");
}

/// An HTTP GET; returns status, headers and body.
///
/// # Errors
///
/// When the server does not answer in time.
pub fn get(addr: SocketAddr, path: &str, timeout: Duration) -> std::io::Result<Response> {
    get_with(addr, path, &[], timeout)
}

/// The same with more headers.
///
/// # Errors
///
/// When the server does not answer in time.
pub fn get_with(
    addr: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    timeout: Duration,
) -> std::io::Result<Response> {
    let mut stream = TcpStream::connect_timeout(&addr, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n{headers}\r\n")?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let status =
        head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or(std::io::ErrorKind::InvalidData)?;
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { unchunk(body) } else { body.to_owned() };
    Ok(Response { status, head: head.to_owned(), body })
}

/// Serves these pages one after another, and then again from the first, for as long as the test's process runs.
pub fn serve_pages(pages: &[String], content_type: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let addr = listener.local_addr().expect("it is bound");
    let pages = pages.to_vec();
    std::thread::spawn(move || {
        let mut pages = pages.iter().cycle();
        for stream in listener.incoming() {
            let (Ok(mut stream), Some(page)) = (stream, pages.next()) else { return };
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                page.len()
            );
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(page.as_bytes()));
        }
    });
    addr
}

/// What [`get`] returns.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub head: String,
    pub body: String,
}

fn unchunk(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        if size == 0 {
            break;
        }
        body.push_str(&after[..size]);
        rest = after[size..].trim_start_matches("\r\n");
    }
    body
}

/// Finds a program on PATH. `None`, with a line that says so, where it is absent; a failure where `REQUIRE_BACKENDS=1`.
pub fn find_program(name: &str) -> Option<std::path::PathBuf> {
    let found = on_path(name);
    if found.is_none() {
        let required = std::env::var_os("REQUIRE_BACKENDS").is_some_and(|value| value == "1");
        assert!(!required, "{name} is not on PATH, and REQUIRE_BACKENDS=1");
        skip(&format!("{name} is not on PATH"));
    }
    found
}

/// Finds a program that the gate does not install.
pub fn find_program_of_hand_runs(name: &str) -> Option<std::path::PathBuf> {
    let found = on_path(name);
    if found.is_none() {
        skip(&format!("{name} is not on PATH"));
    }
    found
}

fn on_path(name: &str) -> Option<std::path::PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// Says that the calling test, or a part of it, is skipped.
pub fn skip(why: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    // Not by `eprintln!`, which is kept from view where a test passes.
    let _ = writeln!(std::io::stderr(), "{test} is skipped: {why}");
}

/// Runs a program to its end with this on standard input.
pub fn run_with_input(mut command: Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("the program ends");
    let _ = writer.join();
    output
}
