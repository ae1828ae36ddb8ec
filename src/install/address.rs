//! Parses the address of the page and the networks that may scrape it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use super::setting::{Parsed, Setting};

impl Setting<'_> {
    /// Parses where to listen. Returns `host:port`, or `None` for `off`.
    pub(super) fn listen(self) -> Parsed<Option<String>> {
        let value = self.value;
        if self.is_off() {
            return Ok(None);
        }
        let forms = "write `ip:port`, `host:port`, `[v6]:port`, a port for 127.0.0.1, or `off`";
        if value.contains('@') {
            return Err(self.invalid_secret(format!("an address can't have credentials: {forms}")));
        }
        let wrong = |why: &str| self.invalid(format!("{why}: {forms}"));
        if value.parse::<IpAddr>().is_ok() {
            return Err(wrong("a port is missing"));
        }
        if value.parse::<SocketAddr>().is_ok() {
            return Ok(Some(value.to_owned()));
        }
        let (host, port) = match value.rsplit_once(':') {
            Some(("", port)) => ("127.0.0.1", port),
            Some(host_and_port) => host_and_port,
            None if value.bytes().all(|byte| byte.is_ascii_digit()) => ("127.0.0.1", value),
            None => return Err(wrong("not an address with a port")),
        };
        if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) || port.parse::<u16>().is_err() {
            return Err(wrong("the port is not a number from 0 to 65535"));
        }
        if !is_host(host) {
            return Err(wrong("the host is not a name or an address"));
        }
        Ok(Some(format!("{host}:{port}")))
    }

    /// Parses the host of `OTEL_EXPORTER_PROMETHEUS_HOST`. Returns an IPv6 address in brackets, or `None` for `off`.
    pub(super) fn listen_host(self) -> Parsed<Option<String>> {
        if self.is_off() {
            return Ok(None);
        }
        if self.value.parse::<Ipv6Addr>().is_ok() {
            return Ok(Some(format!("[{}]", self.value)));
        }
        if is_host(self.value) {
            Ok(Some(self.value.to_owned()))
        } else {
            Err(self.invalid("not the name or address of a host"))
        }
    }

    /// Parses the port of `OTEL_EXPORTER_PROMETHEUS_PORT`, or returns `None` for `off`.
    pub(super) fn listen_port(self) -> Parsed<Option<u16>> {
        if self.is_off() { Ok(None) } else { self.number(0..=u16::MAX.into()).map(Some) }
    }

    /// Parses a network in CIDR notation, or a single address.
    pub(super) fn network(self) -> Parsed<IpNet> {
        let network = self.value.parse().or_else(|_| self.value.parse::<IpAddr>().map(IpNet::from));
        network.map_err(|_| self.invalid("not a network such as 10.0.0.0/8 or fd00::/8"))
    }

    /// Parses a comma-separated list of networks.
    pub(super) fn networks(self) -> Parsed<Vec<IpNet>> {
        self.list()?.into_iter().map(Setting::network).collect()
    }
}

/// Whether `host`, an address or a name, is this machine alone. Names other than `localhost` are not looked up.
#[cfg(feature = "console")]
pub(super) fn is_loopback(host: &str) -> bool {
    let v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let address = v6.unwrap_or(host).parse::<IpAddr>();
    address.map_or_else(|_| host.eq_ignore_ascii_case("localhost"), |address| address.to_canonical().is_loopback())
}

/// Whether `host` is a name, an IPv4 address, or an IPv6 address in brackets.
pub(super) fn is_host(host: &str) -> bool {
    let v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    is_host_name(host) || host.parse::<Ipv4Addr>().is_ok() || v6.is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok())
}

fn is_host_name(host: &str) -> bool {
    let in_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    !host.is_empty()
        && host.len() <= 253
        && host.chars().all(in_name)
        // `1.2.3` is not an address, and resolvers treat it differently.
        && host.chars().any(|c| c.is_ascii_alphabetic())
}
