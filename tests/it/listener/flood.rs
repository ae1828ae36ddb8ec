//! The listener under attack: connections that never end, scrapers that never rest, descriptors that run out.

#![expect(clippy::print_stderr, reason = "the figures of a flood are worth a look")]

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::support::page::Page;
use crate::support::process::{cpu_time, descriptors, resident_memory_of};
use crate::support::{free_port, get, role, wait_for};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime;

/// How long a scrape may take, whatever others do.
const SCRAPE: Duration = Duration::from_secs(5);

/// How many connections the listener has open at most, and what else a scrape needs.
const CONNECTIONS: usize = 64 + 8;

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
    let (begun, before) = (Instant::now(), cpu_time(pid));
    let end = begun + flood_seconds();
    let watcher = std::thread::spawn(move || {
        let mut most = 0;
        while Instant::now() < end {
            most = most.max(descriptors(pid));
            std::thread::sleep(Duration::from_millis(5));
        }
        most
    });
    let (mut scrapes, mut resets, mut worst) = (0, 0, Duration::ZERO);
    while Instant::now() < end || scrapes < 2 {
        let started = Instant::now();
        // A kernel short of room for handshakes resets a connection now and then; who scrapes comes again.
        let response = wait_for("a scrape is answered during the flood", SCRAPE, || {
            get(addr, "/metrics", SCRAPE).inspect_err(|_| resets += 1).ok()
        });
        Page::parse(&response.body);
        worst = worst.max(started.elapsed());
        scrapes += 1;
        std::thread::sleep(Duration::from_millis(200));
    }
    let spent = (cpu_time(pid) - before).div_duration_f64(begun.elapsed()) * 100.0;
    let most = watcher.join().expect("no panic");
    drop(flooder);
    eprintln!(
        "{at_rest} descriptors at rest, at most {most}; {scrapes} scrapes, {resets} resets, the slowest {worst:?}; {spent:.0} % of a core"
    );
    assert!(worst < SCRAPE, "{scrapes} scrapes, the slowest {worst:?}");
    assert!(most <= at_rest + CONNECTIONS, "{most} descriptors, {at_rest} at rest");

    wait_for("descriptors fall back", Duration::from_secs(60), || (descriptors(pid) <= at_rest + 2).then_some(()));
    get(addr, "/metrics", SCRAPE).expect("the page is served");
}

#[test]
fn connections_that_never_end_keep_no_scrape_out() {
    withstands_a_flood(None);
}

#[test]
fn connections_that_come_back_keep_no_scrape_out() {
    withstands_a_flood(Some(Duration::from_secs(1)));
}

#[test]
fn connections_that_come_back_at_once_keep_no_scrape_out() {
    withstands_a_flood(Some(Duration::ZERO));
}

#[test]
fn without_descriptors_the_listener_waits_and_recovers() {
    const LIMIT: u32 = 64;
    if role::role().is_some() {
        let _telemetry = botticelli_obs::install().expect("it installs");
        return role::open_files_on_demand();
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
    eprintln!("{spent:?} of processor time in 2 s");
    assert!(spent < Duration::from_millis(400), "{spent:?}");

    writeln!(stdin, "close").expect("the program reads");
    let response = get(addr, "/metrics", SCRAPE).expect("the listener recovers");
    Page::parse(&response.body);
    drop(waiting);
    wait_for("descriptors fall back", Duration::from_secs(30), || (descriptors(pid) <= at_rest).then_some(()));
}

/// The program of the next tests: its page has the series of 1,000 models.
fn serve_a_large_page() {
    let models = (0..1000).map(|model| format!("a-model-with-a-rather-long-name-{model:04}"));
    let builder = models.fold(botticelli_obs::Builder::new(), |builder, model| builder.add_model("gemini", model));
    let _telemetry = builder.install().expect("it installs");
    role::wait_for_the_end();
}

/// Asks for the page; returns the connection, and when it asked.
fn ask(addr: SocketAddr) -> std::net::TcpStream {
    let mut stream = std::net::TcpStream::connect(addr).expect("the backlog has room");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time limit");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("it is open");
    stream
}

#[test]
fn peers_that_never_read_take_four_pages_and_keep_no_scrape_out() {
    if role::role().is_some() {
        return serve_a_large_page();
    }
    let (addr, text) = endpoint();
    let program = role::start("program", 1024, &[(ENDPOINT, &text)]);
    let pid = program.0.id();
    let at_rest = served(addr, pid);
    let pages = (0..10).map(|_| get(addr, "/metrics", SCRAPE).expect("the page is served").body.len());
    let page = pages.max().expect("some");
    let before = resident_memory_of(pid);

    let silent: Vec<_> = (0..64).map(|_| ask(addr)).collect();
    let (mut most, mut worst, mut descriptors_most) = (0, Duration::ZERO, 0);
    for _ in 0..10 {
        let started = Instant::now();
        let response = get(addr, "/metrics", SCRAPE).expect("a scrape is answered beside them");
        worst = worst.max(started.elapsed());
        assert!(response.body.len().abs_diff(page) < 4096, "{} of {page} bytes", response.body.len());
        most = most.max(resident_memory_of(pid));
        descriptors_most = descriptors_most.max(descriptors(pid));
    }
    drop(silent);
    let grown = most.saturating_sub(before);
    eprintln!(
        "a page of {page} bytes, {before} bytes resident, at most {grown} more; the slowest scrape {worst:?}, \
         at most {descriptors_most} descriptors, {at_rest} at rest"
    );
    assert!(page > 4 * 1024 * 1024, "{page}");
    assert!(grown < 4 * page as u64 + 8 * 1024 * 1024, "{grown}");
    assert!(worst < SCRAPE, "{worst:?}");
    assert!(descriptors_most <= at_rest + CONNECTIONS, "{descriptors_most}");
}

#[test]
fn slow_readers_get_whole_pages() {
    if role::role().is_some() {
        return serve_a_large_page();
    }
    let (addr, text) = endpoint();
    let program = role::start("program", 1024, &[(ENDPOINT, &text)]);
    served(addr, program.0.id());
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                let mut stream = ask(addr);
                let (mut answer, mut bytes) = (Vec::new(), vec![0; 64 * 1024]);
                loop {
                    match stream.read(&mut bytes).expect("it answers") {
                        0 => break,
                        read => answer.extend_from_slice(&bytes[..read]),
                    }
                    // This is about how fast the peer is, not a wait for something to happen.
                    std::thread::sleep(Duration::from_millis(20));
                }
                let answer = String::from_utf8(answer).expect("text");
                let (head, page) = answer.split_once("\r\n\r\n").expect("a head");
                let length = format!("content-length: {}", page.len());
                assert!(head.to_ascii_lowercase().lines().any(|line| line == length), "{head}, {length}");
            });
        }
        for _ in 0..5 {
            get(addr, "/metrics", SCRAPE).expect("a scrape is answered beside them");
        }
    });
}

