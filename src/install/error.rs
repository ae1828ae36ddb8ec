//! What can go wrong at start and at the end.

use std::error::Error;
use std::fmt;

/// Why nothing was installed.
///
/// Opaque, with predicates for what a program may want to act on; [`source`](Error::source) is the system's error where there
/// is one. `Debug` prints the same text as `Display` with the sources, so that `fn main() -> Result<(), Box<dyn Error>>` tells
/// its reader what to do.
pub struct InstallError {
    kind: Kind,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    AlreadyInstalled,
    InvalidSetting,
    WrongPort,
    Start,
    ForeignRecorder,
    ForeignSubscriber,
}

impl InstallError {
    pub(super) fn already_installed() -> Self {
        Self::new(
            Kind::AlreadyInstalled,
            "botticelli_obs is installed already: call `install` once, at the start of `main`, and keep what it returns",
        )
    }

    /// A setting that can't be used; `why` says what is wrong and what would be right.
    pub(super) fn invalid(name: &str, value: &str, why: impl fmt::Display) -> Self {
        // Debug formatting keeps a hostile value on one line, and the limit keeps it short.
        let shown: String = value.chars().take(100).collect();
        Self::new(Kind::InvalidSetting, format!("{name}={shown:?}: {why}"))
    }

    /// An endpoint with the port of the other transport.
    pub(super) fn wrong_port(name: &str, value: &str, why: impl fmt::Display) -> Self {
        Self { kind: Kind::WrongPort, ..Self::invalid(name, value, why) }
    }

    #[cfg(feature = "cli")]
    pub(crate) fn is_wrong_port(&self) -> bool {
        self.kind == Kind::WrongPort
    }

    /// A setting that can't be used and whose value may be a secret.
    pub(super) fn invalid_secret(name: &str, why: impl fmt::Display) -> Self {
        Self::new(Kind::InvalidSetting, format!("{name}: {why}"))
    }

    pub(super) fn start(message: impl Into<String>, source: impl Error + Send + Sync + 'static) -> Self {
        Self { source: Some(Box::new(source)), ..Self::new(Kind::Start, message) }
    }

    pub(super) fn foreign_recorder() -> Self {
        Self::new(
            Kind::ForeignRecorder,
            "the program has a global `metrics` recorder already, and there can be only one: remove it, or build yours \
             around `Builder::recorder`, or add it by `Builder::add_recorder`, or set OTEL_METRICS_EXPORTER=none",
        )
    }

    pub(super) fn foreign_subscriber() -> Self {
        Self::new(
            Kind::ForeignSubscriber,
            "the program has a global `tracing` subscriber already, and there can be only one: remove it, or keep it with \
             `Builder::without_subscriber` and add the layer of `Builder::trace_layer` to it",
        )
    }

    fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// Whether an earlier `install` succeeded in this process.
    pub fn is_already_installed(&self) -> bool {
        self.kind == Kind::AlreadyInstalled
    }

    /// Whether a variable or a builder option has a value that can't be used.
    pub fn is_invalid_setting(&self) -> bool {
        matches!(self.kind, Kind::InvalidSetting | Kind::WrongPort)
    }

    /// Whether a pipeline could not start, as when the port is taken.
    pub fn is_start_failure(&self) -> bool {
        self.kind == Kind::Start
    }

    /// Whether another global `metrics` recorder was there first.
    pub fn is_foreign_recorder(&self) -> bool {
        self.kind == Kind::ForeignRecorder
    }

    /// Whether another global `tracing` subscriber was there first.
    pub fn is_foreign_subscriber(&self) -> bool {
        self.kind == Kind::ForeignSubscriber
    }
}

impl fmt::Display for InstallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for InstallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        let mut source = self.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

impl Error for InstallError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| &**source as &(dyn Error + 'static))
    }
}

/// What a flush or a shutdown could not bring to where it belongs: spans, or the metrics that are not scraped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlushError {
    lost: u64,
    waiting: u64,
    metrics: Option<String>,
    textfile: Option<String>,
}

impl FlushError {
    /// What is missing before anything was found to be.
    pub(super) const NOTHING: Self = Self { lost: 0, waiting: 0, metrics: None, textfile: None };

    pub(super) fn new(lost: u64, waiting: u64) -> Self {
        Self { lost, waiting, ..Self::NOTHING }
    }

    /// Adds what became of the metrics that are pushed.
    pub(super) fn add_metrics(&mut self, pushed: Result<(), String>) {
        self.metrics = pushed.err();
    }

    /// Adds that the totals of the run are not in the text file.
    pub(super) fn add_textfile(&mut self, why: String) {
        self.textfile = Some(why);
    }

    /// Returns an error if anything is missing.
    pub(super) fn into_result(self) -> Result<(), Self> {
        if self == Self::NOTHING { Ok(()) } else { Err(self) }
    }

    /// Returns how many spans are lost for good.
    pub fn lost_spans(&self) -> u64 {
        self.lost
    }

    /// Returns how many spans were still waiting when the time was up; 0 after a shutdown.
    pub fn waiting_spans(&self) -> u64 {
        self.waiting
    }

    /// Whether the last metrics were not taken by the endpoint they are pushed to.
    pub fn is_metrics_failure(&self) -> bool {
        self.metrics.is_some()
    }

    /// Whether the totals of the run are missing from the text file of `BOTTICELLI_OBS_TEXTFILE`.
    pub fn is_textfile_failure(&self) -> bool {
        self.textfile.is_some()
    }
}

impl fmt::Display for FlushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spans = match (self.lost, self.waiting) {
            (0, 0) => None,
            (lost, 0) => Some(format!("{lost} spans were lost: the trace backend did not take them")),
            (0, waiting) => Some(format!("{waiting} spans are still waiting for the trace backend")),
            (lost, waiting) => {
                Some(format!("{lost} spans were lost and {waiting} are still waiting for the trace backend"))
            }
        };
        let parts: Vec<&str> =
            [&spans, &self.metrics, &self.textfile].into_iter().flatten().map(String::as_str).collect();
        f.write_str(&parts.join("; "))
    }
}

impl Error for FlushError {}
