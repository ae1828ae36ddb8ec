//! Addresses of pages and scrape targets.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    host: Host,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Ip(IpAddr),
    Name(String),
}

impl Address {
    /// Parses `host:port`, with an IPv6 address in brackets.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        Some(Self { host: Host::parse(host)?, port: port.parse().ok()? })
    }

    /// Returns the address in a URL.
    pub(super) fn of_url(url: &url::Url) -> Option<Self> {
        Some(Self { host: Host::parse(url.host_str()?)?, port: url.port_or_known_default()? })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Whether only this machine can connect to it.
    pub(super) fn is_loopback(&self) -> bool {
        match &self.host {
            Host::Ip(ip) => ip.to_canonical().is_loopback(),
            Host::Name(name) => name == "localhost" || name.ends_with(".localhost"),
        }
    }

    /// Whether it is a name by which containers reach the machine they run on, such as `host.docker.internal`.
    pub(super) fn is_host_of_container(&self) -> bool {
        matches!(&self.host, Host::Name(name) if name.starts_with("host.") && name.ends_with(".internal"))
    }

    /// Returns the address to connect to from this machine. A program that listens on an unspecified address such as `0.0.0.0`
    /// answers on loopback.
    pub(super) fn as_seen_here(&self) -> Self {
        let host = match &self.host {
            Host::Ip(ip) if ip.to_canonical().is_unspecified() => Host::Ip(match ip {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some() => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            }),
            host => host.clone(),
        };
        Self { host, port: self.port }
    }
}

impl Host {
    fn parse(text: &str) -> Option<Self> {
        if let Some(v6) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
            return v6.parse().ok().map(|ip: Ipv6Addr| Self::Ip(ip.into()));
        }
        match text.parse::<Ipv4Addr>() {
            Ok(ip) => Some(Self::Ip(ip.into())),
            Err(_) if text.is_empty() => None,
            Err(_) => Some(Self::Name(text.trim_end_matches('.').to_ascii_lowercase())),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port),
            Host::Ip(IpAddr::V4(ip)) => write!(f, "{ip}:{}", self.port),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}
