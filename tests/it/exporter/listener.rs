//! The exporter's listener: the bounds it is held in, and what is around it.

use crate::support::in_own_process;
use botticelli_obs::Builder;

const CHOICE: (&str, &str) = ("BOTTICELLI_OBS_LISTENER", "exporter");

#[cfg(not(feature = "exporter"))]
#[test]
fn without_its_feature_the_choice_is_an_error() {
    in_own_process(&[CHOICE], || {
        for builder in [Builder::new(), Builder::new().with_exporter_listener()] {
            let error = builder.install().expect_err("it is not compiled in");
            assert!(error.is_invalid_setting() && error.to_string().contains("the feature `exporter`"), "{error}");
        }
    });
}

#[test]
fn unknown_listener_is_an_error() {
    in_own_process(&[("BOTTICELLI_OBS_LISTENER", "hyper")], || {
        let error = Builder::new().install().expect_err("there is no such listener");
        assert!(error.is_invalid_setting() && error.to_string().contains("not one of own, exporter"), "{error}");
    });
}

#[cfg(feature = "exporter")]
mod compiled_in {
    use std::io::Write;
    use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    use botticelli_obs::{Builder, LlmCall, Telemetry, Usage};

    use super::CHOICE;
    use crate::support::page::Page;
    use crate::support::process::{cpu_time, descriptors, own_threads};
    use crate::support::{Response, free_port, get, in_own_process, role, wait_for};

    /// How long a scrape may take, whatever the other connections do.
    const SCRAPE: Duration = Duration::from_secs(15);
    const LIMIT: Duration = Duration::from_secs(30);
    const ENDPOINT: &str = "PROMETHEUS_ENDPOINT";
    const ANY_PORT: (&str, &str) = (ENDPOINT, "127.0.0.1:0");

    fn installed(builder: Builder) -> Telemetry {
        builder.install().expect("it installs")
    }

    /// Asks the listener at this address of the machine, on the port it has.
    fn at(telemetry: &Telemetry, ip: &str, path: &str) -> Response {
        let port = telemetry.metrics_addr().expect("there is a listener").port();
        let ip: IpAddr = ip.parse().expect("an address");
        get(SocketAddr::from((ip, port)), path, LIMIT).expect("it answers")
    }

    #[test]
    fn exporter_serves_what_was_recorded() {
        in_own_process(&[CHOICE, ANY_PORT], || {
            let telemetry = installed(Builder::new());
            let mut call = LlmCall::start("gemini", "gemini-2.5-flash");
            call.record_usage(Usage::new(12, 30));
            call.finish();
            let response = at(&telemetry, "127.0.0.1", "/metrics");
            // The content type of the exporter, without a version.
            assert!(response.head.to_ascii_lowercase().contains("content-type: text/plain\r\n"), "{}", response.head);
            for page in [Page::parse(&response.body), Page::parse(&telemetry.render())] {
                assert_eq!(page.sum("llm_requests_total"), 1.0);
                assert_eq!(page.sum("llm_tokens_total"), 42.0);
                assert_eq!(page.sum("llm_duration_count"), 1.0);
            }
            assert_eq!(telemetry.summary().models()[0].calls, 1);
        });
    }

    #[test]
    fn health_is_answered_beside_the_page() {
        in_own_process(&[CHOICE, ANY_PORT], || {
            let response = at(&installed(Builder::new()), "127.0.0.1", "/health");
            assert_eq!((response.status, response.body.as_str()), (200, "OK"));
        });
    }

    #[test]
    fn code_wins_over_the_variable() {
        in_own_process(&[("BOTTICELLI_OBS_LISTENER", "own"), ANY_PORT], || {
            let response = at(&installed(Builder::new().with_exporter_listener()), "127.0.0.1", "/metrics");
            assert!(!response.head.contains("version=0.0.4"), "{}", response.head);
        });
    }

    #[test]
    fn other_networks_get_403_and_not_a_word() {
        in_own_process(&[CHOICE, ANY_PORT], || {
            let telemetry = installed(Builder::new().add_allowed_network("10.0.0.0/8"));
            let response = at(&telemetry, "127.0.0.1", "/metrics");
            assert_eq!((response.status, response.body.as_str()), (403, ""));
        });
    }