#[test]
fn head_that_comes_byte_by_byte_is_answered() {
    if role::role().is_some() {
        return serve();
    }
    let (addr, text) = endpoint();
    let program = role::start("program", 1024, &[(ENDPOINT, &text)]);
    served(addr, program.0.id());
    let mut stream = std::net::TcpStream::connect(addr).expect("it accepts");
    stream.set_nodelay(true).expect("each byte goes out alone");
    stream.set_read_timeout(Some(SCRAPE)).expect("a time limit");
    for byte in b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" {
        stream.write_all(&[*byte]).expect("it reads");
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nok"), "{answer}");
}

#[test]
fn silent_peers_of_a_program_with_few_descriptors_keep_no_scrape_out() {
    if role::role().is_some() {
        return serve();
    }
    // With 24 of them the lobby does not get full: what is closed then is closed for want of a descriptor.
    for limit in [64, 24] {
        let (addr, text) = endpoint();
        let program = role::start("program", limit, &[(ENDPOINT, &text)]);
        let at_rest = served(addr, program.0.id());
        let silent: Vec<_> =
            (0..60).map(|_| std::net::TcpStream::connect(addr).expect("the backlog has room")).collect();
        let started = Instant::now();
        let response = get(addr, "/metrics", SCRAPE).expect("a scrape is answered beside them");
        eprintln!("{limit} descriptors, {at_rest} at rest; a scrape in {:?}", started.elapsed());
        Page::parse(&response.body);
        drop(silent);
    }
}

/// Peers that keep their connections open and ask for this path again and again, for as long as the test's process runs.
fn insist(addr: SocketAddr, peers: usize, path: &'static str) {
    for _ in 0..peers {
        std::thread::spawn(move || {
            let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
            loop {
                let Ok(mut stream) = std::net::TcpStream::connect(addr) else { return };
                let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
                let mut answer = [0; 64 * 1024];
                while stream.write_all(request.as_bytes()).is_ok() {
                    match std::io::Read::read(&mut stream, &mut answer) {
                        Ok(0) | Err(_) => break,
                        Ok(_) => std::thread::sleep(Duration::from_millis(400)),
                    }
                }
            }
        });
    }
}

/// Peers that ask more often than every second are never silent for as long as it takes to be closed for another one.
fn keeps_its_time_beside_peers_that_insist(networks: &str, path: &'static str) {
    let variables = [(ENDPOINT, "127.0.0.1:0"), ("BOTTICELLI_OBS_ALLOWED_NETWORKS", networks), ("INSISTS_ON", path)];
    crate::support::in_own_process(&variables, || {
        let telemetry = botticelli_obs::install().expect("it installs");
        let addr = telemetry.metrics_addr().expect("there is a listener");
        // As many as there are slots, and then 60.
        for peers in [48, 12] {
            insist(addr, peers, path);
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(4) {
                let started = Instant::now();
                let response = get(addr, "/metrics", Duration::from_secs(20)).expect("the page is served");
                assert!(matches!(response.status, 200 | 403), "{}", response.status);
                assert!(started.elapsed() < SCRAPE, "{path}: a scrape took {:?}", started.elapsed());
                std::thread::sleep(Duration::from_millis(300));
            }
        }
    });
}

#[test]
fn peers_that_ask_for_the_health_again_and_again_keep_no_scrape_out() {
    keeps_its_time_beside_peers_that_insist("127.0.0.0/8", "/health");
}

#[test]
fn peers_that_ask_for_the_page_again_and_again_keep_no_scrape_out() {
    keeps_its_time_beside_peers_that_insist("127.0.0.0/8", "/metrics");
}

#[test]
fn peers_that_may_not_scrape_keep_nobody_out() {
    keeps_its_time_beside_peers_that_insist("10.0.0.0/8", "/metrics");
}
