//! What is wrong between a program and its dashboards. Feature `cli`.
//!
//! [`doctor`] checks the way as the environment of this process describes it, as the program `botticelli-obs doctor` does:
//!
//! ```no_run
//! use botticelli_obs::doctor::{Verdict, doctor};
//!
//! let diagnosis = doctor();
//! for finding in diagnosis.findings().iter().filter(|finding| finding.verdict == Verdict::Broken) {
//!     eprintln!("{finding}");
//! }
//! ```

mod address;
mod endpoint;
mod jaeger;
mod page;
mod prometheus;
mod settings;
mod specimen;
mod variables;
pub(crate) mod web;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::worker::wait_for;
use web::Web;

/// The limit for all checks together. A check that has not ended by then is reported as broken.
const LIMIT: Duration = Duration::from_secs(9);

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// The checked part works.
    Good,
    /// Nothing is known to be wrong, such as for a part that is turned off.
    Note,
    /// The checked part does not work. The finding has a remedy.
    Broken,
}

/// Common mistakes, which the doctor identifies by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mistake {
    /// An environment variable that is not read, with a name similar to one that is.
    UnreadVariable,
    /// Metrics are pushed to an endpoint that stores only traces, such as Jaeger.
    MetricsToJaeger,
    /// The endpoint speaks the other OTLP transport: gRPC is sent to port 4318, HTTP to port 4317, or similar.
    WrongOtlpPort,
    /// The page is served on loopback while Prometheus runs in a container.
    LoopbackOnly,
    /// Prometheus scrapes another port than the one that serves the page.
    WrongScrapePort,
    /// Counters lack the suffix `_total`, such as from an exporter that was set up without this crate.
    CounterWithoutTotal,
    /// The page has summaries where the dashboards query histograms.
    SummaryInsteadOfHistogram,
    /// Prometheus, or the datasource of Grafana, has no data of this program.
    EmptyDatasource,
}

impl Mistake {
    /// Returns the name of the mistake, such as `metrics-to-jaeger`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnreadVariable => "unread-variable",
            Self::MetricsToJaeger => "metrics-to-jaeger",
            Self::WrongOtlpPort => "wrong-otlp-port",
            Self::LoopbackOnly => "loopback-only",
            Self::WrongScrapePort => "wrong-scrape-port",
            Self::CounterWithoutTotal => "counter-without-total",
            Self::SummaryInsteadOfHistogram => "summary-instead-of-histogram",
            Self::EmptyDatasource => "empty-datasource",
        }
    }
}

/// One line of a [`Diagnosis`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// The part that was checked: `settings`, `page`, `traces`, `metrics`, `textfile`, `prometheus`, `jaeger` or `grafana`.
    pub check: &'static str,
    /// The result.
    pub verdict: Verdict,
    /// The known mistake that was identified, if any.
    pub mistake: Option<Mistake>,
    /// What was found, as text. It never contains a header, nor the part of a URL before `@` or after `?`, which may be secret.
    pub found: String,
    /// What to do about it; always there if the verdict is [`Broken`](Verdict::Broken).
    pub remedy: Option<String>,
}

impl Finding {
    fn good(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Good, mistake: None, found: found.into(), remedy: None }
    }

    fn note(check: &'static str, found: impl Into<String>) -> Self {
        Self { verdict: Verdict::Note, ..Self::good(check, found) }
    }

    fn broken(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { verdict: Verdict::Broken, remedy: Some(remedy.into()), ..Self::good(check, found) }
    }

    fn of(self, mistake: Mistake) -> Self {
        Self { mistake: Some(mistake), ..self }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Good => "good",
            Verdict::Note => "note",
            Verdict::Broken => "broken",
        };
        write!(f, "{verdict:<6}  {:<10}  ", self.check)?;
        if let Some(mistake) = self.mistake {
            write!(f, "{}: ", mistake.as_str())?;
        }
        f.write_str(&self.found)?;
        match &self.remedy {
            Some(remedy) => write!(f, "\n{:>20}{remedy}", "-> "),
            None => Ok(()),
        }
    }
}

/// The findings of [`doctor`]. `Display` prints one line for each finding, and a second line for a remedy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnosis {
    findings: Vec<Finding>,
}

