//! The errors of install, flush and shutdown.

use std::error::Error;
use std::fmt;

/// The error of an install or a build, after which nothing is installed.
///
/// Predicates such as [`is_start_failure`](Self::is_start_failure) tell the cause, and [`source`](Error::source) returns the
/// system's error, if there is one. `Debug` writes the text of `Display` and of all sources, so that
/// `fn main() -> Result<(), Box<dyn Error>>` prints what to do.
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

    pub(super) fn forked() -> Self {
        Self::new(
            Kind::AlreadyInstalled,
            "botticelli_obs was installed in the process from which this one was forked, and can't be installed here: fork first, \
             and call `install` after it",
        )
    }

    /// Creates the error of an invalid setting. `why` says what is wrong and what would be valid.
    pub(super) fn invalid(name: &str, value: &str, why: impl fmt::Display) -> Self {
        // `Debug` escapes line ends and control characters, and the limit keeps the error short.
        let shown: String = value.chars().take(100).collect();
        Self::new(Kind::InvalidSetting, format!("{name}={shown:?}: {why}"))
    }

    /// Creates the error of an endpoint with the port of the other transport.
    pub(super) fn wrong_port(name: &str, value: &str, why: impl fmt::Display) -> Self {
        Self { kind: Kind::WrongPort, ..Self::invalid(name, value, why) }
    }

    #[cfg(feature = "cli")]
    pub(crate) fn is_wrong_port(&self) -> bool {
        self.kind == Kind::WrongPort
    }

    /// Creates the error of an invalid setting without its value, which may be a secret.
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

    /// Returns whether an earlier `install` has succeeded in this process, or in one from which it was forked.
    pub fn is_already_installed(&self) -> bool {
        self.kind == Kind::AlreadyInstalled
    }

    /// Returns whether an environment variable or a builder option has an invalid value.
    pub fn is_invalid_setting(&self) -> bool {
        matches!(self.kind, Kind::InvalidSetting | Kind::WrongPort)
    }

    /// Returns whether a pipeline could not start, for example because the port is taken.
    pub fn is_start_failure(&self) -> bool {
        self.kind == Kind::Start
    }

    /// Returns whether the program had set another global `metrics` recorder before.
    pub fn is_foreign_recorder(&self) -> bool {
        self.kind == Kind::ForeignRecorder
    }

    /// Returns whether the program had set another global `tracing` subscriber before.
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

/// The error of a flush or a shutdown: spans, pushed metrics or the totals for the text file that were not delivered, or a process that
/// was forked after the install.
///
/// It can have several of these causes at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlushError {
    lost: u64,
    waiting: u64,
    metrics: Option<String>,
    textfile: Option<String>,
    is_forked: bool,
}

impl FlushError {
    /// No failure.
    pub(super) const NONE: Self = Self { lost: 0, waiting: 0, metrics: None, textfile: None, is_forked: false };

    /// The error in the child of a fork.
    pub(super) const FORKED: Self = Self { is_forked: true, ..Self::NONE };

    pub(super) fn new(lost: u64, waiting: u64) -> Self {
        Self { lost, waiting, ..Self::NONE }
    }

    /// Adds the result of the last push.
    pub(super) fn add_metrics(&mut self, pushed: Result<(), String>) {
        self.metrics = pushed.err();
    }

    /// Adds why the totals of the run are not in the text file.
    pub(super) fn add_textfile(&mut self, why: String) {
        self.textfile = Some(why);
    }

    /// Returns the error if it has any failure.
    pub(super) fn into_result(self) -> Result<(), Self> {
        if self == Self::NONE { Ok(()) } else { Err(self) }
    }

    /// Returns how many spans were lost. They can't be exported later.
    pub fn lost_spans(&self) -> u64 {
        self.lost
    }

    /// Returns how many spans were still pending when the timeout passed. A later flush may export them. Always 0 after a
    /// shutdown.
    pub fn waiting_spans(&self) -> u64 {
        self.waiting
    }

    /// Returns whether the endpoint has not accepted the last push of metrics.
    pub fn is_metrics_failure(&self) -> bool {
        self.metrics.is_some()
    }

    /// Returns whether the totals of the run are missing in the text file that `BOTTICELLI_OBS_TEXTFILE` names.
    pub fn is_textfile_failure(&self) -> bool {
        self.textfile.is_some()
    }

    /// Returns whether this process was forked from the one that installed. Nothing is recorded here, and nothing was done.
    pub fn is_forked(&self) -> bool {
        self.is_forked
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
        let forked = self.is_forked.then_some(
            "this process was forked from the one that installed, and records nothing: fork first, and call `install` after it",
        );
        let parts: Vec<&str> = [spans.as_deref(), self.metrics.as_deref(), self.textfile.as_deref(), forked]
            .into_iter()
            .flatten()
            .collect();
        f.write_str(&parts.join("; "))
    }
}

impl Error for FlushError {}
