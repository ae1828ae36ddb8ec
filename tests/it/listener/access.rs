//! The listener: who may scrape, and where it listens.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener};
use std::time::Duration;

use botticelli_obs::{Builder, Telemetry, counter};

use crate::support::page::Page;
use crate::support::{Response, free_port, get, in_own_process};

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

#[test]
fn health_is_answered_beside_the_page() {
    in_own_process(&[("PROMETHEUS_ENDPOINT", "127.0.0.1:0")], || {
        let telemetry = installed(Builder::new());
        let addr = telemetry.metrics_addr().expect("there is a listener");
        let response = get(addr, "/health", LIMIT).expect("it answers");
        assert_eq!((response.status, response.body.as_str()), (200, "OK"));
        let page = get(addr, "/metrics", LIMIT).expect("it answers");
        assert!(page.head.to_ascii_lowercase().contains("content-type: text/plain"), "{}", page.head);
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
