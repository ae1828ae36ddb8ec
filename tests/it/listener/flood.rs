//! The listener under attack: connections that never end, scrapers that never rest, descriptors that run out.

#![expect(clippy::print_stderr, reason = "the figures of a flood are worth a look")]

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime;

use crate::support::page::Page;
use crate::support::process::{cpu_time, descriptors};
use crate::support::{free_port, get, role, this_test, wait_for};

/// How long a scrape may take while connections are held.
const SCRAPE: Duration = Duration::from_secs(15);

/// The same while those that were thrown out come back at once, and compete with the scrape on a busy machine.
const SCRAPE_IN_A_CROWD: Duration = Duration::from_secs(60);

const ENDPOINT: &str = "PROMETHEUS_ENDPOINT";

fn endpoint() -> (SocketAddr, String) {
    let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
    (addr, addr.to_string())
}

fn serve() {
    let _telemetry = botticelli_obs::install().expect("it installs");
    role::wait_for_the_end();
}

/// Waits until the program serves, and returns its descriptors at rest.
fn served(addr: SocketAddr, program: u32) -> usize {
    wait_for("the page is served", Duration::from_secs(30), || get(addr, "/metrics", Duration::from_secs(1)).ok());
    wait_for("the connection is closed", Duration::from_secs(30), || {
        let before = descriptors(program);
        std::thread::sleep(Duration::from_millis(50));
        (descriptors(program) == before).then_some(before)
    })
}

fn flood_seconds() -> Duration {
    let seconds = std::env::var("FLOOD_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(10))
}

/// Holds 2,000 connections with half a request each; whoever is thrown out comes back after the pause, if there is one.
fn flood(addr: SocketAddr, pause: Option<Duration>) {
    let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let intruder = move || async move {
        loop {
            if let Ok(mut stream) = TcpStream::connect(addr).await
                && stream.write_all(b"GET /metr").await.is_ok()
            {
                let _ = stream.read_to_end(&mut Vec::new()).await;
            }
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return,
            }
        }
    };
    for _ in 0..2000 {
        runtime.spawn(intruder());
    }
    role::wait_for_the_end();
    runtime.shutdown_background();
}

fn withstands_a_flood(pause: Option<Duration>) {
    match role::role().as_deref() {
        Some("program") => return serve(),
        Some(addr) => return flood(addr.parse().expect("an address"), pause),
        None => {}
    }
    let (addr, text) = endpoint();
    let program = role::start("program", 8192, &[(ENDPOINT, &text)]);
    let pid = program.0.id();
    let at_rest = served(addr, pid);

    let flooder = role::start(&text, 8192, &[]);
    let end = Instant::now() + flood_seconds();
    let watcher = std::thread::spawn(move || {
        let mut most = 0;
        while Instant::now() < end {
            most = most.max(descriptors(pid));
            std::thread::sleep(Duration::from_millis(5));
        }
        most
    });
    let limit = if pause.is_some() { SCRAPE_IN_A_CROWD } else { SCRAPE };
    let (mut scrapes, mut resets, mut worst) = (0, 0, Duration::ZERO);
    while Instant::now() < end || scrapes < 2 {
        let started = Instant::now();
        // A kernel short of room for handshakes resets a connection now and then; who scrapes comes again.
        let response = wait_for("a scrape is answered during the flood", limit, || {
            get(addr, "/metrics", limit).inspect_err(|_| resets += 1).ok()
        });
        Page::parse(&response.body);
        worst = worst.max(started.elapsed());
        scrapes += 1;
        std::thread::sleep(Duration::from_millis(200));
    }
    let most = watcher.join().expect("no panic");
    drop(flooder);
    eprintln!(
        "{}: {at_rest} descriptors at rest, at most {most}; {scrapes} scrapes, {resets} resets, the slowest {worst:?}",
        this_test()
    );
    assert!(worst < limit, "{scrapes} scrapes, the slowest {worst:?}");
    assert!(most < 350, "{most} descriptors");

    wait_for("descriptors fall back", Duration::from_secs(60), || (descriptors(pid) <= at_rest + 2).then_some(()));
    let started = Instant::now();
    get(addr, "/metrics", SCRAPE).expect("the page is served");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[test]
fn connections_that_never_end_keep_no_scrape_out() {
    withstands_a_flood(None);
}

#[test]
fn connections_that_come_back_keep_no_scrape_out() {
    withstands_a_flood(Some(Duration::from_secs(1)));
}

/// The program of the next test: on a word it opens files until there are no descriptors left, and on another it closes them.
fn serve_without_descriptors() {
    let _telemetry = botticelli_obs::install().expect("it installs");
    let mut files = Vec::new();
    for word in std::io::stdin().lines() {
        match word.expect("a line").as_str() {
            "open" => files.extend(std::iter::repeat_with(|| File::open("/dev/null")).map_while(Result::ok)),
            _ => files.clear(),
        }
    }
}

#[test]
fn without_descriptors_the_listener_waits_and_recovers() {
    const LIMIT: u32 = 64;
    if role::role().is_some() {
        return serve_without_descriptors();
    }
    let (addr, text) = endpoint();
    let mut program = role::start("program", LIMIT, &[(ENDPOINT, &text)]);
    let pid = program.0.id();
    let at_rest = served(addr, pid);
    let mut stdin = program.0.stdin.take().expect("it is piped");

    writeln!(stdin, "open").expect("the program reads");
    wait_for("the program opens files", Duration::from_secs(30), || (descriptors(pid) >= LIMIT as usize).then_some(()));
    // They wait in the backlog, and wake the listener for nothing.
    let waiting: Vec<_> = (0..20).map(|_| std::net::TcpStream::connect(addr).expect("the backlog has room")).collect();
    let before = cpu_time(pid);
    std::thread::sleep(Duration::from_secs(2));
    let spent = cpu_time(pid) - before;
    eprintln!("{}: {spent:?} of processor time in 2 s", this_test());
    assert!(spent < Duration::from_millis(400), "{spent:?}");

    writeln!(stdin, "close").expect("the program reads");
    let response = get(addr, "/metrics", SCRAPE).expect("the listener recovers");
    Page::parse(&response.body);
    drop(waiting);
    wait_for("descriptors fall back", Duration::from_secs(30), || (descriptors(pid) <= at_rest).then_some(()));
}
