//! The page: one file, its headers, its policy.

use tokio_rustls::rustls::crypto::ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256;

use super::{ask, ask_with, installed};
use crate::support::in_own_process;
use botticelli_obs::Builder;

const ON: [(&str, &str); 1] = [("PROMETHEUS_ENDPOINT", "127.0.0.1:0")];

/// The hash of a text as policies have it.
fn hash(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let suite = TLS13_CHACHA20_POLY1305_SHA256.tls13().expect("a suite of TLS 1.3");
    let hash = suite.common.hash_provider.hash(text.as_bytes());
    let digits = hash.as_ref().chunks(3).flat_map(|bytes| {
        let bits = (0..3).fold(0_usize, |bits, at| bits << 8 | usize::from(bytes.get(at).copied().unwrap_or(0)));
        (0..4).map(move |digit| if digit <= bytes.len() { DIGITS[bits >> (18 - 6 * digit) & 63] as char } else { '=' })
    });
    format!("'sha256-{}'", digits.collect::<String>())
}

fn inside<'a>(page: &'a str, element: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("<{element}>")).expect("the element");
    assert_eq!(rest.matches(&format!("<{element}")).count(), 0, "there is one {element}");
    rest.split_once(&format!("</{element}>")).expect("its end").0
}

#[test]
fn policy_allows_the_script_and_the_style_of_the_page_and_nothing_else() {
    in_own_process(&ON, || {
        let (_telemetry, addr) = installed(Builder::new());
        let answer = ask(addr, "/");
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/html; charset=utf-8")));
        let policy = answer.head.lines().find_map(|line| line.strip_prefix("content-security-policy: "));
        let expected = format!(
            "default-src 'none'; script-src {}; style-src {}; connect-src 'self'; img-src data:; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'",
            hash(inside(&answer.body, "script")),
            hash(inside(&answer.body, "style")),
        );
        // The head is in lower case.
        assert_eq!(
            policy,
            Some(expected.to_ascii_lowercase().as_str()),
            "write this into src/console/mod.rs: {expected}"
        );
        for (name, value) in [
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
            ("cache-control", "no-store"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            for path in ["/", "/console/state", "/console/nothing"] {
                assert_eq!(ask(addr, path).header(name), Some(value), "{path}");
            }
        }
    });
}

#[test]
fn page_needs_no_network_and_writes_no_html() {
    in_own_process(&ON, || {
        let (_telemetry, addr) = installed(Builder::new());
        let page = ask(addr, "/").body;
        for foreign in ["src=", "@import", "url(", "style=\""] {
            assert!(!page.contains(foreign), "{foreign}");
        }
        let hosts = page.matches("://").count();
        // The namespace of SVG, and the check of Jaeger's URL.
        assert_eq!(hosts - page.matches("http://www.w3.org/2000/svg").count(), 0);
        for html in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"] {
            assert!(!page.contains(html), "{html}");
        }
    });
}

#[test]
fn metrics_and_health_stay_what_they_are() {
    in_own_process(&ON, || {
        let (_telemetry, addr) = installed(Builder::new());
        assert!(ask(addr, "/metrics").body.contains("botticelli_obs_build_info"));
        assert_eq!(ask(addr, "/health").body, "ok");
        assert_eq!(ask_with(addr, "HEAD /metrics", "Host: bot.example\r\n").status, 200);
        assert_eq!(ask(addr, "/nothing").status, 404);
        assert_eq!(ask(addr, "/console/nothing").status, 404);
    });
}

#[test]
fn without_the_console_there_are_links() {
    in_own_process(&[("PROMETHEUS_ENDPOINT", "127.0.0.1:0"), ("BOTTICELLI_OBS_CONSOLE", "off")], || {
        let telemetry = Builder::new().install().expect("it installs");
        let addr = telemetry.metrics_addr().expect("there is a listener");
        assert!(ask(addr, "/").body.contains("href=\"/metrics\""));
        assert_eq!(ask(addr, "/console/state").status, 404);
    });
}

#[test]
fn variable_turns_it_on() {
    in_own_process(&[("PROMETHEUS_ENDPOINT", "127.0.0.1:0"), ("BOTTICELLI_OBS_CONSOLE", "on")], || {
        let telemetry = Builder::new().install().expect("it installs");
        let addr = telemetry.metrics_addr().expect("there is a listener");
        assert!(ask(addr, "/console/state").json()["models"].is_array());
    });
}
