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

mod endpoint;
mod jaeger;
mod page;
mod prometheus;
mod settings;
mod web;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::worker::wait_for;
use web::Web;

/// How long a whole examination may take; checks that have not ended by then are reported as such.
const LIMIT: Duration = Duration::from_secs(9);

/// How a check has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// It works.
    Good,
    /// Nothing is wrong, or nothing can be said, as of a part that is off.
    Note,
    /// It does not work, and the finding says what to do.
    Broken,
}

/// Mistakes that are known by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mistake {
    /// A variable that nobody reads, one letter off.
    UnreadVariable,
    /// Metrics pushed to an endpoint that stores traces only.
    MetricsToJaeger,
    /// The port of the other OTLP transport: gRPC to 4318, HTTP to 4317, or any port that speaks the other one.
    WrongOtlpPort,
    /// The page is served on loopback while Prometheus runs in a container.
    LoopbackOnly,
    /// Prometheus scrapes another port than the page's.
    WrongScrapePort,
    /// Counters without `_total`, as of an exporter that was set up by hand.
    CounterWithoutTotal,
    /// Summaries where the dashboards ask for histograms.
    SummaryInsteadOfHistogram,
    /// A Prometheus that holds nothing of this program: a datasource without data.
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
    /// What was checked: `settings`, `page`, `traces`, `metrics`, `textfile`, `prometheus`, `jaeger`, `grafana`.
    pub check: &'static str,
    /// How that ended.
    pub verdict: Verdict,
    /// Which of the known mistakes it is.
    pub mistake: Option<Mistake>,
    /// What was found; never a header, nor what stands in a URL before `@` or after `?`.
    pub found: String,
    /// What to do about it.
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

/// What [`doctor`] has found; as text, a line for each finding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnosis {
    findings: Vec<Finding>,
}

impl Diagnosis {
    /// Returns the findings in the order of the way: settings, page, endpoints, Prometheus, Jaeger, Grafana.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Whether nothing is broken.
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

/// Checks the way from a program to its dashboards, as the environment of this process describes it: the settings, the page of
/// the running program, the OTLP endpoint, Prometheus (`PROMETHEUS_URL`), Jaeger (`JAEGER_URL`) and Grafana (`GRAFANA_URL`).
///
/// Blocks this thread for 10 seconds at most. What is set in code and not in the environment it can't know.
pub fn doctor() -> Diagnosis {
    let deadline = Instant::now() + LIMIT;
    let (settings, mut findings) = settings::check();
    let examined = wait_for("botticelli-obs-doctor", deadline + Duration::from_millis(500), move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        let findings = runtime.block_on(examine(settings, deadline));
        // A name look-up may hang.
        runtime.shutdown_background();
        findings
    });
    match examined.flatten() {
        Some(more) => findings.extend(more),
        None => findings.push(Finding::broken("settings", "no check could be started", "see to memory and threads")),
    }
    Diagnosis { findings }
}

/// Runs the checks at the same time; those of Prometheus and Jaeger need to know the page.
async fn examine(settings: settings::Settings, deadline: Instant) -> Option<Vec<Finding>> {
    let web = Web::new()?;
    let settings = Arc::new(settings);
    let traces = tokio::spawn(endpoint::check_traces(Arc::clone(&settings)));
    let metrics = tokio::spawn(endpoint::check_metrics(Arc::clone(&settings)));
    let (seen, findings) = page::check(&settings, &web).await;
    let seen = Arc::new(seen);
    let prometheus = tokio::spawn(prometheus::check(Arc::clone(&settings), Arc::clone(&seen), web.clone()));
    let grafana = tokio::spawn(prometheus::check_datasource(Arc::clone(&settings), web.clone()));
    let jaeger = tokio::spawn(jaeger::check(settings, seen, web));

    let mut all = findings;
    all.extend(in_time("traces", deadline, traces).await);
    all.extend(in_time("metrics", deadline, metrics).await);
    all.extend(in_time("prometheus", deadline, prometheus).await);
    all.extend(in_time("jaeger", deadline, jaeger).await);
    all.extend(in_time("grafana", deadline, grafana).await);
    Some(all)
}

async fn in_time(
    check: &'static str,
    deadline: Instant,
    findings: impl Future<Output = Result<Vec<Finding>, tokio::task::JoinError>>,
) -> Vec<Finding> {
    match tokio::time::timeout_at(deadline.into(), findings).await {
        Ok(Ok(findings)) => findings,
        Ok(Err(_)) | Err(_) => {
            vec![Finding::broken(check, format!("no result within {LIMIT:?}"), "see whether the network drops packets")]
        }
    }
}
