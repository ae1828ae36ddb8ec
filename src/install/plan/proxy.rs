//! The variables of proxies, as `curl` and most HTTP clients read them.

use super::Resolver;
use crate::install::error::InstallError;
use crate::otlp::Proxy;

impl Resolver<'_> {
    /// Resolves the proxy on the way to an endpoint; `None` to connect directly, as to endpoints on this machine.
    #[cfg(feature = "_otlp")]
    pub(super) fn proxy(&self, endpoint: &str) -> Result<Option<Proxy>, InstallError> {
        use crate::install::setting::Setting;
        use crate::otlp::{is_excluded, is_loopback};

        let endpoint: http::Uri =
            endpoint.parse().map_err(|_| Setting::new("endpoint", endpoint).invalid("not a URL"))?;
        if is_loopback(&endpoint) {
            return Ok(None);
        }
        let names = match endpoint.scheme_str() {
            Some("https") => HTTPS,
            // A web server gives a CGI program the header `Proxy` of a request, which anyone may send, as `HTTP_PROXY`.
            _ if self.environment.get("REQUEST_METHOD")?.is_some() => &HTTP[1..],
            _ => HTTP,
        };
        let Some(proxy) = self.environment.first(names)?.filter(|proxy| !proxy.is_off()) else { return Ok(None) };
        if self.environment.first(NO_PROXY)?.is_some_and(|hosts| is_excluded(&endpoint, hosts.value)) {
            return Ok(None);
        }
        proxy.value.parse().map(Some).map_err(|why| proxy.invalid_secret(why))
    }

    #[cfg(not(feature = "_otlp"))]
    pub(super) fn proxy(&self, _: &str) -> Result<Option<Proxy>, InstallError> {
        Ok(None)
    }
}

#[cfg(feature = "_otlp")]
const HTTP: &[&str] = &["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];

#[cfg(feature = "_otlp")]
const HTTPS: &[&str] = &["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

#[cfg(feature = "_otlp")]
const NO_PROXY: &[&str] = &["NO_PROXY", "no_proxy"];
