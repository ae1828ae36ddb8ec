//! The listener: who may scrape, and where it listens.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::support::page::Page;
use crate::support::{Response, free_port, get, in_own_process};
use botticelli_obs::{Builder, Telemetry, counter};
use flate2::read::GzDecoder;

const LIMIT: Duration = Duration::from_secs(30);

fn installed(builder: Builder) -> Telemetry {
    builder.install().expect("it installs")
}

/// Asks the listener at this address of the machine, on the port it has.
fn at(telemetry: &Telemetry, ip: &str) -> Response {
    let port = telemetry.metrics_addr().expect("there is a listener").port();
    let ip: IpAddr = ip.parse().expect("an address");
    get(SocketAddr::from((ip, port)), "/metrics", LIMIT).expect("it answers")
}

fn has_ipv6() -> bool {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

#[test]
fn listed_network_may_scrape() {
    in_own_process(&[("PROMETHEUS_ENDPOINT", "127.0.0.1:0")], || {
        let telemetry = installed(Builder::new().add_allowed_network("10.0.0.0/8").add_allowed_network("127.0.0.0/8"));
        let response = at(&telemetry, "127.0.0.1");
        assert_eq!(response.status, 200);
        Page::parse(&response.body);
    });
}

#[test]
fn other_networks_get_403_and_not_a_word() {
    let variables =
        [("PROMETHEUS_ENDPOINT", "127.0.0.1:0"), ("BOTTICELLI_OBS_ALLOWED_NETWORKS", "10.0.0.0/8, 192.0.2.1")];
    in_own_process(&variables, || {
        let telemetry = installed(Builder::new());
        let response = at(&telemetry, "127.0.0.1");
        assert_eq!((response.status, response.body.as_str()), (403, ""));
        assert!(telemetry.render().contains("botticelli_obs_build_info"));
    });
}

#[test]
fn single_address_is_a_network_of_one() {
    in_own_process(&[("PROMETHEUS_ENDPOINT", "0.0.0.0:0")], || {
        let telemetry = installed(Builder::new().add_allowed_network("127.0.0.2"));
        assert_eq!(at(&telemetry, "127.0.0.1").status, 403);
    });
}

#[test]
fn listed_ipv4_network_may_scrape_a_listener_on_ipv6() {
    if !has_ipv6() {
        return;
    }
    in_own_process(&[("PROMETHEUS_ENDPOINT", "[::]:0")], || {
        let telemetry = installed(Builder::new().add_allowed_network("127.0.0.0/8"));
        assert_eq!(at(&telemetry, "127.0.0.1").status, 200);
        assert_eq!(at(&telemetry, "::1").status, 403);
    });
}

#[test]
fn listed_ipv6_network_may_scrape() {
    if !has_ipv6() {
        return;
    }
    in_own_process(&[("PROMETHEUS_ENDPOINT", "[::]:0")], || {
        let telemetry = installed(Builder::new().add_allowed_network("::1/128"));
        assert_eq!(at(&telemetry, "::1").status, 200);
        assert_eq!(at(&telemetry, "127.0.0.1").status, 403);
    });
}

/// Asks with these headers and reads until the listener closes; returns the head in lower case, and the body.
fn ask(addr: SocketAddr, start: &str, headers: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(addr).expect("it accepts");
    stream.set_read_timeout(Some(LIMIT)).expect("a time limit");
    write!(stream, "{start} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n{headers}\r\n").expect("it reads");
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("it answers");
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("an answer has a head");
    let head = String::from_utf8_lossy(&bytes[..end + 2]).to_ascii_lowercase();
    (head, bytes.split_off(end + 4))
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.split_once(": ").filter(|(of, _)| *of == name)).map(|(_, value)| value)
}

fn status(head: &str) -> &str {
    head.split(' ').nth(1).expect("a status")
}

/// Installs with a listener and calls this with its address.
fn with_listener(check: fn(SocketAddr)) {
    in_own_process(&[("PROMETHEUS_ENDPOINT", "127.0.0.1:0")], || {
        let telemetry = installed(Builder::new().add_model("gemini", "gemini-2.5-flash"));
        check(telemetry.metrics_addr().expect("there is a listener"));
    });
}

