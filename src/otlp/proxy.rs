//! The proxy of an endpoint, as the variables name it that `curl` and most HTTP clients read.
//!
//! `hyper-util` has the same behind its feature `client-proxy`, which would add a crate to every default build.

use std::fmt;

/// A proxy that speaks HTTP. Its URL has no credentials; they are in the header.
#[derive(Clone)]
#[cfg_attr(not(feature = "_otlp"), expect(dead_code, reason = "there is no value without a transport"))]
pub(crate) struct Proxy {
    pub(super) uri: http::Uri,
    /// The value of `Proxy-Authorization`.
    pub(super) authorization: Option<http::HeaderValue>,
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.uri.to_string().trim_end_matches('/'))
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not derived: the header holds a password and must not be logged.
        fmt::Display::fmt(self, f)
    }
}

#[cfg(feature = "_otlp")]
mod parse {
    use std::io;
    use std::net::IpAddr;
    use std::str::FromStr;

    use http::uri::{Authority, Scheme};
    use http::{HeaderValue, Uri};
    use ipnet::IpNet;
    use percent_encoding::percent_decode_str;

    use super::Proxy;

    impl FromStr for Proxy {
        type Err = &'static str;

        /// Parses `http://host:port`, with or without the scheme, and with `user:password@` before the host if need be.
        ///
        /// Errors do not contain the text, which may have a password.
        fn from_str(text: &str) -> Result<Self, Self::Err> {
            const NOT_A_URL: &str = "not the URL of a proxy such as http://proxy.example:3128";

            let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
            let uri: Uri = url.parse().map_err(|_| NOT_A_URL)?;
            if uri.scheme() != Some(&Scheme::HTTP) {
                return Err(
                    "only proxies with a URL http://… are supported; NO_PROXY names endpoints to reach directly",
                );
            }
            let authority = uri.authority().ok_or(NOT_A_URL)?;
            let (_, place) = split(authority);
            let uri = Uri::builder().scheme(Scheme::HTTP).authority(place).path_and_query("/").build();
            let uri = uri.ok().filter(|uri| uri.host().is_some_and(|host| !host.is_empty())).ok_or(NOT_A_URL)?;
            Ok(Self { uri, authorization: basic(authority) })
        }
    }

    impl Proxy {
        pub(in crate::otlp) fn failed(&self, error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
            let cause = crate::cause::innermost(&error).to_string();
            io::Error::other(format!("the proxy {self} can't be used: {cause}"))
        }
    }

    /// Whether an endpoint is on this machine. A proxy would look for it on its own.
    pub(crate) fn is_loopback(endpoint: &Uri) -> bool {
        match ip(host(endpoint)) {
            Some(ip) => ip.is_loopback() || ip.is_unspecified(),
            None => {
                let host = host(endpoint).trim_end_matches('.').to_ascii_lowercase();
                host == "localhost" || host.ends_with(".localhost")
            }
        }
    }

    /// Whether `NO_PROXY` names the host of an endpoint: by `*`, an address, a network, or a domain, which stands for all hosts in it
    /// too. Its items are separated by commas.
    pub(crate) fn is_excluded(endpoint: &Uri, no_proxy: &str) -> bool {
        let host = host(endpoint);
        let mut items = no_proxy.split(',').map(str::trim).filter(|item| !item.is_empty());
        match ip(host) {
            Some(address) => items.any(|item| {
                let is_in_network = |network: IpNet| network.contains(&address);
                item == "*" || ip(item) == Some(address) || item.parse().is_ok_and(is_in_network)
            }),
            None => {
                items.any(|item| item == "*" || is_in_domain(host, item.trim_start_matches("*.").trim_matches('.')))
            }
        }
    }

    fn is_in_domain(host: &str, domain: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let rest = host.strip_suffix(&domain.to_ascii_lowercase());
        !domain.is_empty() && rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }

    fn host(uri: &Uri) -> &str {
        uri.host().unwrap_or_default()
    }

    fn ip(host: &str) -> Option<IpAddr> {
        host.trim_matches(['[', ']']).parse().ok().map(|ip: IpAddr| ip.to_canonical())
    }

