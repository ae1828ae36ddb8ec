//! The page of the program that is looked at.

use std::path::Path;

use tokio::runtime::{Builder, Runtime};
use url::Url;

use crate::doctor::web::Web;
use crate::file;
use crate::scrape::Token;
use crate::snapshot::Snapshot;
use crate::totals::Totals;

/// How the families begin that are read. Others may have forms that this crate does not write.
const PREFIX: &str = "llm_";

/// The size of the largest file with a token, in bytes.
const LARGEST_TOKEN: u64 = 64 * 1024;

#[derive(Debug)]
pub(super) struct Page {
    url: Url,
    token: Option<Token>,
    web: Web,
    runtime: Runtime,
}

impl Page {
    pub(super) fn new(url: &str, token_file: Option<&Path>) -> Result<Self, String> {
        Ok(Self {
            url: parse(url)?,
            token: token_file.map(token).transpose()?,
            web: Web::new().map_err(|error| error.to_string())?,
            runtime: Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?,
        })
    }

    /// Returns the URL without what may be secret.
    pub(super) fn url(&self) -> &str {
        &self.url[..url::Position::AfterPath]
    }

    /// Reads the totals of the program.
    ///
    /// # Errors
    ///
    /// What is wrong, and what to do about it.
    pub(super) fn read(&self) -> Result<Totals, String> {
        let answer = self.runtime.block_on(self.web.get_page(self.url.as_str(), self.token.as_ref()))?;
        match answer.status {
            200 => totals(&answer.body),
            401 => Err("the page needs a token: give --token-file, or BOTTICELLI_OBS_TOKEN_FILE".to_owned()),
            403 => {
                Err("the program does not let this address see its page, see BOTTICELLI_OBS_ALLOWED_NETWORKS"
                    .to_owned())
            }
            status => Err(format!("no page of metrics, HTTP status {status}")),
        }
    }
}

/// Reads the token in a file.
fn token(path: &Path) -> Result<Token, String> {
    let bytes =
        file::read(path, LARGEST_TOKEN).map_err(|error| format!("{} can't be used: {error}", file::shown(path)))?;
    String::from_utf8_lossy(&bytes).parse().map_err(|why| format!("{} can't be used: {why}", file::shown(path)))
}

/// Reads the totals from a page in text 0.0.4.
pub(super) fn totals(page: &str) -> Result<Totals, String> {
    let is_read = |line: &&str| {
        let name = line.strip_prefix("# HELP ").or_else(|| line.strip_prefix("# TYPE ")).unwrap_or(line);
        name.starts_with(PREFIX)
    };
    let lines: Vec<&str> = page.lines().filter(is_read).collect();
    if lines.is_empty() {
        return Err("the page has no metrics of LLM calls".to_owned());
    }
    let snapshot = Snapshot::parse(&lines.join("\n"))?;
    Ok(Totals::of(&snapshot))
}

/// Parses the URL of a page. A scheme and a path need not be given, nor a host.
fn parse(text: &str) -> Result<Url, String> {
    let text = text.trim();
    let text = if text.parse::<u16>().is_ok() { format!("127.0.0.1:{text}") } else { text.to_owned() };
    let url = if text.contains("://") { text } else { format!("http://{text}") };
    let url: Option<Url> = url.parse().ok();
    let mut url = url
        .filter(|url| url.has_host() && matches!(url.scheme(), "http" | "https"))
        .ok_or("not an http or https URL such as http://127.0.0.1:9464/metrics")?;
    if url.path() == "/" {
        url.set_path("/metrics");
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_may_be_short() {
        for (text, url) in [
            ("9464", "http://127.0.0.1:9464/metrics"),
            ("localhost:9464", "http://localhost:9464/metrics"),
            ("https://bot.internal/", "https://bot.internal/metrics"),
            ("http://[::1]:9464/other", "http://[::1]:9464/other"),
        ] {
            assert_eq!(parse(text).expect(text).as_str(), url);
        }
        for text in ["", "ftp://bot", "http://", "a b"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
