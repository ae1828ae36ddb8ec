//! Who gets an answer.

use std::net::SocketAddr;

use super::{ask, ask_with, installed};
use crate::support::in_own_process;
use crate::support::server::Folder;
use botticelli_obs::Builder;

const PATHS: [&str; 4] = ["/", "/console/state", "/console/history", "/console/calls"];

#[test]
fn foreign_names_origins_and_methods_are_refused() {
    let variables = [("PROMETHEUS_ENDPOINT", "127.0.0.1:0"), ("BOTTICELLI_OBS_CONSOLE_HOSTS", "bot.internal, other")];
    in_own_process(&variables, || {
        let (_telemetry, addr) = installed(Builder::new());
        let of = |start: &str, headers: &str| ask_with(addr, start, headers).status;
        for path in PATHS {
            let get = format!("GET {path}");
            for host in ["localhost:1", "127.0.0.1", "bot.internal", "OTHER:80"] {
                assert_eq!(of(&get, &format!("Host: {host}\r\n")), 200, "{path} {host}");
            }
            for host in ["evil.example", "bot.internal.evil.example", "localhost.evil.example:9464"] {
                assert_eq!(of(&get, &format!("Host: {host}\r\n")), 421, "{path} {host}");
            }
            let own = format!("Host: {addr}\r\n");
            assert_eq!(of(&get, &format!("{own}Origin: http://{addr}\r\n")), 200);
            assert_eq!(of(&get, &format!("{own}Origin: http://evil.example\r\n")), 403);
            for method in ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"] {
                assert_eq!(
                    of(&format!("{method} {path}"), &format!("{own}Content-Length: 0\r\n")),
                    405,
                    "{method} {path}"
                );
            }
        }
        let answer = ask_with(addr, "GET /console/calls", &format!("Host: {addr}\r\nSec-Fetch-Site: cross-site\r\n"));
        assert_eq!(answer.status, 403);
        assert_eq!(answer.header("access-control-allow-origin"), None);
    });
}

#[test]
fn networks_are_those_of_the_page() {
    let variables = [("PROMETHEUS_ENDPOINT", "127.0.0.1:0"), ("BOTTICELLI_OBS_ALLOWED_NETWORKS", "192.0.2.0/24")];
    in_own_process(&variables, || {
        let (_telemetry, addr) = installed(Builder::new());
        for path in PATHS {
            let answer = ask(addr, path);
            assert_eq!((answer.status, answer.body.as_str()), (403, ""), "{path}");
        }
    });
}

#[test]
fn token_of_the_page_is_that_of_the_data() {
    in_own_process(&[("PROMETHEUS_ENDPOINT", "0.0.0.0:0")], || {
        let (_telemetry, addr) = installed(Builder::new().with_page_token("s3cret-token"));
        let addr = SocketAddr::from(([127, 0, 0, 1], addr.port()));
        let page = ask(addr, "/");
        assert_eq!(page.status, 200);
        assert!(!page.body.contains("s3cret"));
        for path in &PATHS[1..] {
            let answer = ask(addr, path);
            assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("bearer")), "{path}");
            let shown = format!("Host: {addr}\r\nAuthorization: Bearer s3cret-token\r\n");
            assert_eq!(ask_with(addr, &format!("GET {path}"), &shown).status, 200);
            let wrong = format!("Host: {addr}\r\nAuthorization: Bearer s3cret-tokem\r\n");
            assert_eq!(ask_with(addr, &format!("GET {path}"), &wrong).status, 401);
            assert_eq!(ask(addr, &format!("{path}?token=s3cret-token")).status, 401);
        }
        assert_eq!(ask(addr, "/metrics").status, 401);
    });
}

/// Tries to install with the console, whose error has to say this.
fn refused(variables: &[(&str, &str)], build: fn(Builder) -> Builder, says: &[&str]) {
    in_own_process(variables, || {
        let error = build(Builder::new()).install().expect_err("it is refused");
        let text = format!("{error:?} {error}");
        for part in says {
            assert!(text.contains(part), "{part}: {text}");
        }
    });
}

#[test]
fn more_than_loopback_needs_a_token() {
    let variables = [("PROMETHEUS_ENDPOINT", "0.0.0.0:0"), ("BOTTICELLI_OBS_CONSOLE", "on")];
    refused(&variables, |builder| builder, &["BOTTICELLI_OBS_CONSOLE", "0.0.0.0:0", "BOTTICELLI_OBS_TOKEN_FILE"]);
}

#[test]
fn token_may_come_from_a_file() {
    let folder = Folder::new("console");
    let file = folder.path().join("token");
    std::fs::write(&file, "t0ken-of-a-file\n").expect("it can be written");
    let file = file.to_str().expect("text");
    in_own_process(&[("PROMETHEUS_ENDPOINT", "0.0.0.0:0"), ("BOTTICELLI_OBS_TOKEN_FILE", file)], || {
        let (_telemetry, addr) = installed(Builder::new());
        let addr = SocketAddr::from(([127, 0, 0, 1], addr.port()));
        let shown = format!("Host: {addr}\r\nAuthorization: Bearer t0ken-of-a-file\r\n");
        assert_eq!(ask_with(addr, "GET /console/state", &shown).status, 200);
    });
}

#[test]
fn exporter_has_no_console() {
    let variables = [("PROMETHEUS_ENDPOINT", "127.0.0.1:0")];
    refused(&variables, |builder| builder.with_console().with_exporter_listener(), &["with_console", "exporter"]);
}

#[test]
fn console_needs_a_listener() {
    refused(&[("PROMETHEUS_ENDPOINT", "off")], Builder::with_console, &["with_console", "listener"]);
}

#[test]
fn other_schemes_than_http_are_no_link() {
    for url in ["javascript:alert(1)", "ftp://jaeger", "http://", "http://user:pw@jaeger", "http://jaeger/\"x"] {
        let variables = [("PROMETHEUS_ENDPOINT", "127.0.0.1:0"), ("JAEGER_URL", url)];
        refused(&variables, Builder::with_console, &["JAEGER_URL"]);
    }
}