    /// Splits credentials off.
    fn split(authority: &Authority) -> (Option<&str>, &str) {
        match authority.as_str().rsplit_once('@') {
            Some((credentials, place)) => (Some(credentials), place),
            None => (None, authority.as_str()),
        }
    }

    /// Returns the header of the credentials in a URL, if it has any (RFC 7617).
    pub(crate) fn basic(authority: &Authority) -> Option<HeaderValue> {
        let (user, password) = split(authority).0.map(|both| both.split_once(':').unwrap_or((both, "")))?;
        let mut pair: Vec<u8> = percent_decode_str(user).collect();
        pair.push(b':');
        pair.extend(percent_decode_str(password));
        let mut header = HeaderValue::from_str(&format!("Basic {}", base64(&pair))).ok()?;
        header.set_sensitive(true);
        Some(header)
    }

    fn base64(bytes: &[u8]) -> String {
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

        let mut text = String::new();
        for chunk in bytes.chunks(3) {
            let mut group = [0; 4];
            group[1..=chunk.len()].copy_from_slice(chunk);
            let group = u32::from_be_bytes(group);
            for (at, shift) in [18, 12, 6, 0].into_iter().enumerate() {
                let is_padding = at > chunk.len();
                text.push(if is_padding { '=' } else { ALPHABET[(group >> shift & 63) as usize].into() });
            }
        }
        text
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn credentials_become_a_header() {
            for (url, expected) in [
                ("http://Aladdin:open%20sesame@proxy:8887", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
                ("user:pass@proxy", "Basic dXNlcjpwYXNz"),
                ("http://u@proxy:1", "Basic dTo="),
                ("http://u:p%40ss%2Fw@proxy:1", "Basic dTpwQHNzL3c="),
            ] {
                let proxy: Proxy = url.parse().expect(url);
                assert_eq!(proxy.authorization.as_ref().expect("a header"), expected, "{url}");
                assert!(proxy.to_string().starts_with("http://proxy") && !format!("{proxy:?}").contains('@'));
            }
            assert!("proxy:3128".parse::<Proxy>().is_ok_and(|proxy| proxy.authorization.is_none()));
        }

        #[test]
        fn no_proxy_names_hosts_domains_addresses_and_networks() {
            let excluded = |url: &str, no_proxy| is_excluded(&url.parse().expect("a URL"), no_proxy);
            for no_proxy in ["*", "collector.example", "example", ".example", "*.example", "a, Collector.EXAMPLE ,b"] {
                assert!(excluded("http://collector.example:4318", no_proxy), "{no_proxy}");
            }
            for no_proxy in ["", ",", "llector.example", "collector", "collector.example.org", "10.0.0.0/8", "."] {
                assert!(!excluded("http://collector.example:4318", no_proxy), "{no_proxy}");
            }
            for no_proxy in ["*", "10.1.2.3", "10.0.0.0/8", "x,10.1.0.0/16"] {
                assert!(excluded("http://10.1.2.3:4317", no_proxy), "{no_proxy}");
            }
            for no_proxy in ["10.1.2.4", "11.0.0.0/8", "2.3", "fd00::/8"] {
                assert!(!excluded("http://10.1.2.3:4317", no_proxy), "{no_proxy}");
            }
            assert!(excluded("http://[fd00::1]:4317", "fd00::/8") && excluded("http://[fd00::1]:4317", "[fd00::1]"));
        }

        #[test]
        fn endpoints_on_this_machine_are_loopback() {
            let is = |url: &str| is_loopback(&url.parse().expect("a URL"));
            for url in ["localhost:4317", "LOCALHOST:1", "a.localhost:1", "127.0.0.1:1", "127.9.9.9:1", "[::1]:1"] {
                assert!(is(&format!("http://{url}")), "{url}");
            }
            assert!(is("http://[::ffff:127.0.0.1]:1") && is("http://localhost.:1"));
            for url in ["localhost.example:1", "128.0.0.1:1", "[::2]:1", "notlocalhost:1", "collector:4317"] {
                assert!(!is(&format!("http://{url}")), "{url}");
            }
        }
    }
}

#[cfg(feature = "cli")]
pub(crate) use parse::basic;
#[cfg(feature = "_otlp")]
pub(crate) use parse::{is_excluded, is_loopback};
