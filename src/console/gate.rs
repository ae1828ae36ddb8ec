//! Who gets an answer of the console.
//!
//! A page of another site must not read the console through the browser of a developer. A browser lets a page read only what has the
//! page's own origin, so that an attacker has to make his name resolve to this machine. Therefore the name in `Host` is checked.

use std::net::{IpAddr, Ipv6Addr};

use hyper::header::{ALLOW, AUTHORIZATION, HOST, HeaderMap, HeaderValue, ORIGIN, WWW_AUTHENTICATE};
use hyper::{Method, StatusCode};

use super::{Config, Reply};

/// Checks a request for the console.
///
/// # Errors
///
/// The answer that refuses it.
pub(super) fn check(config: &Config, method: &Method, path: &str, headers: &HeaderMap) -> Result<(), Reply> {
    let host = only(headers, HOST.as_str());
    if !host.and_then(name).is_some_and(|name| is_known(config, name)) {
        let why = "the console does not answer to this name: open it by its address, or list the name in \
                   BOTTICELLI_OBS_CONSOLE_HOSTS\n";
        return Err(Reply::refusal(StatusCode::MISDIRECTED_REQUEST, why));
    }
    if *method != Method::GET {
        let mut refusal = Reply::refusal(StatusCode::METHOD_NOT_ALLOWED, "there is GET\n");
        refusal.headers.push((ALLOW, "GET"));
        return Err(refusal);
    }
    if is_foreign(headers, host.unwrap_or_default(), path) {
        return Err(Reply::refusal(StatusCode::FORBIDDEN, "the console answers to its own page only\n"));
    }
    // The page has no data, and a browser that opens it has no token to send.
    let authorization = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    if path != "/" && !config.token.as_ref().is_none_or(|token| token.is_shown_by(authorization)) {
        let mut refusal = Reply::refusal(StatusCode::UNAUTHORIZED, "a token is needed\n");
        refusal.headers.push((WWW_AUTHENTICATE, "Bearer"));
        return Err(refusal);
    }
    Ok(())
}

/// Whether a page of another origin has made the request. Opening the console from a link elsewhere is allowed.
fn is_foreign(headers: &HeaderMap, host: &str, path: &str) -> bool {
    let has_other_origin = headers.contains_key(ORIGIN)
        && only(headers, ORIGIN.as_str()).and_then(|origin| origin.split_once("://")).is_none_or(|(_, of)| of != host);
    let site = only(headers, "sec-fetch-site").unwrap_or("none");
    has_other_origin || (path != "/" && !matches!(site, "none" | "same-origin"))
}

/// Returns the text of a header that comes once.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    if values.next().is_some() { None } else { first.to_str().ok() }
}

/// Returns the name of a `Host` header, without the port.
fn name(host: &str) -> Option<&str> {
    let end = match host.strip_prefix('[') {
        Some(_) => host.find(']')? + 1,
        None => host.find(':').unwrap_or(host.len()),
    };
    let (name, port) = host.split_at(end);
    let is_port =
        port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.bytes().all(|c| c.is_ascii_digit()));
    is_port.then_some(name)
}

/// Whether the name is an address, which no other site can have, or one of the configured names.
fn is_known(config: &Config, name: &str) -> bool {
    let v6 = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let is_address = name.parse::<IpAddr>().is_ok() || v6.is_some_and(|v6| v6.parse::<Ipv6Addr>().is_ok());
    let name = name.strip_suffix('.').unwrap_or(name);
    let known = std::iter::once("localhost").chain(config.hosts.iter().map(String::as_str));
    is_address || known.into_iter().any(|known| known.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderName;

    use super::*;

    fn status(config: &Config, method: Method, path: &str, headers: &[(&'static str, &str)]) -> u16 {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_str(value).expect("a header"));
        }
        check(config, &method, path, &map).map_or_else(|refusal| refusal.status.as_u16(), |()| 200)
    }

    #[test]
    fn only_known_names_are_answered() {
        let config = Config { hosts: vec!["bot.internal".to_owned()], ..Config::default() };
        for host in [
            "localhost",
            "localhost:9464",
            "LocalHost:1",
            "localhost.:9464",
            "127.0.0.1",
            "127.0.0.1:80",
            "[::1]:9464",
            "10.1.2.3",
            "[fe80::1]",
            "bot.internal",
            "Bot.Internal:9464",
        ] {
            assert_eq!(status(&config, Method::GET, "/", &[("host", host)]), 200, "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:9464",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "localhost:x",
            "[::1",
            "x@localhost",
        ] {
            assert_eq!(status(&config, Method::GET, "/", &[("host", host)]), 421, "{host}");
        }
        assert_eq!(status(&config, Method::GET, "/", &[]), 421);
        assert_eq!(status(&config, Method::GET, "/", &[("host", "localhost"), ("host", "localhost")]), 421);
    }

    #[test]
    fn pages_of_other_origins_are_refused() {
        let of = |path: &str, headers: &[(&'static str, &str)]| {
            let headers = [&[("host", "localhost:9464")], headers].concat();
            status(&Config::default(), Method::GET, path, &headers)
        };
        for path in ["/", "/console/state"] {
            assert_eq!(of(path, &[("origin", "http://localhost:9464")]), 200);
            for origin in ["http://evil.example", "http://localhost:3000", "null", ""] {
                assert_eq!(of(path, &[("origin", origin)]), 403, "{origin}");
            }
        }
        assert_eq!(of("/", &[("sec-fetch-site", "cross-site")]), 200);
        assert_eq!(of("/console/state", &[("sec-fetch-site", "same-origin")]), 200);
        for site in ["cross-site", "same-site"] {
            assert_eq!(of("/console/state", &[("sec-fetch-site", site)]), 403, "{site}");
        }
    }

    #[test]
    fn token_is_for_data_and_get_is_the_only_method() {
        let config = Config { token: Some("s3cret-token".parse().expect("a token")), ..Config::default() };
        let host = ("host", "localhost");
        assert_eq!(status(&config, Method::GET, "/", &[host]), 200);
        assert_eq!(status(&config, Method::GET, "/console/state", &[host]), 401);
        assert_eq!(
            status(&config, Method::GET, "/console/state", &[host, ("authorization", "Bearer s3cret-token")]),
            200
        );
        for method in [Method::POST, Method::HEAD, Method::OPTIONS, Method::DELETE] {
            assert_eq!(status(&config, method.clone(), "/", &[host]), 405, "{method}");
        }
    }
}
