//! The console: a live page at `/` of the listener, and the JSON that it asks for.
//!
//! [`gate`] decides who gets an answer. [`history`] keeps what was counted during the last hour in bounded memory, and [`json`]
//! writes what the page shows. All of that runs on a thread of the console's own: the listener stays free for scrapes.

mod gate;
mod history;
mod json;

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, StatusCode, Uri};
use tokio::runtime::Handle;

use crate::lock::unpoisoned;
use crate::scrape::Token;
use crate::series::unix_time;
use crate::store::{MetricsRecorder, WeakRecorder};
use crate::totals::Totals;
use crate::worker::Worker;
use history::{History, INTERVAL, Window};

/// The page. It requests only the paths that [`Console::answer`] serves.
const PAGE: &str = include_str!("page.html");

/// The policy of the page: its own script and style, known by their hashes, and requests to the listener.
const POLICY: &str = "default-src 'none'; \
    script-src 'sha256-61a/MnCdILTUsw3752Pxm/cKrlQfMHweBvMFH2kpWV4='; \
    style-src 'sha256-m/J/0kt9OKKgkWqRYd58DvhY8hDbXqJL4EDWdPXYB9o='; \
    connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// How long one rendering of the state answers requests: consoles that are open at the same time share it.
const STATE_IS_FRESH: Duration = Duration::from_millis(900);

/// The longest `User-Agent` of a scraper that is kept, in bytes.
const LONGEST_AGENT: usize = 128;

/// What the console is built from; every value is valid.
#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    /// Names under which the listener may be asked for the console, besides addresses and `localhost`; in lower case.
    pub(crate) hosts: Vec<String>,
    /// Where Jaeger's pages are, without a slash at the end.
    pub(crate) jaeger: Option<String>,
    /// What its data requires.
    pub(crate) token: Option<Token>,
    /// The token to be printed, if it was generated for this run.
    pub(crate) generated: Option<String>,
    pub(crate) service: String,
}

/// The console of a running pipeline. Dropping it stops its thread.
pub(crate) struct Console {
    config: Config,
    runtime: Handle,
    shared: Arc<Shared>,
    _worker: Worker,
}

/// What the tasks of the console share.
struct Shared {
    recorder: WeakRecorder,
    history: Mutex<History>,
    /// The last rendering for each window.
    states: Mutex<[Option<(Instant, Bytes)>; Window::ALL.len()]>,
    scrape: Mutex<Option<Scrape>>,
    about: About,
}

/// What stays the same while the program runs.
struct About {
    /// Differs from the one before a restart.
    instance: String,
    started: f64,
    service: String,
    jaeger: Option<String>,
}

/// Who has read the page of metrics.
#[derive(Clone, Debug)]
struct Scrape {
    /// In seconds since 1970.
    at: f64,
    peer: IpAddr,
    agent: String,
}

/// An answer of the console.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) content_type: &'static str,
    pub(crate) body: Bytes,
    pub(crate) headers: Vec<(HeaderName, &'static str)>,
}

impl Reply {
    fn new(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { status, content_type, body: body.into(), headers: Vec::new() }
    }

    fn refusal(status: StatusCode, why: &'static str) -> Self {
        Self::new(status, "text/plain; charset=utf-8", why)
    }
}