    #[test]
    fn listed_ipv4_network_may_scrape_a_listener_on_ipv6() {
        if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
            return;
        }
        in_own_process(&[CHOICE, (ENDPOINT, "[::]:0")], || {
            let telemetry = installed(Builder::new().add_allowed_network("127.0.0.0/8"));
            assert_eq!(at(&telemetry, "127.0.0.1", "/metrics").status, 200);
            assert_eq!(at(&telemetry, "::1", "/metrics").status, 403);
        });
    }

    #[test]
    fn taken_port_is_an_error_that_leaves_nothing() {
        in_own_process(&[CHOICE], || {
            let taken = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
            let endpoint = taken.local_addr().expect("it is bound").to_string();
            let error = Builder::new().with_prometheus_endpoint(&endpoint).install().expect_err("the port is taken");
            assert!(error.is_start_failure() && error.to_string().contains(&endpoint), "{error}");
            assert!(error.to_string().contains("free the port"), "{error}");
            wait_for("the crate's threads end", LIMIT, || own_threads().is_empty().then_some(()));
            let telemetry = installed(Builder::new().with_prometheus_endpoint("127.0.0.1:0"));
            assert_eq!(at(&telemetry, "127.0.0.1", "/metrics").status, 200);
        });
    }

    #[test]
    fn shutdown_frees_the_port_and_ends_every_connection() {
        in_own_process(&[CHOICE, ANY_PORT], || {
            let telemetry = installed(Builder::new());
            let addr = telemetry.metrics_addr().expect("there is a listener");
            let waiting = TcpStream::connect(addr).expect("it listens");
            waiting.set_read_timeout(Some(LIMIT)).expect("a time");
            at(&telemetry, "127.0.0.1", "/metrics");
            telemetry.shutdown(LIMIT).expect("nothing is lost");
            let ended = std::io::Read::read(&mut &waiting, &mut [0])
                .map_or_else(|error| error.kind(), |_| std::io::ErrorKind::ConnectionReset);
            assert_eq!(ended, std::io::ErrorKind::ConnectionReset);
            wait_for("the port is free", LIMIT, || TcpListener::bind(addr).ok());
            wait_for("the crate's threads end", LIMIT, || own_threads().is_empty().then_some(()));
        });
    }

    fn endpoint() -> (SocketAddr, String) {
        let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
        (addr, addr.to_string())
    }

    /// Waits until the program serves, and returns its descriptors at rest.
    fn served(addr: SocketAddr, program: u32) -> usize {
        wait_for("the page is served", LIMIT, || get(addr, "/metrics", Duration::from_secs(1)).ok());
        wait_for("the connection is closed", LIMIT, || {
            let before = descriptors(program);
            std::thread::sleep(Duration::from_millis(50));
            (descriptors(program) == before).then_some(before)
        })
    }

    /// Holds 500 connections with half a request each; those that are closed come back.
    fn flood(addr: SocketAddr) {
        let half_a_request = move || {
            let stream = TcpStream::connect(addr).ok()?;
            stream.set_nonblocking(true).ok()?;
            (&stream).write_all(b"GET /metr").ok().map(|()| stream)
        };
        let is_open = |stream: &TcpStream| match stream.peek(&mut [0]) {
            Ok(read) => read > 0,
            Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
        };
        std::thread::spawn(move || {
            let mut held: Vec<TcpStream> = Vec::new();
            loop {
                held.retain(is_open);
                held.extend((held.len()..500).filter_map(|_| half_a_request()));
                std::thread::sleep(Duration::from_millis(500));
            }
        });
        role::wait_for_the_end();
    }

    #[test]
    #[expect(clippy::print_stderr, reason = "the figures of a flood are worth a look")]
    fn connections_that_never_end_keep_no_scrape_out() {
        match role::role().as_deref() {
            Some("program") => {
                let _telemetry = installed(Builder::new());
                return role::wait_for_the_end();
            }
            Some(addr) => return flood(addr.parse().expect("an address")),
            None => {}
        }
        let (addr, text) = endpoint();
        let program = role::start("program", 4096, &[(ENDPOINT, text.as_str()), CHOICE]);
        let pid = program.0.id();
        let at_rest = served(addr, pid);
        let flooder = role::start(&text, 4096, &[]);
        let end = Instant::now() + Duration::from_secs(12);
        let (mut most, mut slowest, mut scrapes) = (0, Duration::ZERO, 0);
        while Instant::now() < end {
            most = most.max(descriptors(pid));
            let started = Instant::now();
            let page = wait_for("a scrape is answered during the flood", SCRAPE, || get(addr, "/metrics", SCRAPE).ok());
            Page::parse(&page.body);
            slowest = slowest.max(started.elapsed());
            scrapes += 1;
            std::thread::sleep(Duration::from_millis(100));
        }
        eprintln!("{at_rest} descriptors at rest, at most {most}; {scrapes} scrapes, the slowest {slowest:?}");
        assert!(slowest < SCRAPE, "{slowest:?}");
        assert!(most < at_rest + 32 + 128 + 128, "{most} descriptors");
        drop(flooder);
        wait_for("descriptors fall back", Duration::from_secs(60), || (descriptors(pid) <= at_rest + 2).then_some(()));
    }

    #[test]
    fn without_descriptors_the_listener_waits_and_recovers() {
        const DESCRIPTORS: u32 = 64;
        if role::role().is_some() {
            let _telemetry = installed(Builder::new());
            return role::open_files_on_demand();
        }
        let (addr, text) = endpoint();
        let mut program = role::start("program", DESCRIPTORS, &[(ENDPOINT, text.as_str()), CHOICE]);
        let pid = program.0.id();
        served(addr, pid);
        let mut stdin = program.0.stdin.take().expect("it is piped");
        writeln!(stdin, "open").expect("the program reads");
        wait_for("the program opens files", LIMIT, || (descriptors(pid) >= DESCRIPTORS as usize).then_some(()));
        // They wait in the backlog, and wake the listener for nothing.
        let waiting: Vec<_> = (0..20).map(|_| TcpStream::connect(addr).expect("the backlog has room")).collect();
        let before = cpu_time(pid);
        std::thread::sleep(Duration::from_secs(2));
        let spent = cpu_time(pid) - before;
        assert!(spent < Duration::from_millis(400), "{spent:?}");
        writeln!(stdin, "close").expect("the program reads");
        Page::parse(&get(addr, "/metrics", SCRAPE).expect("the listener recovers").body);
        drop(waiting);
    }
}