#[test]
fn health_is_answered_beside_the_page() {
    with_listener(|addr| {
        let (head, body) = ask(addr, "GET /health", "");
        assert_eq!((status(&head), body.as_slice()), ("200", &b"ok"[..]));
        assert!(header(&head, "content-type").is_some_and(|of| of.starts_with("text/plain")), "{head}");
    });
}

#[test]
fn text_is_the_page_of_whoever_asks_for_nothing_else() {
    with_listener(|addr| {
        for accept in ["", "Accept: */*\r\n", "Accept: text/plain;version=0.0.4;q=1,*/*;q=0.1\r\n"] {
            let (head, body) = ask(addr, "GET /metrics?format=text", accept);
            assert_eq!(header(&head, "content-type"), Some("text/plain; version=0.0.4; charset=utf-8"), "{head}");
            assert_eq!(header(&head, "vary"), Some("accept, accept-encoding"), "{head}");
            assert_eq!(header(&head, "content-encoding"), None, "{head}");
            Page::parse(&String::from_utf8(body).expect("text"));
        }
    });
}

#[test]
fn openmetrics_is_the_page_of_whoever_asks_for_it() {
    with_listener(|addr| {
        for accept in [
            "Accept: application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1\r\n",
            "Accept: text/plain;q=0.5\r\nAccept: application/openmetrics-text\r\n",
        ] {
            let (head, body) = ask(addr, "GET /metrics", accept);
            let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            assert_eq!(header(&head, "content-type"), Some(content_type), "{head}");
            assert!(body.ends_with(b"\n# EOF\n"));
        }
    });
}

#[test]
fn page_is_compressed_where_this_is_accepted() {
    with_listener(|addr| {
        let (head, body) = ask(addr, "GET /metrics", "Accept-Encoding: gzip\r\n");
        assert_eq!(header(&head, "content-encoding"), Some("gzip"), "{head}");
        assert_eq!(header(&head, "vary"), Some("accept, accept-encoding"), "{head}");
        assert_eq!(header(&head, "content-length"), Some(body.len().to_string().as_str()), "{head}");
        let mut page = String::new();
        GzDecoder::new(&*body).read_to_string(&mut page).expect("it is gzip");
        assert!(body.len() * 4 < page.len(), "{} of {} bytes", body.len(), page.len());
        Page::parse(&page);

        let (head, body) = ask(addr, "GET /metrics", "Accept-Encoding: gzip;q=0, deflate\r\n");
        assert_eq!(header(&head, "content-encoding"), None, "{head}");
        Page::parse(&String::from_utf8(body).expect("text"));
        // What is tiny is not compressed.
        let (head, body) = ask(addr, "GET /health", "Accept-Encoding: gzip\r\n");
        assert_eq!((header(&head, "content-encoding"), body.as_slice()), (None, &b"ok"[..]));
    });
}

#[test]
fn head_is_get_without_a_body() {
    with_listener(|addr| {
        for (path, headers) in [("/metrics", ""), ("/metrics", "Accept-Encoding: gzip\r\n"), ("/health", ""), ("/", "")]
        {
            let (get, page) = ask(addr, &format!("GET {path}"), headers);
            let (head, body) = ask(addr, &format!("HEAD {path}"), headers);
            assert_eq!((status(&head), body.len()), ("200", 0), "{head}");
            for name in ["content-type", "content-encoding", "vary"] {
                assert_eq!(header(&head, name), header(&get, name), "{head}");
            }
            // The page may have changed between the two.
            let length: usize =
                header(&head, "content-length").and_then(|length| length.parse().ok()).expect("a length");
            assert!(length.abs_diff(page.len()) < 256, "{length}, and the page has {}", page.len());
        }
    });
}

#[test]
fn index_links_to_what_there_is() {
    with_listener(|addr| {
        let (head, body) = ask(addr, "GET /", "");
        assert_eq!((status(&head), header(&head, "content-type")), ("200", Some("text/html; charset=utf-8")));
        let body = String::from_utf8(body).expect("text");
        assert!(body.contains("href=\"/metrics\"") && body.contains("href=\"/health\""), "{body}");
    });
}

#[test]
fn other_paths_are_404_and_other_methods_405() {
    with_listener(|addr| {
        for start in ["GET /metric", "GET /metrics/", "GET /favicon.ico", "POST /nothing", "OPTIONS *"] {
            assert_eq!(status(&ask(addr, start, "").0), "404", "{start}");
        }
        for start in ["POST /metrics", "DELETE /health", "OPTIONS /"] {
            let (head, _) = ask(addr, start, "Content-Length: 0\r\n");
            assert_eq!((status(&head), header(&head, "allow")), ("405", Some("get, head")), "{start}");
        }
    });
}