impl Console {
    /// Starts to keep the history.
    ///
    /// # Errors
    ///
    /// When the system can't create a thread.
    pub(crate) fn start(config: Config, recorder: &MetricsRecorder) -> io::Result<Self> {
        let worker = Worker::start("botticelli-obs-console")?;
        let started = unix_time();
        let about = About {
            instance: format!("{}-{started}", std::process::id()),
            started,
            service: config.service.clone(),
            jaeger: config.jaeger.clone(),
        };
        let shared = Arc::new(Shared {
            recorder: recorder.downgrade(),
            history: Mutex::default(),
            states: Mutex::default(),
            scrape: Mutex::default(),
            about,
        });
        let sampler = Arc::clone(&shared);
        worker.handle().spawn(async move {
            let mut ticks = tokio::time::interval(INTERVAL);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let Some(recorder) = sampler.recorder.upgrade() else { return };
                let totals = Totals::of(&recorder.snapshot());
                unpoisoned(sampler.history.lock()).add(unix_time(), totals);
            }
        });
        Ok(Self { config, runtime: worker.handle().clone(), shared, _worker: worker })
    }

    /// Whether a path is one of the console's.
    pub(crate) fn has(path: &str) -> bool {
        path == "/" || path == "/console" || path.starts_with("/console/")
    }

    /// Answers a request for one of its paths.
    pub(crate) async fn answer(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Reply {
        let mut reply = match gate::check(&self.config, method, uri.path(), headers) {
            Ok(()) => self.content(uri).await,
            Err(refusal) => refusal,
        };
        reply.headers.extend([
            (HeaderName::from_static("cache-control"), "no-store"),
            (HeaderName::from_static("content-security-policy"), POLICY),
            (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
            (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
            (HeaderName::from_static("referrer-policy"), "no-referrer"),
            (HeaderName::from_static("x-content-type-options"), "nosniff"),
        ]);
        reply
    }

    async fn content(&self, uri: &Uri) -> Reply {
        let shared = Arc::clone(&self.shared);
        let query = uri.query().unwrap_or_default();
        let from = parameter(query, "from").and_then(|from| from.parse().ok()).unwrap_or(0);
        let window = parameter(query, "window").and_then(Window::of).unwrap_or_default();
        let rendered = match uri.path() {
            "/" => return Reply::new(StatusCode::OK, "text/html; charset=utf-8", PAGE),
            "/console/state" => self.runtime.spawn(async move { shared.state(window) }),
            "/console/history" => self.runtime.spawn(async move { Some(shared.history(from)) }),
            "/console/calls" => self.runtime.spawn(async move { shared.calls(from) }),
            _ => return Reply::refusal(StatusCode::NOT_FOUND, "the console is at /\n"),
        };
        match rendered.await {
            Ok(Some(body)) => Reply::new(StatusCode::OK, "application/json", body),
            _ => Reply::refusal(StatusCode::INTERNAL_SERVER_ERROR, "the console could not read the metrics\n"),
        }
    }

    /// Keeps who has read the page of metrics.
    pub(crate) fn scraped(&self, peer: IpAddr, headers: &HeaderMap) {
        let agent = headers.get(USER_AGENT).map(HeaderValue::as_bytes).unwrap_or_default();
        let agent = String::from_utf8_lossy(&agent[..agent.len().min(LONGEST_AGENT)]).into_owned();
        let scrape = Scrape { at: unix_time(), peer: peer.to_canonical(), agent };
        *unpoisoned(self.shared.scrape.lock()) = Some(scrape);
    }

    /// Returns the token that was generated for this run.
    pub(crate) fn generated_token(&self) -> Option<&str> {
        self.config.generated.as_deref()
    }
}

impl Shared {
    /// Renders the values of this moment, unless that was done just before.
    fn state(&self, window: Window) -> Option<Bytes> {
        let recent = unpoisoned(self.states.lock())[window as usize].clone();
        if let Some((rendered, body)) = recent
            && rendered.elapsed() < STATE_IS_FRESH
        {
            return Some(body);
        }
        let snapshot = self.recorder.upgrade()?.snapshot();
        let totals = Totals::of(&snapshot);
        let scrape = unpoisoned(self.scrape.lock()).clone();
        let body = {
            let history = unpoisoned(self.history.lock());
            let baseline = history.baseline(window, unix_time());
            Bytes::from(json::state(&self.about, &snapshot, &totals, baseline, scrape.as_ref()))
        };
        unpoisoned(self.states.lock())[window as usize] = Some((Instant::now(), body.clone()));
        Some(body)
    }

    fn history(&self, from: u64) -> Bytes {
        let history = unpoisoned(self.history.lock());
        json::history(&self.about, &history, from).into()
    }

    fn calls(&self, from: u64) -> Option<Bytes> {
        let recorder = self.recorder.upgrade()?;
        let calls = recorder.recent_calls().map(|recent| recent.from(from)).unwrap_or_default();
        Some(json::calls(&self.about, &calls).into())
    }
}

/// Returns a parameter of a query. The console needs none that are encoded.
fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|part| part.split_once('=').filter(|(of, _)| *of == name)).map(|(_, value)| value)
}