impl Diagnosis {
    /// Returns the findings in the order in which data flow: settings, page, endpoints, Prometheus, Jaeger, Grafana.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Returns whether no finding is [`Broken`](Verdict::Broken).
    pub fn is_healthy(&self) -> bool {
        self.findings.iter().all(|finding| finding.verdict != Verdict::Broken)
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, finding) in self.findings.iter().enumerate() {
            write!(f, "{}{finding}", if index == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

/// Checks every step from a program to its dashboards: the settings, the page of the running program, the OTLP endpoints,
/// Prometheus, Jaeger and Grafana.
///
/// It reads the settings from the environment of this process; settings made in code are unknown to it. The servers are those of
/// `PROMETHEUS_URL` (default: `http://localhost:9090`), `JAEGER_URL` (`http://localhost:16686`) and `GRAFANA_URL`
/// (`http://localhost:3000`). It changes nothing but this: if there is a Jaeger, the OTLP endpoint gets the span `chat doctor` of a call
/// to the provider `botticelli_obs`, which is then looked for in Jaeger. Otherwise the OTLP endpoints get requests without spans or metrics. It blocks this
/// thread for at most 10 seconds.
///
/// ```no_run
/// let diagnosis = botticelli_obs::doctor();
/// if !diagnosis.is_healthy() {
///     eprintln!("{diagnosis}");
/// }
/// ```
pub fn doctor() -> Diagnosis {
    let deadline = Instant::now() + LIMIT;
    let (settings, mut findings) = settings::check();
    let examined = wait_for("botticelli-obs-doctor", deadline + Duration::from_millis(500), move || {
        // On the caller's thread, if no other can be had, a runtime of the program may run already. Another one would panic.
        if tokio::runtime::Handle::try_current().is_ok() {
            return None;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        let findings = runtime.block_on(examine(settings, deadline));
        // Does not wait for a name look-up that hangs.
        runtime.shutdown_background();
        Some(findings)
    });
    match examined.flatten() {
        Some(more) => findings.extend(more),
        None => findings.push(Finding::broken(
            "settings",
            "the checks could not be run",
            "check the limits of threads and memory",
        )),
    }
    Diagnosis { findings }
}

/// Runs the checks concurrently. Those of Prometheus and Jaeger start after that of the page, whose facts they need.
async fn examine(settings: settings::Settings, deadline: Instant) -> Vec<Finding> {
    let web = match Web::new() {
        Ok(web) => web,
        Err(error) => {
            return vec![Finding::broken("settings", error.to_string(), "correct or unset it: nothing could be asked")];
        }
    };
    let settings = Arc::new(settings);
    let traces = tokio::spawn(endpoint::check_traces(Arc::clone(&settings)));
    let metrics = tokio::spawn(endpoint::check_metrics(Arc::clone(&settings)));
    let (page, findings) = page::check(&settings, &web).await;
    let page = Arc::new(page);
    let prometheus = tokio::spawn(prometheus::check(Arc::clone(&settings), Arc::clone(&page), web.clone()));
    let grafana = tokio::spawn(prometheus::check_datasource(Arc::clone(&settings), web.clone()));
    let jaeger = tokio::spawn(jaeger::check(settings, page, web, deadline));

    let mut all = findings;
    all.extend(until_deadline("traces", deadline, traces).await);
    all.extend(until_deadline("metrics", deadline, metrics).await);
    all.extend(until_deadline("prometheus", deadline, prometheus).await);
    all.extend(until_deadline("jaeger", deadline, jaeger).await);
    all.extend(until_deadline("grafana", deadline, grafana).await);
    all
}

/// Waits for the findings of a check until the deadline.
async fn until_deadline(
    check: &'static str,
    deadline: Instant,
    findings: impl Future<Output = Result<Vec<Finding>, tokio::task::JoinError>>,
) -> Vec<Finding> {
    match tokio::time::timeout_at(deadline.into(), findings).await {
        Ok(Ok(findings)) => findings,
        Ok(Err(_)) | Err(_) => {
            vec![Finding::broken(
                check,
                format!("no result within {LIMIT:?}"),
                "check whether the network drops packets",
            )]
        }
    }
}