#[test]
fn connection_is_kept_from_scrape_to_scrape() {
    with_listener(|addr| {
        let mut stream = TcpStream::connect(addr).expect("it accepts");
        stream.set_read_timeout(Some(LIMIT)).expect("a time limit");
        for _ in 0..3 {
            stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").expect("it reads");
            let (mut answer, mut bytes) = (Vec::new(), [0; 512]);
            while !answer.ends_with(b"\r\n\r\nok") {
                let read = stream.read(&mut bytes).expect("it answers");
                assert!(read > 0, "closed after {:?}", String::from_utf8_lossy(&answer));
                answer.extend_from_slice(&bytes[..read]);
            }
        }
    });
}

/// Installs with this endpoint and asks at this address.
fn listens(endpoint: &str, ask: &str, bound: fn(SocketAddr) -> bool) {
    in_own_process(&[("PROMETHEUS_ENDPOINT", endpoint)], || {
        let telemetry = installed(Builder::new());
        let addr = telemetry.metrics_addr().expect("there is a listener");
        assert!(bound(addr) && addr.port() != 0, "{addr}");
        assert_eq!(at(&telemetry, ask).status, 200);
    });
}

#[test]
fn localhost_is_the_loopback_that_prometheus_configurations_name() {
    listens("localhost:0", "127.0.0.1", |addr| addr.ip().is_loopback() && addr.is_ipv4());
}

#[test]
fn every_interface_is_bound_when_told_so() {
    listens("0.0.0.0:0", "127.0.0.1", |addr| addr.ip().is_unspecified());
}

#[test]
fn port_alone_is_on_loopback() {
    listens("0", "127.0.0.1", |addr| addr.ip().is_loopback());
}

#[test]
fn colon_and_port_is_on_loopback() {
    listens(":0", "127.0.0.1", |addr| addr.ip().is_loopback());
}

#[test]
fn ipv6_loopback_is_bound() {
    if has_ipv6() {
        listens("[::1]:0", "::1", |addr| addr.is_ipv6() && addr.ip().is_loopback());
    }
}

#[test]
fn host_without_an_address_is_an_error() {
    let variables = [("PROMETHEUS_ENDPOINT", "no-such-host.invalid:9464")];
    in_own_process(&variables, || {
        let error = botticelli_obs::install().expect_err("the name does not resolve");
        assert!(error.is_start_failure() && error.to_string().contains("no-such-host.invalid:9464"), "{error:?}");
    });
}

#[test]
fn specified_variables_say_host_and_port() {
    let port = free_port().to_string();
    let variables = [("OTEL_EXPORTER_PROMETHEUS_HOST", "localhost"), ("OTEL_EXPORTER_PROMETHEUS_PORT", port.as_str())];
    in_own_process(&variables, || {
        let port: u16 = std::env::var("OTEL_EXPORTER_PROMETHEUS_PORT").expect("set").parse().expect("a port");
        let telemetry = installed(Builder::new());
        assert_eq!(telemetry.metrics_addr(), Some(SocketAddr::from(([127, 0, 0, 1], port))));
    });
}

#[test]
fn two_hundred_scrapers_all_get_whole_pages() {
    in_own_process(&[("PROMETHEUS_ENDPOINT", "127.0.0.1:0")], || {
        let telemetry = installed(Builder::new().add_model("gemini", "gemini-2.5-flash"));
        let addr = telemetry.metrics_addr().expect("there is a listener");
        let end = std::time::Instant::now() + Duration::from_secs(3);
        std::thread::scope(|scope| {
            for _ in 0..200 {
                scope.spawn(|| {
                    while std::time::Instant::now() < end {
                        let response = get(addr, "/metrics", Duration::from_secs(15)).expect("whoever waits is served");
                        assert_eq!(response.status, 200);
                        Page::parse(&response.body);
                        counter!("scrapes").increment(1);
                    }
                });
            }
        });
        let scrapes = Page::parse(&telemetry.render()).value("scrapes_total", &[]);
        assert!(scrapes >= 200.0, "{scrapes}");
    });
}
