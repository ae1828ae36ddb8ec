//! The settings of the console.

use std::io::{self, IsTerminal};

use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};

use super::Resolver;
use crate::console::Config;
use crate::install::address::is_loopback;
use crate::install::error::InstallError;
use crate::install::setting::{Parsed, Setting};
use crate::scrape::{Listener, Token};

impl Resolver<'_> {
    /// Resolves the console, which is served at `listen` to those who show this token.
    pub(super) fn console(
        &self,
        listener: Listener,
        listen: Option<&str>,
        token: Option<&Token>,
        service: &str,
    ) -> Result<Option<Config>, InstallError> {
        const WORDS: &[(&str, bool)] = &[("on", true), ("off", false)];
        let name = "BOTTICELLI_OBS_CONSOLE";
        let variable = self.variable(name, |setting| setting.word(WORDS))?.unwrap_or(false);
        let hosts = self.variable("BOTTICELLI_OBS_CONSOLE_HOSTS", Setting::hosts)?.unwrap_or_default();
        let jaeger = self.environment.setting("JAEGER_URL")?;
        if !self.builder.console && !variable {
            return Ok(None);
        }
        let setting = if self.builder.console { "with_console" } else { name };
        let wrong = |why: &str| InstallError::invalid_secret(setting, why);
        if listener == Listener::Exporter {
            return Err(wrong("the exporter's listener serves no console: leave out one of the two"));
        }
        let Some(listen) = listen else {
            return Err(wrong(
                "the console is served by the listener, which is off: turn it on, or leave out the console",
            ));
        };
        let host = listen.rsplit_once(':').map_or(listen, |(host, _)| host);
        let (mut token, mut generated) = (token.cloned(), None);
        if token.is_none() && !is_loopback(host) {
            if !io::stderr().is_terminal() {
                return Err(wrong(&format!(
                    "{listen} is more than loopback, where the console needs a token: set BOTTICELLI_OBS_TOKEN_FILE, or listen on 127.0.0.1"
                )));
            }
            let text = random_token();
            token = Some(Setting::new(setting, &text).token()?);
            generated = Some(text);
        }
        let hosts = hosts.into_iter().chain([host.to_lowercase()]).collect();
        let jaeger = jaeger.map(Setting::page_url).transpose()?;
        Ok(Some(Config { hosts, jaeger, token, generated, service: service.to_owned() }))
    }
}

/// Returns 256 random bits in hexadecimal digits.
fn random_token() -> String {
    let ids = RandomIdGenerator::default();
    format!("{}{}", ids.new_trace_id(), ids.new_trace_id())
}

impl Setting<'_> {
    /// Parses names of hosts, without ports. Returns them in lower case.
    fn hosts(self) -> Parsed<Vec<String>> {
        let host = |item: Self| {
            let is_name = crate::install::address::is_host(item.value);
            is_name
                .then(|| item.value.to_lowercase())
                .ok_or_else(|| self.invalid("not a list of names of hosts, without ports"))
        };
        self.list()?.into_iter().map(host).collect()
    }

    /// Parses the URL of a server's pages. Returns it without a slash at the end.
    fn page_url(self) -> Parsed<String> {
        let rest = ["http://", "https://"].into_iter().find_map(|scheme| {
            self.value
                .get(..scheme.len())
                .filter(|start| start.eq_ignore_ascii_case(scheme))
                .map(|_| &self.value[scheme.len()..])
        });
        let is_plain =
            |rest: &str| rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%:/[]".contains(&byte));
        match rest {
            Some(rest) if !rest.is_empty() && is_plain(rest) => Ok(self.value.trim_end_matches('/').to_owned()),
            _ => Err(self.invalid_secret("not an http or https URL without user, query and fragment")),
        }
    }
}
